"""Functions as processes of functions-framework, pushed to by the Pub/Sub emulator."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

from mbats.desk import Desk
from mbats.gcp.connection import subscriber_client
from mbats.gcp.publisher import Publisher
from mbats.local import rest, topology
from mbats.local.emulators import BUCKETS

FUNCTIONS = Path(__file__).parents[2] / "functions"
DYING = Path(__file__).with_name("dying.py")
PATIENCE_S = 60.0
numbers = itertools.count(1)


def eventually(found, patience_s=PATIENCE_S):
    """Return what ``found`` returns as soon as it is true."""
    deadline = time.monotonic() + patience_s
    while True:
        value = found()
        if value or time.monotonic() > deadline:
            assert value, "it did not happen in time"
            return value
        time.sleep(0.1)


def environment(settings):
    """The settings as a function's environment."""
    names = (
        "profile", "home", "project", "location", "security_master", "risk", "bucket_prefix",
        "bigquery_endpoint", "bigquery_grpc", "storage_endpoint", "pubsub_endpoint",
        "oanda_environment", "oanda_endpoint", "oanda_account", "guard_limits", "dag_folder",
    )  # fmt: skip
    values = {name: getattr(settings, name) for name in names}
    made = {f"MBATS_{name.upper()}": str(value) for name, value in values.items() if value}
    secret = settings.notify_webhook
    return made | ({"MBATS_NOTIFY_WEBHOOK": secret.get_secret_value()} if secret else {})


def new_project(settings, home):
    """Return settings of a project with topics and buckets that nobody else uses."""
    mine = settings.model_copy(
        update={
            "project": f"functions-{next(numbers)}",
            "home": home,
            "oanda_environment": "sim",
        }
    )
    port = int(settings.pubsub_endpoint.rpartition(":")[2])
    for method, path, body in topology.requests(mine.project):
        rest.make(port, method, path, body)
    with Desk(mine) as desk:
        for bucket in BUCKETS:
            desk.objects.make_bucket(bucket)
    return mine


class Function:
    """One function, as ``functions-framework --target NAME`` runs it."""

    def __init__(self, name, settings, log, dying=None):
        self.name, self.settings, self.log = name, settings, log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        source = FUNCTIONS / name / "main.py" if dying is None else DYING
        more = {} if dying is None else {"FUNCTIONS_DYING": str(dying)}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MBATS_")}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "functions_framework", "--target", name, "--source",
                    str(source), "--signature-type", "cloudevent", "--host", "127.0.0.1",
                    "--port", str(self.port),
                ],
                env={**clean, **environment(settings), **more},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        eventually(self._listens)

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def said(self, event):
        """Return the lines of its log with this event."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith('{"event"')]
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def hears(self, topic, ack_s=10, dead_letters=0):
        """Have the emulator push a topic's messages to it."""
        root = f"projects/{self.settings.project}"
        policy = {}
        if dead_letters:
            policy["dead_letter_policy"] = {
                "dead_letter_topic": f"{root}/topics/{topic}-dead-letter",
                "max_delivery_attempts": dead_letters,
            }
        with subscriber_client(self.settings) as client:
            client.create_subscription(
                request={
                    "name": f"{root}/subscriptions/{self.name.replace('_', '-')}-{topic}",
                    "topic": f"{root}/topics/{topic}",
                    "push_config": {
                        "push_endpoint": f"http://127.0.0.1:{self.port}/{root}/topics/{topic}"
                    },
                    "ack_deadline_seconds": ack_s,
                    **policy,
                }
            )
        return self

    def send(self, data, kind, source, number="1", subject=None):
        """Send an event as Eventarc does; return the status."""
        headers = {
            "ce-id": number,
            "ce-specversion": "1.0",
            "ce-type": kind,
            "ce-source": source,
            "ce-time": "2026-11-23T12:00:00Z",
            "Content-Type": "application/json",
        }
        if subject:
            headers["ce-subject"] = subject
        url = f"http://127.0.0.1:{self.port}/"
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.post(url, json=data, headers=headers, timeout=60).status_code
        except requests.ConnectionError:
            return 0  # it died before it answered


def publish(settings, topic, data, key="", **attributes):
    """Publish one message and wait until it is stored."""
    publisher = Publisher(settings)
    publisher.publish(topic, data, key, **attributes)
    publisher.close()


class People:
    """A server that stands for Slack: what it ``took``, and the ``status`` it answers with."""

    def __init__(self):
        people = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                people.asked += 1
                if people.status == 200:
                    people.took.append(body["text"])
                self.send_response(people.status)
                self.end_headers()

            def log_message(self, *_):
                """Stay silent."""

        self.took, self.asked, self.status = [], 0, 200
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
