from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import integers, sampled_from

from mbats.live.orders.book import Book, LogGapError
from mbats.live.orders.ports import LogPage
from mbats.live.orders.protocol import QUARANTINE, DoubledOrderError, Fate, OrderProtocol
from mbats.live.orders.reconcile import mismatches
from mbats.live.orders.transactions import OrderCreated
from mbats.trading.order import OrderType
from tests.live.fakes import FakeBroker, HeldLease, ManualClock, MemoryJournal, intent


class Desk:
    """One account, its broker, and a bot that can be killed and started again."""

    def __init__(self):
        self.clock = ManualClock()
        self.broker = FakeBroker(self.clock)
        self.journal = MemoryJournal()
        self.lease = HeldLease()
        self.told = []
        self.start(Book.opened_at(self.broker.state()))

    def start(self, book):
        self.bot = OrderProtocol(
            book, self.broker, self.journal, self.lease, self.clock, self.told.append
        )

    def restart(self):
        """Kill the bot and start it from what is durable: the journal and its checkpoint."""
        checkpoints = [r["book"] for r in self.journal.records() if r["record"] == "checkpoint"]
        fresh = Book("A", self.broker.first_id - 1, Decimal(10_000))
        self.start(Book.from_record(checkpoints[-1]) if checkpoints else fresh)
        self.bot.catch_up()

    def agreed(self):
        return mismatches(self.bot.book, self.broker.state(), self.bot.known_keys) == []


@pytest.fixture
def desk():
    return Desk()


def test_an_order_is_journalled_before_it_is_sent(desk):
    desk.broker.place = lambda *_, **__: pytest.fail("sent") if not desk.journal.lines else 1 / 0
    with pytest.raises(ZeroDivisionError):
        desk.bot.place(intent())
    assert desk.journal.records()[0]["record"] == "intent"


def test_a_done_answer_is_in_the_book_and_told_once(desk):
    assert desk.bot.place(intent()).fate is Fate.PLACED
    assert desk.bot.book.positions() == {"EUR_USD": Decimal(1000)}
    desk.bot.receive(desk.broker.log)  # the stream brings the same transactions again
    assert [t.id for t in desk.told] == [996, 997]


def test_the_same_decision_is_never_sent_twice_even_after_a_restart(desk):
    desk.bot.place(intent())
    assert desk.bot.place(intent()).fate is Fate.REPEATED
    desk.restart()
    assert desk.bot.place(intent()).fate is Fate.REPEATED
    assert len(desk.broker.sent) == 1


@pytest.mark.parametrize("fault", ["lost", "dropped", "late"])
def test_an_unknown_outcome_blocks_its_instrument_and_only_that(desk, fault):
    desk.broker.fault = fault
    assert desk.bot.place(intent()).fate is Fate.UNKNOWN
    assert desk.bot.place(intent(1)).fate is Fate.BLOCKED
    assert desk.bot.place(intent(1, instrument="USD_JPY")).fate is Fate.PLACED
    desk.restart()
    assert desk.bot.blocked == {"EUR_USD"}


def test_a_dropped_answer_is_found_in_the_log(desk):
    desk.broker.fault = "dropped"
    desk.bot.place(intent())
    (verdict,) = desk.bot.resolve()
    assert verdict.fate is Fate.PLACED
    assert desk.bot.blocked == frozenset()
    assert desk.agreed()


def test_a_lost_order_is_given_up_only_when_the_quarantine_is_over(desk):
    desk.broker.fault = "lost"
    desk.bot.place(intent())
    desk.clock.advance(QUARANTINE.total_seconds() - 1)
    assert desk.bot.resolve() == []
    desk.clock.advance(1)
    (verdict,) = desk.bot.resolve()
    assert verdict.fate is Fate.NOT_PLACED
    assert desk.bot.place(intent(1)).fate is Fate.PLACED


def test_the_quarantine_begins_anew_with_a_restart(desk):
    """When the dead process sent it, its journal does not say: no later than it died."""
    desk.broker.fault = "lost"
    desk.bot.place(intent())
    desk.clock.advance(29)
    desk.restart()
    desk.clock.advance(29)
    assert desk.bot.resolve() == []
    desk.clock.advance(1)
    assert [v.fate for v in desk.bot.resolve()] == [Fate.NOT_PLACED]


def test_nothing_is_decided_while_the_log_cannot_be_read(desk):
    desk.broker.fault = "lost"
    desk.bot.place(intent())
    desk.clock.advance(1000)
    desk.broker.unreachable = True
    with pytest.raises(ConnectionError):
        desk.bot.resolve()
    assert desk.bot.blocked == {"EUR_USD"}


def test_an_order_that_turns_up_after_it_was_given_up_stops_everything(desk):
    desk.broker.fault = "late"
    desk.bot.place(intent())
    desk.clock.advance(QUARANTINE.total_seconds())
    desk.bot.resolve()
    desk.broker.arrive_late()
    with pytest.raises(DoubledOrderError):
        desk.bot.catch_up()


def test_one_key_that_made_two_orders_stops_everything(desk):
    desk.bot.place(intent())
    desk.broker.place(intent(), comment="somebody else")
    with pytest.raises(DoubledOrderError):
        desk.bot.catch_up()


def test_a_gap_in_the_stream_is_read_from_the_log(desk):
    desk.broker.place(intent(5), comment="another strategy's order")
    desk.broker.place(intent(6), comment="another strategy's order")
    desk.bot.receive(desk.broker.log[-1:])
    assert desk.bot.book.cursor == desk.broker.last_id
    assert [t.id for t in desk.told] == [t.id for t in desk.broker.log]


def test_a_log_that_is_not_contiguous_is_not_believed(desk):
    desk.broker.place(intent(5), comment="")
    del desk.broker.log[0]
    with pytest.raises(LogGapError):
        desk.bot.catch_up()


