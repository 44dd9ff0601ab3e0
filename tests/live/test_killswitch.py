"""The kill switch against the simulator on a socket: with faults, a frozen bot, a dead store."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mbats.config import Settings
from mbats.errors import NotReadyError, RefusedError
from mbats.live.control import MemoryControl, TradingOrder, decode, encode, set_state
from mbats.live.killswitch import Holdings, KillSwitch, NotFlatError, refuse_unless_asked
from mbats.local.oanda_sim import AccountSpec, Fault, FaultAt, SimConfig, serve, spec_of
from mbats.trading.risk.context import TradingState
from mbats.vendors.oanda_closer import closer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class WallClock:
    def now(self):
        return datetime.now(UTC)


class GoneStore:
    def read(self):
        raise NotReadyError("the store does not answer")

    generation = write = read


def switch(running, *, store=None, told=None, events=None):
    settings = Settings(
        oanda_environment="sim", oanda_endpoint=running.url, oanda_account=running.account_id
    )
    store = store or MemoryControl()
    return KillSwitch(
        running.account_id, "somebody@here", lambda: store, closer(settings), WallClock(),
        time.sleep, (told if told is not None else []).append,
        (events if events is not None else []).append,
    )  # fmt: skip


@pytest.fixture(params=[False, True], ids=["netting", "hedging"])
def running(request):
    """A simulator with open trades that have legs, and orders that wait; two sides if hedging."""
    account = AccountSpec(hedging=request.param)
    config = SimConfig(
        start=NOW, speed=0, accounts=(account,),
        specs=(spec_of("EUR_USD"), spec_of("USD_JPY")), history_days=0,
    )  # fmt: skip
    with serve(config) as simulator:
        simulator.advance(5)
        open_things(simulator)
        yield simulator


def open_things(simulator):
    bodies = [
        {"type": "MARKET", "instrument": "EUR_USD", "units": "1000",
         "stopLossOnFill": {"distance": "0.0100"}, "takeProfitOnFill": {"price": "2.00000"}},
        {"type": "MARKET", "instrument": "USD_JPY", "units": "-700",
         "stopLossOnFill": {"distance": "1.000"}},
        {"type": "LIMIT", "instrument": "EUR_USD", "units": "500", "price": "0.90000"},
    ]  # fmt: skip
    if simulator.call(lambda e: e.accounts[simulator.account_id].spec.hedging):
        bodies.append({"type": "MARKET", "instrument": "EUR_USD", "units": "-400"})
    from mbats.local.oanda_sim import orders

    for body in bodies:
        simulator.call(
            lambda e, body=body: orders.create(
                e.accounts[simulator.account_id], e.now_ns, {"order": body}
            )
        )


def left(simulator):
    account = simulator.call(lambda e: e.accounts[simulator.account_id].state)
    return len(account.open_trades), len(account.pending)


def test_flatten_closes_every_side_and_cancels_every_order_and_halts(running):
    store, events = MemoryControl(), []
    assert left(running) != (0, 0)
    made, clock = switch(running, store=store, events=events), MovedClock()
    made._clock, made._sleep = clock, clock.sleep  # what counts is how often it has to wait
    report = made.flatten("drill", timedelta(seconds=5))
    assert left(running) == (0, 0)
    assert report.flat
    assert report.seconds < 5
    assert store.read()[0].state is TradingState.HALTED
    assert {e.row["code"] for e in events} == {"STATE_HALTED", "FLATTENED"}
    assert {e.row["actor"] for e in events} == {"somebody@here"}
    assert running.violations() == []


def test_flatten_again_does_nothing_and_says_so(running):
    store = MemoryControl()
    switch(running, store=store).flatten("drill", timedelta(seconds=5))
    before = running.log()
    report = switch(running, store=store).flatten("again", timedelta(seconds=5))
    assert (report.flat, report.changed, report.done) == (True, False, [])
    assert running.log() == before


@pytest.mark.parametrize(
    "fault", [Fault.DROP_ANSWER, Fault.LOSE_REQUEST, Fault.RATE_LIMIT, Fault.SERVER_ERROR_AFTER]
)
def test_flatten_repeats_what_was_not_answered(running, fault):
    for number in (1, 2):
        running.inject(FaultAt("write", number, fault))
        running.inject(FaultAt("read", number, fault))
    report = switch(running).flatten("drill", timedelta(seconds=20))
    assert report.flat
    assert left(running) == (0, 0)


def test_flatten_closes_although_the_state_cannot_be_written_and_says_so(running):
    with pytest.raises(NotReadyError, match="flat, but the halt could not be written"):
        switch(running, store=GoneStore()).flatten("drill", timedelta(seconds=5))
    assert left(running) == (0, 0)


def test_flatten_that_cannot_close_fails_loudly_and_leaves_the_stops(running):
    running.call(lambda e: e.halt("EUR_USD", True))
    events = []
    with pytest.raises(NotFlatError, match="is not flat"):
        switch(running, events=events).flatten("drill", timedelta(seconds=1))
    state = running.call(lambda e: e.accounts[running.account_id].state)
    assert {t.instrument for t in state.open_trades.values()} == {"EUR_USD"}
    legs = [o for o in state.pending.values() if o.trade_id is not None]
    assert legs, "a position that could not be closed keeps its stop"
    assert events[-1].row["severity"] == "critical"


def test_a_frozen_bot_keeps_nobody_from_flattening(running):
    """The bot holds an open connection to the broker and is stopped with SIGSTOP in mid-request."""
    program = (
        "import socket, sys, time\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(b'POST /v3/accounts/x/orders HTTP/1.1\\r\\nContent-Length: 99\\r\\n\\r\\n{')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    bot = subprocess.Popen(
        [sys.executable, "-c", program, str(running.port)], stdout=subprocess.PIPE
    )
    try:
        assert bot.stdout.readline() == b"ready\n"
        os.kill(bot.pid, signal.SIGSTOP)
        report = switch(running).flatten("drill", timedelta(seconds=5))
        assert (report.flat, left(running)) == (True, (0, 0))
    finally:
        bot.kill()
        bot.wait()
        bot.stdout.close()


# Orders that were on their way.


class MovedClock:
    """The time, moved on by whoever waits; ``later`` is what happens while that is."""

    def __init__(self):
        self.time, self.later = NOW, {}

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += timedelta(seconds=seconds)
        for due in [due for due in self.later if due <= (self.time - NOW).total_seconds()]:
            self.later.pop(due)()


def watched_switch(running, events, clock):
    made = switch(running, events=events)
    made._clock, made._sleep = clock, clock.sleep
    return made


def send(running, **changes):
    from mbats.local.oanda_sim import orders

    body = {"type": "MARKET", "instrument": "EUR_USD", "units": "300", **changes}
    return lambda: running.call(
        lambda e: orders.create(e.accounts[running.account_id], e.now_ns, {"order": body})
    )


WATCH = timedelta(seconds=60)


def test_what_a_frozen_bot_had_on_its_way_is_closed_after_all_was_flat(running):
    events, said, clock = [], [], MovedClock()
    waiting = send(running, type="STOP", price="1.90000", timeInForce="GTC")
    clock.later = {9: send(running), 58: waiting}
    report = watched_switch(running, events, clock).flatten(
        "drill", timedelta(seconds=5), WATCH,
        lambda report: said.append((report.flat, report.seconds, left(running))),
    )  # fmt: skip
    assert said == [(True, report.seconds, (0, 0))], "it says so at once, and once"
    assert report.seconds < 5
    assert left(running) == (0, 0)
    assert (report.flat, len(report.came)) == (True, 2)
    assert report.watched >= WATCH.total_seconds()
    codes = [e.row["code"] for e in events]
    assert codes[:2] == ["STATE_HALTED", "FLATTENED"]
    assert codes[2:] == ["CLOSED_LATE"] * 2
    assert running.violations() == []


def test_without_a_watch_it_ends_as_soon_as_all_is_flat(running):
    clock = MovedClock()
    clock.later = {9: send(running)}
    report = watched_switch(running, [], clock).flatten("drill", timedelta(seconds=5))
    assert (report.watched, report.came) == (0, [])
    assert clock.time < NOW + timedelta(seconds=5)


def test_what_came_late_and_cannot_be_closed_fails_loudly(running):
    events, clock = [], MovedClock()

    def late():
        send(running)()
        running.call(lambda e: e.halt("EUR_USD", True))

    clock.later = {9: late}
    with pytest.raises(NotFlatError, match="is not flat"):
        watched_switch(running, events, clock).flatten("drill", timedelta(seconds=5), WATCH)
    assert (events[-1].row["code"], events[-1].row["severity"]) == ("NOT_FLAT", "critical")


def test_a_broker_that_is_gone_as_the_watch_ends_is_not_called_flat(running):
    clock = MovedClock()

    def gone():
        for number in range(1, 200):
            running.inject(FaultAt("read", number, Fault.SERVER_ERROR))

    clock.later = {50: gone}
    with pytest.raises(NotFlatError) as failed:
        watched_switch(running, [], clock).flatten("drill", timedelta(seconds=5), WATCH)
    assert "the broker did not answer" in str(failed.value)
    assert len(failed.value.tried) < 5, "the same problem is said once"


def test_ctrl_c_ends_the_watch_and_not_what_was_done(running):
    clock = MovedClock()

    def interrupt():
        raise KeyboardInterrupt

    clock.later = {5: interrupt}
    report = watched_switch(running, [], clock).flatten("drill", timedelta(seconds=5), WATCH)
    assert report.flat
    assert report.watched < 10
    assert any("by hand" in problem for problem in report.problems)


class LateStore(MemoryControl):
    """A store that does not answer ``times`` times."""

    times = 2

    def read(self):
        if self.times:
            self.times -= 1
            raise NotReadyError("the store does not answer")
        return super().read()


def test_a_halt_that_could_not_be_written_is_written_while_it_looks_on(running):
    clock, store, said = MovedClock(), LateStore(), []
    made = watched_switch(running, [], clock)
    made._store = lambda: store
    report = made.flatten(
        "drill", timedelta(seconds=5), WATCH, lambda report: said.append(report.state)
    )
    assert said == [None], "that it is flat waits for no store"
    assert store.read()[0].flat
    assert report.state == store.read()[0]
    assert len([p for p in report.problems if "not written" in p]) == 1


def test_a_bus_that_hangs_holds_up_neither_the_closing_nor_the_word_of_it(running):
    said, hanging, first = [], threading.Event(), []
    made = watched_switch(running, [], MovedClock())
    made._announce = lambda order: first.append(hanging.wait(5))

    def flat(report):
        said.append((report.state is not None, left(running)))
        hanging.set()

    report = made.flatten("drill", timedelta(seconds=5), timedelta(seconds=3), flat)
    assert said == [(True, (0, 0))], "the halt is written; that nobody was told of it can wait"
    assert first == [True], "it was said while the bus still hung"
    assert report.flat


def test_flattening_is_written_down_as_that_and_halting_is_not(running):
    store = MemoryControl()
    switch(running, store=store).halt("drill")
    assert not store.read()[0].flat
    switch(running, store=store).flatten("drill", timedelta(seconds=5))
    assert store.read()[0].flat


def test_resume_is_refused_when_the_account_does_not_reconcile(running):
    store, events = MemoryControl(), []
    made = switch(running, store=store, events=events)
    made.halt("drill")

    def prove():
        raise RefusedError("does not reconcile")

    with pytest.raises(RefusedError):
        made.resume("again", prove)
    assert store.read()[0].state is TradingState.HALTED
    assert events[-1].row["code"] == "RESUME_REFUSED"
    made.resume("again", lambda: None)
    assert store.read()[0].state is TradingState.ACTIVE


def test_the_state_survives_as_bytes_with_its_history():
    order = TradingOrder().next(TradingState.HALTED, "a", "b", NOW)
    order = order.next(TradingState.ACTIVE, "c", "d", NOW + timedelta(seconds=1))
    assert decode(encode(order)) == order
    assert [line["state"] for line in order.history] == [TradingState.HALTED]


def test_setting_the_same_state_again_changes_nothing():
    store = MemoryControl()
    first, changed = set_state(store, TradingState.HALTED, "a", "why", NOW)
    again, changed_again = set_state(store, TradingState.HALTED, "b", "other", NOW)
    assert (changed, changed_again, again) == (True, False, first)


def test_reducing_never_loosens_a_halt():
    store = MemoryControl()
    set_state(store, TradingState.HALTED, "a", "why", NOW)
    with pytest.raises(RefusedError, match="halted"):
        set_state(store, TradingState.REDUCING, "b", "why", NOW)


def test_a_halt_wins_over_another_writer():
    class Contended(MemoryControl):
        raced = False

        def write(self, order, generation):
            if not self.raced:
                self.raced = True
                super().write(order.next(TradingState.ACTIVE, "rival", "", NOW), generation)
                raise RefusedError("Another was first.")
            super().write(order, generation)

    store = Contended()
    _, changed = set_state(store, TradingState.HALTED, "a", "why", NOW)
    assert changed
    assert store.read()[0].state is TradingState.HALTED


def test_a_halt_replaces_a_record_that_cannot_be_read():
    from mbats.errors import DataError

    class Damaged(MemoryControl):
        def read(self):
            if self._generation < 4:
                raise DataError("not JSON")
            return super().read()

    store = Damaged()
    store._generation = 3
    order, changed = set_state(store, TradingState.HALTED, "a", "why", NOW)
    assert (changed, order.state) == (True, TradingState.HALTED)
    store._generation = 3
    with pytest.raises(DataError):
        set_state(store, TradingState.ACTIVE, "a", "why", NOW)


def test_nothing_is_done_without_a_yes():
    with pytest.raises(RefusedError, match="Not confirmed"):
        refuse_unless_asked(False)


def test_flat_means_no_position_no_order_and_no_leg():
    assert Holdings().flat
    assert not Holdings(legs=(3,)).flat
    assert not Holdings(orders=(3,)).flat
    assert not Holdings({"EUR_USD": (Decimal(1), Decimal(0))}).flat
