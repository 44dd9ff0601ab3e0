"""What froze between its approval and the wire is held back, and asked about again."""

from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.live.orders.ports import HeldBackError, NotHeldError
from mbats.live.orders.protocol import Fate
from mbats.live.trader import APPROVAL, ENTRY_LIFETIME, KNOWN, Account, Trader
from mbats.trading.order import OrderType, Role
from mbats.trading.risk.context import Limits, Quote, TradingState
from mbats.trading.risk.rules import Denial
from tests.live.fakes import START, FakeBroker, HeldLease, ManualClock, MemoryJournal, intent
from tests.live.test_recovery import Life
from tests.live.test_trader import INSTRUMENTS

D = Decimal
LONG = APPROVAL.total_seconds() + 0.1


class FreezingJournal(MemoryJournal):
    """A process that is frozen while an intent is written; ``meanwhile`` is what happens then."""

    def __init__(self, clock):
        super().__init__()
        self._clock, self.seconds, self.meanwhile = clock, 0.0, lambda: None

    def append(self, record):
        super().append(record)
        if record["record"] == "intent":
            self._clock.advance(self.seconds)
            self.meanwhile()


class Desk:
    """One trader over stand-ins, whose bot has looked again ``looks`` times."""

    def __init__(self):
        self.clock, self.lease, self.events, self.looks = ManualClock(), HeldLease(), [], 0
        self.broker, self.journal = FakeBroker(self.clock), FreezingJournal(self.clock)
        self.place, self.arrived = self.broker.place, []
        self.broker.place = self._place
        limits = Limits(price_age=timedelta(seconds=30), duplicate_window=timedelta(0))
        book = Life().start().book
        self.trader = Trader(
            Account("A", "USD", "run-1", INSTRUMENTS, limits), book, self.broker, self.journal,
            self.lease, self.clock, self.events.append, lambda transaction: None,
        )  # fmt: skip
        self.trader.look_again = self._look
        self.quote()

    def quote(self):
        self.trader.take_quote("EUR_USD", Quote(D("1.1"), D("1.1001"), self.clock.now()))

    def _place(self, order, *, comment):
        self.arrived.append((order, comment, self.clock.now()))
        return self.place(order, comment=comment)

    def _look(self):
        self.looks += 1
        self.trader.protocol.proved()

    def codes(self):
        return [e.row["code"] for e in self.events if e.table == "risk_event"]

    def outcomes(self):
        return [r["fate"] for r in self.journal.records() if r["record"] == "outcome"]


@pytest.fixture
def desk():
    return Desk()


def exit_of(units=500):
    from dataclasses import replace

    from mbats.trading.order import Side

    return replace(
        intent(5), units=D(units), side=Side.SELL, role=Role.EXIT, reduce_only=True, key="m1-exit"
    )


def test_an_order_that_froze_is_asked_about_again_and_goes_once_with_a_life_of_its_own(desk):
    desk.journal.seconds = LONG
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    ((order, _, arrived),) = desk.arrived
    assert order.expires_at == arrived + ENTRY_LIFETIME
    assert desk.codes() == ["HELD_BACK"]
    assert desk.looks == 1
    assert (desk.trader.ledger.approved, desk.trader.ledger.sent) == (1, 1)
    assert [r["record"] for r in desk.journal.records()] == ["intent", "outcome"]


def test_an_order_that_was_quick_is_not_asked_about_twice(desk):
    desk.journal.seconds = APPROVAL.total_seconds()
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    assert (desk.looks, desk.codes()) == (0, [])


def test_a_halt_that_came_while_it_froze_is_seen_before_it_can_go(desk):
    desk.journal.seconds = LONG
    desk.trader.look_again = lambda: setattr(desk.trader, "state", TradingState.HALTED)
    denied = desk.trader.submit(intent())
    assert isinstance(denied, Denial)
    assert desk.arrived == []
    assert desk.outcomes() == [Fate.NOT_PLACED]
    assert desk.trader.protocol.blocked == frozenset()
    assert desk.trader.submit(intent()).code == "KILL_SWITCH"
    assert (desk.trader.ledger.approved, desk.trader.ledger.sent) == (0, 0)


