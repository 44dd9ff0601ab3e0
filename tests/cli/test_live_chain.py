"""The whole chain by its own commands: prices, bus, archive, bot, risk store, parity."""

import json
import signal
from datetime import timedelta

import pytest

from mbats.desk import Desk
from tests.live.processes import PATIENCE_SECONDS, Floor, wait_for

pytestmark = [pytest.mark.emulators, pytest.mark.wall_clock]

NAME = "GBP_USD"  # the floors of other tests archive EUR_USD over the same bus
FILLS = 8


@pytest.mark.parametrize("seed", [3, 11])
def test_a_bot_on_paper_from_the_broker_s_prices_to_parity_on_stored_rows(settings, tmp_path, seed):
    # Every floor begins at noon anew: a paper account that has lived on would be ahead of it.
    account = f"000-001-{seed:07d}-001"
    with Floor(settings, tmp_path, NAME, seed=seed) as floor:
        bot = floor.start(
            "bot", "live", "sma_reversal", "--instruments", NAME, "--granularity", "S5",
            "--param", "period=3", "--paper", "--account", account, "--size", "units:1000",
            "--until", (floor.now() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%S"), "--json",
        )  # fmt: skip
        wait_for(lambda: bot.poll() is not None or filled(floor) >= FILLS)
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(PATIENCE_SECONDS) == 0, floor.output("bot", "err")[-3000:]
        run_id = json.loads(floor.output("bot"))["run_id"]
        everything_is_stored(floor, run_id)
        code, report, errors = floor.run("parity", run_id)
    (tmp_path / "parity.json").write_text(json.dumps(report, indent=1))
    unexplained = [d for d in report["differences"] if d["reason"] == "unexplained"]
    assert (code, unexplained) == (0, []), errors
    assert report["parity"]
    assert report["trades"] >= FILLS


def filled(floor):
    return floor.output("bot", "err").count('"message": "fill fill"')


def everything_is_stored(floor, run_id):
    with Desk(floor.settings) as desk:
        ended = desk.risk_store.load(run_id).run
        assert ended["status"] == "done", ended

        def every_fill_is_archived():
            return len(desk.risk_store.load(run_id).tables["fill"]) >= filled(floor)

        def the_archive_has_reached_the_end():
            ticks = desk.security_master.ticks(NAME, "oanda")
            return ticks.column("time")[-1].as_py() >= ended["ended_at"]

        wait_for(every_fill_is_archived)
        wait_for(the_archive_has_reached_the_end)
