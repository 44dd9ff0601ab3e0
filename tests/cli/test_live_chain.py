"""The whole chain by its own commands: prices, bus, archive, bot, risk store, parity."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from mbats.desk import Desk
from mbats.local.oanda_sim import launch
from mbats.local.oanda_sim.calendar import quoting
from mbats.local.oanda_sim.times import from_datetime
from tests.cli.test_stream import MBATS, environment

pytestmark = [pytest.mark.emulators, pytest.mark.wall_clock]

NAME = "EUR_USD"
SECONDS = 60


@contextmanager
def running(settings, command, log, **more):
    """Run a command until the block ends, by SIGTERM; its output goes to ``log``."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", MBATS, *command.split()],
            env=environment(settings, **more), stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()


def run(settings, command, **more):
    done = subprocess.run(
        [sys.executable, "-c", MBATS, *command.split()],
        env=environment(settings, **more), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def wait_for(what, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.5)
    return found


def test_a_bot_on_paper_from_the_broker_s_prices_to_parity_on_stored_rows(settings, tmp_path):
    now = datetime.now(UTC)
    if not all(quoting(from_datetime(now + timedelta(seconds=s)), True) for s in (0, 300)):
        pytest.skip("THE FX MARKET IS CLOSED: a bot on the wall's clock has no prices to trade")
    run(settings, "init")
    with ExitStack() as opened:
        sim = opened.enter_context(launch(["--instruments", NAME, "--seed", "3"]))
        broker = {
            "MBATS_OANDA_ENVIRONMENT": "sim",
            "MBATS_OANDA_ENDPOINT": sim.url,
            "MBATS_OANDA_ACCOUNT": sim.account_id,
        }
        start = lambda command: opened.enter_context(  # noqa: E731
            running(settings, command, tmp_path / command.split()[0], **broker)
        )
        start("archive")
        start(f"stream --instruments {NAME}")
        until = datetime.now(UTC) + timedelta(seconds=SECONDS + 15)
        said = run(
            settings,
            f"live sma_reversal --instruments {NAME} --granularity S5 --param period=3 --paper"
            f" --size units:1000 --until {until:%Y-%m-%dT%H:%M:%S} --json",
            **broker,
        )
        run_id = json.loads(said)["run_id"]
        with Desk(settings) as desk:
            ended = desk.risk_store.load(run_id).run
            master = desk.security_master
            assert ended["status"] == "done", ended
            wait_for(lambda: len(desk.risk_store.load(run_id).tables["fill"]) > 2)
            newest = lambda: master.ticks(NAME, "oanda").column("time")[-1].as_py()  # noqa: E731
            wait_for(lambda: newest() >= ended["ended_at"])
        report = json.loads(run(settings, f"parity {run_id} --json", **broker))
    assert report["parity"]
    assert report["trades"] > 2
    assert report["unexplained"] == 0
    assert os.path.exists(tmp_path / "stream")
