"""An archiver that dies by SIGKILL: archiving.py SETTINGS SUBSCRIPTIONS WHEN, the last of them
``ack`` (after the store, before the acknowledgement) or a number of requests to BigQuery.
"""

import json
import os
import signal
import sys

import requests

from mbats.config import Settings
from mbats.desk import Desk
from mbats.gcp.connection import subscriber_client
from mbats.gcp.publisher import Publisher
from mbats.local.archiver import Archiver


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(number):
    send, sent = requests.Session.send, []

    def counting(self, request, **options):
        answer = send(self, request, **options)
        sent.append(request)
        if len(sent) >= number:
            die()
        return answer

    requests.Session.send = counting


def quiet(event, values):
    """Say nothing."""


if __name__ == "__main__":
    document, subscriptions, when = sys.argv[1:]
    settings = Settings.model_validate_json(document)
    with Desk(settings) as desk, subscriber_client(settings) as client:
        archiver = Archiver(
            settings.project,
            client,
            Publisher(settings),
            desk.warehouse,
            quiet,
            json.loads(subscriptions),
        )
        if when == "ack":
            client.acknowledge = die
        else:
            die_after(int(when))
        archiver.drain()
