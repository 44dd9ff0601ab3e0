"""A bot that slept, was cut off or was flattened: what it does before it does anything else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mbats.errors import NotReadyError, RefusedError
from mbats.live.control import MemoryControl, TradingOrder, decode, encode, set_state
from mbats.live.inbox import Continued, Control
from mbats.live.kept_flat import PAUSE
from mbats.trading.order import OrderType
from mbats.trading.risk.context import TradingState
from tests.live.fakes import HeldLease, MemoryJournal, intent
from tests.live.house import House, at
from tests.live.rig import START, ticks_at

CLOSES = ["1.1"] * 6


def leases(house):
    return [r["fencing"] for r in house.journal.records() if r["record"] == "lease"]


# The lease.


def test_a_bot_that_slept_longer_than_its_lease_goes_on_where_nobody_took_it():
    house = House(lease=HeldLease(taken=False))

    def sleep():
        house.lease.held = False
        house.clock.time += timedelta(seconds=40)

    house.run([at(30, sleep), *ticks_at(CLOSES)])
    assert leases(house) == [2]
    codes = house.sink.codes()
    assert codes.index("STALLED") < codes.index("BOT_CONTINUED")
    assert house.position() == 1000
    beats = [e.row for e in house.sink.stored if e.table == "heartbeat"]
    assert beats[-1]["fencing"] == 2


def test_a_lease_that_runs_out_unseen_is_regained_and_the_account_is_looked_at_anew():
    house = House(lease=HeldLease(taken=False))
    house.run([at(30, lambda: setattr(house.lease, "held", False)), *ticks_at(CLOSES)])
    assert leases(house) == [2]
    assert "BOT_CONTINUED" in house.sink.codes()
    assert house.position() == 1000


def test_a_bot_whose_lease_was_taken_in_its_sleep_ends_with_a_word_and_sends_nothing():
    house = House(lease=HeldLease(taken=True))
    with pytest.raises(RefusedError, match="taken by another process") as ended:
        house.run([at(30, lambda: setattr(house.lease, "held", False)), *ticks_at(CLOSES)])
    assert ended.value.exit_code == 5
    assert house.broker.placed == []


class CutOffLease(HeldLease):
    """A lease whose store does not answer ``times`` times."""

    times = 0

    def regain(self):
        if self.times:
            self.times -= 1
            raise NotReadyError("the store does not answer")
        super().regain()


def test_while_nobody_can_say_who_holds_the_lease_nothing_is_sent_and_the_bot_stays():
    house = House(lease=CutOffLease(taken=False))
    house.lease.times = 10**9

    def cut_off():
        house.lease.held = False

    def back():
        assert house.broker.placed == []
        house.lease.times = 0

    house.run([at(30, cut_off), at(190, back), *ticks_at(CLOSES)])
    assert leases(house) == [2]
    assert [order.decided_at for order in house.broker.placed] == [START + timedelta(minutes=4)]


class Unwritable(MemoryJournal):
    broken = False

    def append(self, record):
        if self.broken:
            raise NotReadyError("the store does not answer")
        super().append(record)


def test_a_checkpoint_that_cannot_be_written_is_written_later():
    house = House()
    house.journal = Unwritable()

    def broken(value):
        return lambda: setattr(house.journal, "broken", value)

    house.run([at(118, broken(False)), at(125, broken(True)), at(200, broken(False)),
               *ticks_at(CLOSES)])  # fmt: skip
    assert house.journal.records()[-1]["book"]["cursor"] == house.broker.state().last_id
    assert house.runs.ended[0][1] is None


def test_a_bus_that_is_away_keeps_no_bot_from_trading_and_all_is_told_at_the_end():
    house = House()
    away = [40]
    true = house.sink.flush

    def flush():
        if away[0]:
            away[0] -= 1
            raise NotReadyError("the bus does not answer")
        true()

    house.sink.flush = flush
    house.run(ticks_at(CLOSES))
    assert house.position() == 1000
    assert [row for row, error in house.runs.ended if error] == []
    assert [e.row["units"] for e in house.sink.stored if e.table == "fill"] == [1000]
    assert house.journal.records()[-1]["book"]["cursor"] == house.broker.state().last_id


# The trading state.


class Blind(MemoryControl):
    blind = False

    def read(self):
        if self.blind:
            raise NotReadyError("the store does not answer")
        return super().read()


def test_a_woken_bot_that_cannot_see_the_state_only_reduces_until_it_can():
    house = House()
    house.control = Blind()

    def wake():
        house.control.blind = True
        return Control(Continued())

    def see():
        assert house.broker.placed == []
        house.control.blind = False
        return Control(house.control.read()[0])

    house.run([at(30, wake), at(150, see), *ticks_at(CLOSES)])
    codes = house.sink.codes()
    assert codes.index("STATE_UNREADABLE") < codes.index("KILL_SWITCH")
    assert len(house.broker.placed) == 1


def test_a_state_that_waited_in_the_inbox_does_not_end_a_halt_that_is_newer():
    house = House()
    old = TradingOrder()

    def wake():
        set_state(house.control, TradingState.HALTED, "me", "drill", house.clock.now())
        return Control(Continued())

    house.run([at(30, wake), at(31, Control(old)), *ticks_at(CLOSES)])
    assert house.broker.placed == []
    assert house.bot.live.trader.state is TradingState.HALTED


def test_a_halt_that_was_written_over_a_damaged_record_is_obeyed_whatever_its_number():
    house = House()
    set_state(house.control, TradingState.HALTED, "me", "one", START)
    set_state(house.control, TradingState.ACTIVE, "me", "two", START)
    anew = TradingOrder().next(TradingState.HALTED, "me", "over a damaged one", START)
    house.run([at(30, Control(anew)), *ticks_at(CLOSES)])
    assert house.broker.placed == []


# Flattened.


def flattened(house, by="somebody"):
    set_state(house.control, TradingState.HALTED, by, "drill", house.clock.now(), flat=True)
    return Control(house.control.read()[0])


class LateOrder:
    """An order of the bot's own that reaches the broker after the account was flattened."""

    def __init__(self, house, **options):
        self._house = house
        self._intent = replace(intent(99, **options), strategy="S")

    def __call__(self):
        house = self._house
        house.bot.live.trader.protocol._fates[self._intent.key] = None  # it was sent by this bot
        house.broker.place(self._intent, comment="fence=1")


