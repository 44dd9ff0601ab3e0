"""All functions in one process, as `mbats up` runs them, pushed to by the emulator."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests
from pydantic import SecretStr

from mbats import schemas
from mbats.desk import Desk
from mbats.gcp.connection import storage_client
from mbats.gcp.dead_letters import DeadLetters
from mbats.gcp.tables import apply_tables
from mbats.live.portfolio_watch import Watched
from mbats.local import rest, topology
from mbats.local.functions_host import as_eventarc
from mbats.local.functions_service import FUNCTIONS_SERVICE, subscriptions
from mbats.local.ports import choose
from mbats.local.service import Site
from tests.functions.rig import PATIENCE_S, environment, eventually, publish
from tests.functions.test_control_files import csv_of, scheduled
from tests.functions.test_notify import risk_event
from tests.functions.test_risk_guard import beat, watched

pytestmark = pytest.mark.emulators


@contextmanager
def hosting(settings, log_file):
    """Run the service as the stack does; yield its address and that of the emulator's REST."""
    port = choose([], [])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MBATS_")}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from mbats.cli.main import main; main()", "functions",
             "--port", str(port)],
            env={**clean, **environment(settings)}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        eventually(lambda: rest.answers(port, FUNCTIONS_SERVICE.health))
        yield f"127.0.0.1:{port}", int(settings.pubsub_endpoint.rpartition(":")[2])
    finally:
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0, log_file.read_text()


@pytest.fixture
def host(project, people, tmp_path):
    """All functions, hearing of their topics; their address."""
    told = project.model_copy(update={"notify_webhook": SecretStr(people.url)})
    with hosting(told, tmp_path / "host.log") as (address, emulator):
        for method, path, body in subscriptions(project.project, address):
            rest.make(emulator, method, path, body)
        yield f"http://{address}"


@pytest.fixture
def heard_uploads(settings, tmp_path):
    """The functions beside the emulator of Cloud Storage, hearing of uploads alone; their desk."""
    names = {"security_master": "security_master_uploads", "risk": "risk_uploads"}
    (tmp_path / "composer_dags").mkdir()
    mine = settings.model_copy(update={**names, "home": tmp_path / ".mbats"})
    with Desk(mine) as desk, hosting(mine, tmp_path / "host.log") as (address, emulator):
        apply_tables(desk.warehouse, [schemas.table("risk", "strategy_schedule")])
        wanted = [r for r in subscriptions(mine.project, address) if topology.OBJECTS in r[1]]
        for method, path, body in wanted:
            rest.make(emulator, method, path, body)
        yield desk
        for _, path, _ in reversed(wanted):
            rest._request(emulator, "DELETE", path, None, 10.0)


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


def test_an_upload_by_any_client_is_put_in_force_as_in_the_cloud(heard_uploads, tmp_path):
    """A file that is uploaded calls the function; so does the next one, and a wrong one."""
    settings = heard_uploads.settings
    with storage_client(settings) as client:
        blob = client.bucket(settings.bucket("control")).blob("strategies.csv")
        blob.upload_from_string(csv_of("sma_reversal,backtest,EUR_USD,,,period=10"))
        eventually(lambda: set(scheduled(heard_uploads).values()) == {True})
        (first,) = scheduled(heard_uploads)
        blob.upload_from_string(csv_of("rsi_stochastic,backtest,GBP_USD,,,"))
        eventually(lambda: len(scheduled(heard_uploads)) == 2)
        assert scheduled(heard_uploads)[first] is False
        blob.upload_from_string(csv_of("nobody,backtest,GBP_USD,,,"))
        aside = lambda: heard_uploads.objects.list("control", f"quarantine/{blob.generation}-")  # noqa: E731
        names = eventually(lambda: [each.name for each in aside() if "report" in each.name])
    report, _ = heard_uploads.objects.read("control", names[0])
    assert "row 2, column Strategy: there is no strategy 'nobody'" in report.decode()
    copied = tmp_path / "composer_dags" / "control" / "strategies.csv"
    assert b"rsi_stochastic" in copied.read_bytes()


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