def test_an_entry_that_froze_for_longer_than_it_would_have_lived_is_given_up(desk):
    desk.journal.seconds = ENTRY_LIFETIME.total_seconds()
    verdict = desk.trader.submit(intent())
    assert (verdict.fate, desk.arrived) == (Fate.NOT_PLACED, [])
    assert "what it was decided on is over" in verdict.detail
    assert desk.outcomes() == [Fate.NOT_PLACED]


def test_an_exit_that_froze_as_long_still_goes(desk):
    desk.trader.submit(intent())
    desk.journal.seconds = ENTRY_LIFETIME.total_seconds() + 5
    assert desk.trader.submit(exit_of()).fate is Fate.PLACED
    assert len(desk.arrived) == 2


def test_what_cannot_be_looked_at_again_is_not_sent(desk):
    desk.journal.seconds = LONG
    desk.journal.meanwhile = lambda: setattr(desk.broker, "unreachable", True)
    verdict = desk.trader.submit(intent())
    assert (verdict.fate, desk.arrived) == (Fate.NOT_PLACED, [])
    assert "cannot be read" in verdict.detail


def test_an_order_that_waits_for_its_price_is_held_back_too(desk):
    desk.journal.seconds = LONG
    desk.trader.look_again = lambda: setattr(desk.trader, "state", TradingState.HALTED)
    assert isinstance(desk.trader.submit(intent(kind=OrderType.LIMIT)), Denial)
    assert desk.arrived == []


def test_what_the_broker_holds_back_as_it_writes_was_not_sent(desk):
    """The connection took its time: nothing of the order was written."""

    def connects_slowly(order, *, comment):
        desk.broker.place = desk._place
        desk.clock.advance(LONG)
        desk.broker.last_look()
        pytest.fail("the last look let it pass")

    desk.broker.place = connects_slowly
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    assert len(desk.arrived) == 1
    assert (desk.trader.ledger.approved, desk.trader.ledger.sent) == (1, 1)


def test_a_kill_while_an_order_is_held_back_ends_as_one_that_was_never_sent(desk):
    life = Life()
    trader = life.start()

    def hold():
        raise HeldBackError("too late")

    life.broker.last_look = trader.protocol._broker.last_look = hold
    assert trader.protocol.place(intent()).fate is Fate.HELD
    trader = life.start()
    assert trader.protocol.fate(intent().key) is Fate.NOT_PLACED
    assert life.broker.sent == []


# The lease.


@pytest.mark.parametrize("when", ["before", "while it is journaled"])
def test_a_lease_that_ran_out_is_regained_where_nobody_took_it_and_the_order_goes(desk, when):
    desk.lease.taken = False

    def lose():
        desk.lease.held = False

    if when == "before":
        lose()
    else:
        desk.journal.meanwhile = lose
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    ((_, comment, _),) = desk.arrived
    assert comment == "fence=2"
    told = [r["fencing"] for r in desk.journal.records() if r["record"] == "lease"]
    assert told == [2]
    assert desk.looks == 1, "what was known before is looked at again"


def test_nothing_goes_on_a_regained_lease_before_the_account_reconciles(desk):
    desk.lease.held = desk.lease.taken = False
    desk.trader.look_again = lambda: None  # what it read was not enough
    verdict = desk.trader.submit(exit_of())
    assert (verdict.fate, desk.arrived) == (Fate.NOT_PLACED, [])
    assert "held back 5 times" in verdict.detail
    assert desk.trader.protocol.hold_lease(), "still not"
    desk.trader.protocol.proved()
    assert not desk.trader.protocol.hold_lease()
    assert desk.trader.submit(intent()).fate is Fate.PLACED


def test_a_regained_lease_counts_as_such_though_the_journal_could_not_be_told(desk):
    desk.lease.held = desk.lease.taken = False
    append = desk.journal.append

    def broken(record):
        desk.journal.append = append
        raise OSError("the disk is full")

    desk.journal.append = broken
    assert desk.trader.protocol.hold_lease()