@pytest.mark.parametrize("kind", [OrderType.MARKET, OrderType.LIMIT])
def test_what_arrives_when_nobody_flattens_any_more_is_closed_by_the_bot(kind):
    house = House()
    late = LateOrder(house, kind=kind)
    house.run([*ticks_at(CLOSES)[:1], at(30, lambda: flattened(house)), at(40, late),
               at(41 + PAUSE.seconds, lambda: None), at(60, lambda: None)])  # fmt: skip
    assert len(house.flattened) >= 2, "nothing has closed it, so it is closed again"
    assert "NOT_FLAT" in house.sink.codes()
    assert late._intent.key in house.flattened[0]


@pytest.mark.parametrize("flat", [True, False])
def test_a_restarted_bot_closes_what_arrived_while_nobody_was_there_if_it_was_flattened(flat):
    house = House()
    house.run(ticks_at(CLOSES))
    assert house.position() == 1000
    set_state(house.control, TradingState.HALTED, "me", "drill", house.clock.now(), flat=flat)
    house.run([at(400 + second, lambda: None) for second in range(0, 20, 2)])
    assert bool(house.flattened) is flat, "a halt alone closes nothing"


def test_what_a_person_opens_by_hand_in_a_flattened_account_is_theirs():
    house = House()

    def by_hand():
        house.broker.place(replace(intent(99), key="mine"), comment="")

    house.run([*ticks_at(CLOSES)[:1], at(30, lambda: flattened(house)), at(40, by_hand),
               at(60, lambda: None)])  # fmt: skip
    assert house.position() == 1000
    assert house.flattened == []


def test_a_resume_ends_it():
    house = House()
    house.run([*ticks_at(CLOSES)[:1], at(20, lambda: flattened(house))])
    order, changed = set_state(house.control, TradingState.ACTIVE, "me", "on", house.clock.now())
    assert changed
    assert not order.flat


def test_a_halt_takes_nothing_back_of_a_flattening_and_a_flattening_adds_to_a_halt():
    store = MemoryControl()
    set_state(store, TradingState.HALTED, "a", "halt", START)
    order, changed = set_state(store, TradingState.HALTED, "b", "flatten", START, flat=True)
    assert (changed, order.flat, order.number) == (True, True, 2)
    assert decode(encode(order)) == order
    order, changed = set_state(store, TradingState.HALTED, "c", "halt", START)
    assert (changed, order.flat) == (False, True)
