"""A real bot, suspended and continued; then the kill drill: frozen with a bracket open, and
`mbats flatten` from outside."""

import json
import signal
from decimal import Decimal

import psutil
import pytest

from mbats.trading.order import parent_key
from mbats.trading.risk.context import TradingState
from tests.live.processes import PATIENCE_SECONDS, Floor, wait_for

pytestmark = [pytest.mark.emulators, pytest.mark.slow]


ORDER_EVENTS = ("accepted", "filled", "canceled", "fill")
LEASE_SECONDS, WATCH_SECONDS = 8, 10
"""The flattening looks on for longer than the lease lives: the bot that wakes has none, and nobody
has taken it."""


def test_a_bot_goes_on_after_a_suspension_and_sends_nothing_after_it_was_flattened_in_its_sleep(
    settings, tmp_path, record_property
):
    with Floor(settings, tmp_path, archives=False, lease_seconds=LEASE_SECONDS) as floor:
        bot = floor.bot()
        wait_for(floor.holds_a_bracket)
        its_log_says_which_money_and_which_order(floor)
        it_is_suspended_and_goes_on(floor, bot)
        frozen = len(floor.output("bot", "err"))
        bot.send_signal(signal.SIGSTOP)
        before = int(floor.log()[-1]["id"])
        code, report, errors = floor.run(
            "flatten", "--yes", "--account", floor.account, "--watch", str(WATCH_SECONDS)
        )
        assert code == 0, errors
        assert "Flat, with no orders left" in errors
        assert report["watched_seconds"] >= WATCH_SECONDS
        assert report["came"] == []
        assert floor.flat()
        assert floor.state().state is TradingState.HALTED
        assert floor.state().flat
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
                is_denied_as_halted(floor, frozen)
                or bot.poll() is not None
                or len(floor.log()) > quiet
            )
        )
        assert len(floor.log()) == quiet, "it sent something"
        assert "the lease is held again" in floor.output("bot", "err")[frozen:]
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(PATIENCE_SECONDS) == 0, floor.output("bot", "err")[-3000:]
        assert "session ended: SIGTERM" in floor.output("bot", "err")


def it_is_suspended_and_goes_on(floor, bot):
    """As Cloud Run does around a maintenance; its target is touched, its stream cut meanwhile."""
    first = key_of_position(floor)
    legs = {(f"{first}-sl", "accepted"), (f"{first}-tp", "accepted")}
    wait_for(lambda: legs <= set(events(floor, 0)))
    awake = len(floor.output("bot", "err"))
    bot.send_signal(signal.SIGTSTP)
    wait_for(lambda: psutil.Process(bot.pid).status() == psutil.STATUS_STOPPED)
    slept = len(floor.output("bot", "err"))
    # A bus that does not take its events in time keeps it from a checkpoint: then it says so.
    no_checkpoint = "no checkpoint yet" in floor.output("bot", "err")[awake:]
    assert no_checkpoint or floor.checkpoint() == int(floor.log()[-1]["id"])
    floor.cut_the_transaction_stream()
    floor.bid += Decimal("0.10000")
    wait_for(floor.flat)
    bot.send_signal(signal.SIGCONT)
    wait_for(floor.holds_a_bracket)
    second = key_of_position(floor)
    assert second != first
    wait_for(lambda: (second, "filled") in events(floor, slept))
    it_heard_what_became_of_its_bracket_before_it_decided(events(floor, slept), first)
    # Nothing twice: no event of an order, no order, no fill.
    orders = [about for about in events(floor, 0) if about[0] and about[1] in ORDER_EVENTS]
    assert len(orders) == len(set(orders))
    assert [t["type"] for t in floor.log()].count("ORDER_FILL") == 3
    assert [p["long"]["units"] for p in floor.positions()] == ["10000"]
    wait_for(lambda: "Connected(stream=<Stream.TRANSACTIONS" in floor.output("bot", "err")[slept:])


def it_heard_what_became_of_its_bracket_before_it_decided(told, first):
    woke = told.index((None, "BOT_CONTINUED"))
    assert (f"{first}-tp", "filled") in told[:woke]
    assert {parent_key(key) for key, _ in told[:woke] if key} == {first}


def key_of_position(floor):
    """Return the key of the entry that opened the one position: bounded, so a limit.

    An entry that a busy machine sent too late has expired, and the next bar's has another key;
    but no key comes to the broker twice.
    """
    log = floor.log()
    sent = {t["id"]: t["clientExtensions"]["id"] for t in log if t["type"] == "LIMIT_ORDER"}
    assert len(set(sent.values())) == len(sent)
    filled = [t["orderID"] for t in log if t["type"] == "ORDER_FILL" and t["orderID"] in sent]
    return sent[filled[-1]]


def events(floor, since):
    """Return order and event of what the bot has logged after ``since`` characters."""
    lines = floor.output("bot", "err")[since:].splitlines()
    whole = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
    return [(line.get("order_key"), line["event"]) for line in whole if "event" in line]


def its_log_says_which_money_and_which_order(floor):
    wait_for(lambda: '"event": "filled"' in floor.output("bot", "err"))  # later than the broker's
    said = floor.output("bot", "err").splitlines()
    assert "PRACTICE" in said[0]
    lines = [json.loads(line) for line in said if line.startswith("{") and line.endswith("}")]
    filled = next(line for line in lines if line.get("event") == "filled")
    assert {"PRACTICE", "holding", floor.account} <= set(filled.values())
    assert filled["order_key"].startswith("m1-")
    assert filled["trace_id"].startswith("practice-")


def is_denied_as_halted(floor, frozen):
    """In time it reconciles, and every bar's order is denied from then on."""
    _, woken, after = floor.output("bot", "err")[frozen:].partition("BOT_CONTINUED")
    return woken and "KILL_SWITCH" in after
