"""Real processes on the emulators: a broken limit, a frozen bot, and the proof of the day."""

import signal
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from mbats.desk import Desk
from mbats.gcp.lease import ObjectLease
from mbats.trading.risk.context import TradingState
from tests.live.processes import PATIENCE_SECONDS, Floor, wait_for

pytestmark = [pytest.mark.emulators, pytest.mark.wall_clock]


@pytest.fixture
def floor(settings, tmp_path):
    with Floor(settings, tmp_path) as made:
        yield made


def codes(floor):
    rows = floor.query(
        f"SELECT code, event_id FROM `{{risk}}.v_risk_event` WHERE account = '{floor.account}'"
    )
    assert len({row["event_id"] for row in rows}) == len(rows)
    return [row["code"] for row in rows]


def test_a_broken_drawdown_limit_flattens_halts_and_is_told_to_the_end_of_the_chain(floor):
    bot = floor.bot("--limit", "drawdown=0.003")
    wait_for(floor.holds_a_bracket)
    floor.bid -= Decimal("0.05000")
    wait_for(floor.flat)
    wait_for(lambda: floor.state().state is TradingState.HALTED)
    assert bot.poll() is None, "it goes on, halted"
    wait_for(lambda: {"DRAWDOWN", "FLATTENED", "STATE_HALTED"} <= set(codes(floor)))
    assert codes(floor).count("DRAWDOWN") == 1
    wait_for(lambda: len(floor.fills()) == 2)
    entry, exit_ = floor.fills()
    assert [(r["side"], r["units"]) for r in (entry, exit_)] == [("buy", 10_000), ("sell", 10_000)]
    assert exit_["realised_pnl"] < -400
    bot.send_signal(signal.SIGTERM)
    assert bot.wait(PATIENCE_SECONDS) == 0, floor.output("bot", "err")[-3000:]
    (run,) = floor.query("SELECT * FROM `{risk}.run`")
    assert (run["status"], run["starting_cash"]) == ("done", 100_000)
    events = '"event": "drawdown_limit"', '"event": "halted"'
    assert all(event in floor.output("bot", "err") for event in events)
    the_day_is_proved_and_a_lost_row_is_repaired(floor)


def the_day_is_proved_and_a_lost_row_is_repaired(floor):
    def clean():
        code, document, _ = floor.run("reconcile", "--settling", "0", "--account", floor.account)
        return code == 0 and document["accounts"][0]

    proof = wait_for(clean)
    assert (proof["clean"], proof["fills"]) == (True, 2)
    assert "RECONCILED" in wait_for(lambda: "RECONCILED" in codes(floor) and codes(floor))
    proved_from_the_beginning(floor)
    lost = floor.fills()[1]
    with Desk(floor.settings) as desk:
        desk.warehouse.execute(
            f"DELETE FROM `{floor.settings.risk}.fill` WHERE event_id = @id",
            {"id": lost["event_id"]},
        )
    code, document, errors = floor.run("reconcile", "--settling", "0", "--account", floor.account)
    assert code == 7
    (finding,) = document["accounts"][0]["findings"]
    assert (finding["kind"], finding["subject"]) == ("lost_fill", lost["event_id"])
    assert '"event": "reconciliation_mismatch"' in errors
    code, document, _ = floor.run(
        "reconcile", "--settling", "0", "--account", floor.account, "--repair"
    )
    assert (code, document["accounts"][0]["findings"][0]["repaired"]) == (0, True)
    wait_for(lambda: len(floor.fills()) == 2)
    (run,) = floor.query("SELECT run_id FROM `{risk}.run`")
    assert {row["run_id"] for row in floor.fills()} == {run["run_id"]}
    assert wait_for(clean)["clean"]


def proved_from_the_beginning(floor):
    """Forget the last proof, so that the next one looks at everything again."""
    with Desk(floor.settings) as desk:
        name = f"reconciled/{floor.account}.json"
        _, generation = desk.objects.read("state", name)
        desk.objects.remove("state", name, generation)


def test_a_frozen_bot_is_flattened_by_another_process_and_wakes_halted_and_fenced(floor):
    bot = floor.bot()
    wait_for(floor.holds_a_bracket)
    bot.send_signal(signal.SIGSTOP)
    before = int(floor.log()[-1]["id"])
    code, report, errors = floor.run("flatten", "--yes", "--account", floor.account)
    assert code == 0, errors
    assert floor.flat()
    done = [t for t in floor.log() if int(t["id"]) > before]
    times = [datetime.fromisoformat(t["time"][:26]) for t in done]
    assert {"ORDER_FILL", "ORDER_CANCEL"} <= {t["type"] for t in done}
    assert max(times) - min(times) <= timedelta(seconds=5)
    assert report["seconds"] <= 5
    with Desk(floor.settings) as desk:
        successor = ObjectLease(desk.objects, f"account-{floor.account}", keep=False)
        fencing = successor.acquire(wait_s=60)
        last = floor.log()[-1]["id"]
        bot.send_signal(signal.SIGCONT)
        assert bot.wait(PATIENCE_SECONDS) == 5, floor.output("bot", "err")[-3000:]
        successor.release()
    assert fencing == 2
    assert "lease" in floor.output("bot", "err")
    assert floor.log()[-1]["id"] == last, "it sent nothing"
    assert floor.state().state is TradingState.HALTED
    (run,) = floor.query("SELECT status, starting_cash FROM `{risk}.run`")
    assert (run["status"], run["starting_cash"]) == ("failed", 100_000)


def test_a_frozen_bot_that_wakes_in_time_finds_itself_halted_and_sends_nothing(floor):
    bot = floor.bot()
    wait_for(floor.holds_a_bracket)
    with floor.switch() as switch:  # within this process: the bot must not lose its lease meanwhile
        bot.send_signal(signal.SIGSTOP)
        assert switch.flatten("drill", timedelta(seconds=5)).flat
        last = floor.log()[-1]["id"]
        bot.send_signal(signal.SIGCONT)
    wait_for(lambda: "BOT_CONTINUED" in floor.output("bot", "err"))
    denials = floor.output("bot", "err").count("KILL_SWITCH")
    wait_for(lambda: floor.output("bot", "err").count("KILL_SWITCH") > denials)
    assert floor.log()[-1]["id"] == last, "it sent nothing"
    bot.send_signal(signal.SIGTERM)
    assert bot.wait(PATIENCE_SECONDS) == 0, floor.output("bot", "err")[-3000:]
