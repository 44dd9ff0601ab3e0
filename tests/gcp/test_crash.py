"""Whatever dies, and whenever: the same call made again leaves every row once."""

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from mbats import schemas
from mbats.desk import Desk
from mbats.errors import NotReadyError
from tests.gcp import dying, samples
from tests.local.killing import kill

pytestmark = [pytest.mark.emulators, pytest.mark.slow]

MANY = [f"1.{number:05d}" for number in range(20_000)]
CHECKOUT = Path(__file__).parents[2]


def run_and_die(settings, what, name, after):
    """Run dying.py and return whether it died on the way, and not after having done all."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gcp.dying", settings.model_dump_json(), what, name, after],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def stored(desk, instrument, granularity="D"):
    return desk.security_master.bars(instrument, granularity, "test")


# A store of bars asks: is there a job, make staging, load, merge, wait, drop staging.
@pytest.mark.parametrize("after", [1, 2, 3, 4, 6])
def test_a_loader_killed_at_any_point_loses_and_doubles_nothing(desk, instrument, after):
    assert run_and_die(desk.settings, "bars", instrument, str(after))
    expected = samples.bars(dying.ROWS, instrument=instrument)
    assert stored(desk, instrument).num_rows in (0, expected.num_rows)
    dying.store(desk, "bars", instrument)
    assert stored(desk, instrument).equals(expected)
    count = desk.security_master.merge_bars("D", expected)
    assert (count.inserted, count.updated) == (0, 0)


@pytest.mark.parametrize("after", [4, 12, 24])
def test_a_run_killed_before_its_transaction_has_no_rows_and_is_failed(desk, instrument, after):
    now = datetime.now(UTC)
    desk.risk_store.start(samples.run(instrument, host="elsewhere:1", started_at=now))
    assert run_and_die(desk.settings, "run", instrument, str(after))
    found = desk.risk_store.load(instrument)
    assert found.run["status"] == "running"
    assert {table.num_rows for table in found.tables.values()} == {0}
    desk.warehouse.execute(
        f"UPDATE `{desk.warehouse.target(schemas.table('risk', 'run'))}` "
        "SET `deadline_at` = @past WHERE `run_id` = @run_id",
        {"past": now - timedelta(hours=1), "run_id": instrument},
    )
    assert desk.risk_store.load(instrument).run["status"] == "failed"


def kill_bigquery(stack):
    (pid,) = [status.pid for status in stack.status() if status.service == "bigquery"]
    kill(pid)


# How long after the Nth request has left the emulator dies, in seconds: in the middle of it.
@pytest.mark.parametrize(("number", "delay"), [(3, 0.0), (3, 0.1), (4, 0.0), (4, 0.2), (4, 0.5)])
def test_an_emulator_killed_in_the_middle_of_a_load_loses_and_doubles_nothing(
    stack, desk, instrument, monkeypatch, number, delay
):
    expected = samples.bars(MANY, instrument=instrument, step=timedelta(minutes=1))
    before = samples.bars(["9.9"] * 10, instrument=instrument, step=timedelta(minutes=1))
    desk.security_master.merge_bars("M1", before)
    send, sent, killers = requests.Session.send, [], []

    def sending(self, request, **kwargs):
        sent.append(request)
        if len(sent) == number:
            killers.append(threading.Timer(delay, kill_bigquery, [stack]))
            killers[0].start()
        return send(self, request, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(requests.Session, "send", sending)
        with suppress(NotReadyError):  # unless the answer was out before the emulator died
            desk.security_master.merge_bars("M1", expected)
        killers[0].join()
    stack.up()
    with Desk(desk.settings) as again:
        survived = stored(again, instrument, "M1")
        assert survived.equals(before) or survived.equals(expected)
        again.security_master.merge_bars("M1", expected)
        assert stored(again, instrument, "M1").equals(expected)
