from dataclasses import replace
from decimal import Decimal

import pytest

from mbats.errors import RefusedError
from mbats.live.orders.book import Book
from mbats.live.orders.ports import OpenOrder
from mbats.live.orders.reconcile import MismatchKind, mismatches, require_agreement
from mbats.trading.order import OrderType, Role, leg_key
from tests.live.fakes import FakeBroker, ManualClock, intent

ENTRY = intent(0)
LIMIT = intent(1, kind=OrderType.LIMIT)
KNOWN = {ENTRY.key, LIMIT.key}


@pytest.fixture
def broker():
    """A broker with one open trade and one waiting order, both of them known."""
    broker = FakeBroker(ManualClock())
    broker.place(ENTRY, comment="")
    broker.place(LIMIT, comment="")
    return broker


@pytest.fixture
def book(broker):
    book = Book("A", broker.first_id - 1, Decimal(10_000))
    book.apply_all(broker.log)
    return book


def kinds(book, state, known=KNOWN):
    return [m.kind for m in mismatches(book, state, known)]


def test_a_book_that_folded_the_whole_log_agrees(book, broker):
    assert kinds(book, broker.state()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"last_id": 2000}, MismatchKind.CURSOR),
        ({"balance": Decimal("9999.99")}, MismatchKind.BALANCE),
        ({"positions": {"EUR_USD": Decimal(999)}}, MismatchKind.POSITION),
        ({"positions": {"EUR_USD": Decimal(1000), "USD_JPY": Decimal(1)}}, MismatchKind.POSITION),
        ({"orders": ()}, MismatchKind.MISSING_ORDER),
    ],
)
def test_each_difference_has_its_name(book, broker, change, expected):
    assert kinds(book, replace(broker.state(), **change)) == [expected]


def test_an_order_only_the_broker_has_is_named(book, broker):
    state = broker.state()
    stranger = OpenOrder(77, "x", "EUR_USD", Decimal(5))
    assert kinds(book, replace(state, orders=(*state.orders, stranger))) == [
        MismatchKind.EXTRA_ORDER
    ]


def test_orders_and_trades_of_somebody_else_are_unclaimed(book, broker):
    assert kinds(book, broker.state(), known={ENTRY.key}) == [MismatchKind.UNCLAIMED_ORDER]
    assert kinds(book, broker.state(), known={LIMIT.key}) == [MismatchKind.UNCLAIMED_TRADE]


@pytest.mark.parametrize("named", [True, False])
def test_a_leg_is_claimed_by_its_entry_or_by_its_trade(book, broker, named):
    (trade_id,) = book.trades
    key = leg_key(ENTRY.key, Role.STOP_LOSS) if named else None
    leg = OpenOrder(1500, key, None, None, trade_id)
    state = replace(broker.state(), orders=(*broker.state().orders, leg))
    waiting = Book.opened_at(state).orders[1500]
    book.orders[1500] = replace(waiting, role=Role.STOP_LOSS)
    assert kinds(book, state) == []


def test_disagreement_refuses_to_trade_and_lists_everything(book, broker):
    found = mismatches(book, broker.state(), set())
    with pytest.raises(RefusedError, match="2 mismatches") as caught:
        require_agreement(found)
    assert len(caught.value.tried) == 2
    require_agreement([])


def test_a_book_is_equal_after_it_was_written_down_and_read(book):
    assert Book.from_record(book.to_record()) == book