def test_a_page_that_ends_before_the_log_does_is_not_the_end(desk):
    desk.broker.place(intent(5), comment="")
    desk.broker.transactions_since = lambda since: LogPage(desk.broker.log[:1], 997)
    with pytest.raises(LogGapError, match="reaches 997"):
        desk.bot.catch_up()


def test_nothing_is_sent_without_the_lease(desk):
    desk.lease.held = False
    assert desk.bot.place(intent()).fate is Fate.HELD
    assert desk.broker.sent == []
    assert desk.journal.lines == []
    desk.lease.held = True
    assert desk.bot.place(intent()).fate is Fate.PLACED, "it never left: it may go now"


def test_a_refused_order_leaves_the_instrument_free(desk):
    desk.broker.fault = "refused"
    assert desk.bot.place(intent()).fate is Fate.REFUSED
    assert desk.bot.place(intent(1)).fate is Fate.PLACED


def test_a_partly_filled_order_waits_for_the_rest(desk):
    desk.bot.place(intent(kind=OrderType.LIMIT))
    order_id = next(iter(desk.broker.orders))
    desk.broker.fill(order_id, Decimal(400))
    desk.bot.catch_up()
    assert desk.bot.book.orders[order_id].units == 600
    assert desk.bot.book.positions() == {"EUR_USD": Decimal(400)}
    assert desk.agreed()


def test_a_cancel_with_a_lost_answer_may_be_asked_again(desk):
    desk.bot.place(intent(kind=OrderType.LIMIT))
    order_id = next(iter(desk.broker.orders))
    desk.broker.fault = "dropped"
    assert desk.bot.cancel(order_id) is False
    desk.bot.catch_up()
    assert order_id not in desk.bot.book.orders
    assert desk.bot.cancel(order_id) is True


def test_a_replaced_order_is_gone_and_its_successor_waits(desk):
    desk.bot.place(intent(kind=OrderType.LIMIT))
    (order_id,) = desk.broker.orders
    desk.broker.fault = "dropped"
    assert desk.bot.replace(order_id, intent(1, kind=OrderType.LIMIT)).fate is Fate.UNKNOWN
    assert [v.fate for v in desk.bot.resolve()] == [Fate.PLACED]
    assert list(desk.bot.book.orders) == list(desk.broker.orders) != [order_id]


def test_a_restart_from_a_checkpoint_tells_only_what_came_after(desk):
    desk.bot.place(intent())
    desk.bot.checkpoint({})
    desk.broker.place(intent(9), comment="filled while the bot was dead")
    desk.told.clear()
    desk.restart()
    assert [t.id for t in desk.told] == [998, 999]
    assert desk.bot.book.positions() == {"EUR_USD": Decimal(2000)}


class Storm(RuleBasedStateMachine):
    """Any order of decisions, faults, deliveries and kills: each decision trades at most once."""

    def __init__(self):
        super().__init__()
        self.desk = Desk()

    @rule(
        number=integers(0, 6),
        instrument=sampled_from(["EUR_USD", "USD_JPY"]),
        kind=sampled_from([OrderType.MARKET, OrderType.LIMIT]),
        fault=sampled_from([None, None, "lost", "dropped", "late", "refused"]),
    )
    def decide(self, number, instrument, kind, fault):
        self.desk.broker.fault = fault
        self.desk.bot.place(intent(number, instrument=instrument, kind=kind))
        self.desk.broker.fault = None

    @rule()
    def kill(self):
        self.desk.restart()

    @rule()
    def kill_after_a_checkpoint(self):
        self.desk.bot.checkpoint({})
        self.desk.restart()

    @rule(late=integers(0, 29))
    def time_passes(self, late):
        """Whatever is under way arrives within the quarantine: orders expire before it ends."""
        self.desk.broker.arrive_late()
        self.desk.clock.advance(late)

    @rule()
    def resolve(self):
        self.desk.bot.resolve()

    @rule(skip=integers(0, 3))
    def stream_brings_some_again_and_leaves_some_out(self, skip):
        log = self.desk.broker.log
        self.desk.bot.receive(log[-1:] + log[:1] + log[skip::2])

    @precondition(lambda self: self.desk.broker.orders)
    @rule(fault=sampled_from([None, "lost", "dropped"]))
    def cancel(self, fault):
        self.desk.broker.fault = fault
        self.desk.bot.cancel(next(iter(self.desk.broker.orders)))
        self.desk.broker.fault = None

    @precondition(lambda self: self.desk.broker.orders)
    @rule(part=sampled_from([None, Decimal(100)]))
    def fill(self, part):
        order_id, order = next(iter(self.desk.broker.orders.items()))
        self.desk.broker.fill(order_id, None if part == order.units else part)

    @invariant()
    def no_key_was_sent_twice(self):
        assert len(set(self.desk.broker.sent)) == len(self.desk.broker.sent)

    @invariant()
    def no_key_made_two_orders(self):
        keys = [t.client_key for t in self.desk.broker.log if isinstance(t, OrderCreated)]
        assert len(set(keys)) == len(keys)

    def teardown(self):
        """When all is quiet the bot knows everything the broker knows."""
        desk = self.desk
        desk.broker.arrive_late()
        desk.clock.advance(QUARANTINE.total_seconds())
        desk.bot.catch_up()
        desk.bot.resolve()
        assert desk.bot.unresolved == ()
        assert desk.agreed()
        created = {t.client_key for t in desk.broker.log if isinstance(t, OrderCreated)}
        placed = {k for k in desk.bot.known_keys if desk.bot.fate(k) is Fate.PLACED}
        assert created == placed


TestStorm = Storm.TestCase
TestStorm.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=timedelta(seconds=5)
)
