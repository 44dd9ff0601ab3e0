"""A process that stores something and dies by SIGKILL after a given number of requests.

Run by tests: dying.py SETTINGS WHAT NAME AFTER, with SETTINGS as JSON. The request that it dies
after has been carried out, but its answer is never seen.
"""

import os
import signal
import sys

import requests

from mbats.backtest.result import RunResult
from mbats.config import Settings
from mbats.desk import Desk
from tests.gcp import samples

ROWS = [f"1.{number:03d}" for number in range(400)]


def store(desk, what, name):
    if what == "bars":
        desk.security_master.merge_bars("D", samples.bars(ROWS, instrument=name))
    else:
        desk.risk_store.finish(RunResult(samples.run(name), samples.result_tables(name)))


def die_after(number):
    send, sent = requests.Session.send, []

    def counting(self, request, **kwargs):
        answer = send(self, request, **kwargs)
        sent.append(request)
        if len(sent) >= number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    requests.Session.send = counting


if __name__ == "__main__":
    settings, what, name, after = sys.argv[1:]
    with Desk(Settings.model_validate_json(settings)) as desk:
        die_after(int(after))
        store(desk, what, name)
