"""The whole chain by its own commands: prices, bus, archive, bot, risk store, parity."""

import json
from datetime import timedelta

import pytest

from mbats.desk import Desk
from tests.live.processes import PATIENCE_SECONDS, Floor, wait_for

pytestmark = [pytest.mark.emulators, pytest.mark.wall_clock]

NAME = "GBP_USD"  # the floors of other tests archive EUR_USD over the same bus
ACCOUNT = "000-001-0000004-001"
SESSION = timedelta(seconds=75)


def test_a_bot_on_paper_from_the_broker_s_prices_to_parity_on_stored_rows(settings, tmp_path):
    with Floor(settings, tmp_path, NAME, seed=3) as floor:
        until = (floor.now() + SESSION).strftime("%Y-%m-%dT%H:%M:%S")
        code, said, errors = floor.run(
            "live", "sma_reversal", "--instruments", NAME, "--granularity", "S5", "--param",
            "period=3", "--paper", "--account", ACCOUNT, "--size", "units:1000", "--until", until,
            seconds=PATIENCE_SECONDS,
        )  # fmt: skip
        assert code == 0, errors[-3000:]
        everything_is_stored(floor, said["run_id"])
        code, report, errors = floor.run("parity", said["run_id"])
    unexplained = [d for d in report["differences"] if d["reason"] == "unexplained"]
    assert (code, report["parity"]) == (0, True), json.dumps(unexplained, indent=1)
    assert report["trades"] > 2
    assert report["unexplained"] == 0


def everything_is_stored(floor, run_id):
    with Desk(floor.settings) as desk:
        ended = desk.risk_store.load(run_id).run
        assert ended["status"] == "done", ended
        wait_for(lambda: len(desk.risk_store.load(run_id).tables["fill"]) > 2)

        def the_archive_has_reached_the_end():
            ticks = desk.security_master.ticks(NAME, "oanda")
            return ticks.column("time")[-1].as_py() >= ended["ended_at"]

        wait_for(the_archive_has_reached_the_end)
