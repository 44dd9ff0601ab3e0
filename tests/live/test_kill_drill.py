"""The kill drill: a real bot, frozen with a bracket open, and `mbats flatten` from outside."""

import json
import signal

import pytest

from mbats.trading.risk.context import TradingState
from tests.live.processes import PATIENCE_SECONDS, Floor, wait_for

pytestmark = [pytest.mark.emulators, pytest.mark.slow]


def test_a_frozen_bot_is_flattened_from_outside_and_sends_nothing_when_it_wakes(
    settings, tmp_path, record_property
):
    with Floor(settings, tmp_path, archives=False) as floor:
        bot = floor.bot()
        wait_for(floor.holds_a_bracket)
        its_log_says_which_money_and_which_order(floor)
        bot.send_signal(signal.SIGSTOP)
        before = int(floor.log()[-1]["id"])
        code, report, errors = floor.run("flatten", "--yes", "--account", floor.account)
        assert code == 0, errors
        assert floor.flat()
        assert floor.state().state is TradingState.HALTED
        done = floor.log()[before:]
        # One round was enough: one close, and the broker cancels the bracket's legs with it.
        assert [step.partition(" (")[0] for step in report["done"]] == ["close EUR_USD"]
        assert [t["type"] for t in done] == [
            "MARKET_ORDER", "ORDER_FILL", "ORDER_CANCEL", "ORDER_CANCEL",
        ]  # fmt: skip
        assert {t["reason"] for t in done[2:]} == {"LINKED_TRADE_CLOSED"}
        record_property("kill drill, bot frozen: seconds to flat", f"{report['seconds']:.2f}")
        bot.send_signal(signal.SIGCONT)
        quiet = before + len(done)
        wait_for(
            lambda: (
                is_stopped_by_its_lease(bot)
                or is_denied_as_halted(floor)
                or len(floor.log()) > quiet
            )
        )
        assert len(floor.log()) == quiet, "it sent something"
        if bot.poll() is None:
            bot.send_signal(signal.SIGTERM)
            assert bot.wait(PATIENCE_SECONDS) == 0, floor.output("bot", "err")[-3000:]
            assert "session ended: SIGTERM" in floor.output("bot", "err")


def its_log_says_which_money_and_which_order(floor):
    wait_for(lambda: '"event": "filled"' in floor.output("bot", "err"))  # later than the broker's
    said = floor.output("bot", "err").splitlines()
    assert "PRACTICE" in said[0]
    lines = [json.loads(line) for line in said if line.startswith("{") and line.endswith("}")]
    filled = next(line for line in lines if line.get("event") == "filled")
    assert {"PRACTICE", "holding", floor.account} <= set(filled.values())
    assert filled["order_key"].startswith("m1-")
    assert filled["trace_id"].startswith("practice-")


def is_stopped_by_its_lease(bot):
    """Where the machine was so busy that the bot's lease ran out, it ends by itself."""
    return bot.poll() == 5


def is_denied_as_halted(floor):
    """In time it reconciles, and every bar's order is denied from then on."""
    _, woken, after = floor.output("bot", "err").partition("BOT_CONTINUED")
    return woken and "KILL_SWITCH" in after
