"""All functions in one process, as `mbats up` runs them, pushed to by the emulator."""

import os
import subprocess
import sys

import pytest
import requests
from pydantic import SecretStr

from mbats.gcp.dead_letters import DeadLetters
from mbats.live.portfolio_watch import Watched
from mbats.local import rest
from mbats.local.functions_host import as_eventarc
from mbats.local.functions_service import FUNCTIONS_SERVICE, subscriptions
from mbats.local.ports import choose
from mbats.local.service import Site
from tests.functions.rig import environment, eventually, publish
from tests.functions.test_notify import risk_event
from tests.functions.test_risk_guard import beat, watched

pytestmark = pytest.mark.emulators


@pytest.fixture
def host(project, people, tmp_path):
    """The service, started as the stack starts it; its address."""
    told = project.model_copy(update={"notify_webhook": SecretStr(people.url)})
    port = choose([], [])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MBATS_")}
    with (tmp_path / "host.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from mbats.cli.main import main; main()", "functions",
             "--port", str(port)],
            env={**clean, **environment(told)}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        eventually(lambda: rest.answers(port, FUNCTIONS_SERVICE.health))
        emulator = int(project.pubsub_endpoint.rpartition(":")[2])
        for method, path, body in subscriptions(project.project, f"127.0.0.1:{port}"):
            rest.make(emulator, method, path, body)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0, (tmp_path / "host.log").read_text()


def test_every_function_hears_its_topics_also_of_a_message_without_data(
    host, project, desk, people
):
    account = "101-001-1234567-001"
    publish(project, "risk-events", beat(account, 0, 10_000), table="heartbeat")
    publish(project, "risk-events", risk_event(), table="risk_event")
    publish(project, "ticks-dead-letter", b"\xff", "EUR_USD", instrument="EUR_USD", reason="x")
    publish(project, "control-dead-letter", b"", account=account)

    eventually(lambda: len(people.took) == 1)
    eventually(lambda: watched(desk, account) != Watched(account))
    letters = DeadLetters(desk.objects)
    (tick,) = eventually(lambda: list(letters.find("ticks")))
    assert (tick.letter.reason, tick.letter.data) == ("x", b"\xff")
    (empty,) = eventually(lambda: list(letters.find("control")))
    assert (empty.letter.data, dict(empty.letter.attributes)) == (b"", {"account": account})
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{host}/nobody/x").status_code == 404


def test_an_event_that_has_its_headers_keeps_them():
    class Empty:
        def read(self, length):
            return b""

    asked = as_eventarc({"HTTP_CE_ID": "7", "wsgi.input": Empty(), "PATH_INFO": "/notify"}, "x")

    assert asked["HTTP_CE_ID"] == "7"
    assert "HTTP_CE_SOURCE" not in asked


def test_the_service_is_started_anew_when_the_webhook_changes_and_shows_none(project):
    def launch(secret):
        update = {"notify_webhook": secret and SecretStr(secret)}
        names = ("bigquery", "storage", "pubsub", "functions")
        ports = {name: {"http": 1, "grpc": 2} for name in names}
        site = Site(project.model_copy(update=update), ports)
        return FUNCTIONS_SERVICE.launch(site)

    assert launch("https://a.example/x") != launch("https://b.example/x")
    assert launch("https://a.example/x") == launch("https://a.example/x")
    assert "a.example" not in repr(launch("https://a.example/x"))