def test_a_lease_that_another_took_sends_nothing_more(desk):
    desk.journal.meanwhile = lambda: setattr(desk.lease, "held", False)
    with pytest.raises(NotHeldError, match="taken by another"):
        desk.trader.submit(intent())
    assert desk.arrived == []
    assert (desk.trader.ledger.approved, desk.trader.ledger.sent) == (0, 0)


def test_a_cancel_regains_the_lease_first(desk):
    desk.trader.submit(intent(kind=OrderType.LIMIT))
    (order_id,) = desk.broker.orders
    desk.lease.held, desk.lease.taken = False, False
    assert desk.trader.cancel(order_id)
    assert desk.looks == 1


def test_a_cancel_that_froze_is_looked_at_again_and_one_that_always_does_is_not_sent(desk):
    desk.trader.submit(intent(kind=OrderType.LIMIT))
    (order_id,) = desk.broker.orders
    true, freezes = desk.broker.cancel, [1]

    def freezing(number):
        if freezes[0]:
            freezes[0] -= 1
            desk.clock.advance(LONG)
        desk.broker.last_look()
        return true(number)

    desk.trader.protocol._broker.cancel = freezing
    assert desk.trader.cancel(order_id)
    assert desk.looks == 1
    desk.trader.submit(intent(1, kind=OrderType.LIMIT))
    (order_id,) = desk.broker.orders
    freezes[0] = 99
    assert not desk.trader.cancel(order_id)
    assert order_id in desk.broker.orders


def test_a_first_start_that_was_killed_after_its_lease_was_regained_starts_again():
    life = Life()
    life.journal.append({"record": "lease", "fencing": 2, "detail": ""})
    assert life.start().book.positions() == {}
    assert life.clock.now() == START


# A process that sleeps between two orders of one step.


@pytest.fixture
def asleep(desk):
    """Return what lets the desk sleep after its step has begun; prices are known when it wakes."""
    desk.clock.advance(60)
    desk.quote()
    desk.trader.awake_at = desk.clock.now()

    def sleep(span):
        desk.clock.advance(span.total_seconds())
        desk.quote()

    return sleep


SOON = timedelta(seconds=0.1)


def test_a_step_that_slept_looks_again_once_before_its_next_order(desk, asleep):
    asleep(KNOWN + SOON)
    assert desk.trader.submit(intent(1)).fate is Fate.PLACED
    assert desk.trader.submit(intent(2)).fate is Fate.PLACED
    assert (desk.looks, desk.codes()) == (1, ["HELD_BACK"])


def test_a_step_that_took_its_time_and_no_more_does_not(desk, asleep):
    asleep(KNOWN)
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    assert (desk.looks, desk.codes()) == (0, [])


def test_a_halt_that_came_while_the_step_slept_is_seen_before_its_next_order(desk, asleep):
    asleep(KNOWN + SOON)
    desk.trader.look_again = lambda: setattr(desk.trader, "state", TradingState.HALTED)
    assert desk.trader.submit(intent()).code == "KILL_SWITCH"
    assert (desk.arrived, list(desk.journal.records())) == ([], [])


def test_an_entry_of_a_step_that_slept_for_longer_than_it_would_have_lived_is_given_up(
    desk, asleep
):
    asleep(ENTRY_LIFETIME + SOON)
    verdict = desk.trader.submit(intent(1))
    assert (verdict.fate, desk.arrived) == (Fate.NOT_PLACED, [])
    assert "what it was decided on is over" in verdict.detail
    assert desk.trader.submit(intent(2)).fate is Fate.NOT_PLACED


def test_an_exit_of_such_a_step_looks_again_and_goes(desk, asleep):
    desk.trader.submit(intent(1))
    asleep(ENTRY_LIFETIME + SOON)
    assert desk.trader.submit(exit_of()).fate is Fate.PLACED
    assert (desk.looks, len(desk.arrived)) == (1, 2)


def test_after_a_sleep_nothing_goes_while_what_happened_cannot_be_read(desk, asleep):
    asleep(KNOWN + SOON)
    desk.broker.unreachable = True
    verdict = desk.trader.submit(intent())
    assert (verdict.fate, desk.arrived) == (Fate.NOT_PLACED, [])
    assert "cannot be read" in verdict.detail
