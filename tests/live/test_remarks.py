"""What the broker's log says beside orders: it is told, once, and a balance in it is the book's."""

from dataclasses import replace
from decimal import Decimal

import pytest

from mbats.live.events import EventWriter
from mbats.live.orders.book import Book
from mbats.live.orders.transactions import Remark, Transaction
from tests.live.fakes import START, FakeBroker, ManualClock


@pytest.fixture
def book():
    return Book.opened_at(FakeBroker(ManualClock()).state())


def remark(book, **fields):
    made = {"type": "MARGIN_CALL_ENTER", "detail": "a margin call began", "severity": "critical"}
    return Remark(id=book.cursor + 1, time=START, **{**made, **fields})


def test_a_remark_is_a_risk_event_of_its_severity(book):
    said = remark(book)
    assert book.apply(said)
    (event,) = EventWriter("run-1", book).events(said)
    assert event.table == "risk_event"
    told = {name: event.row[name] for name in ("code", "severity", "account", "time", "actor")}
    assert told == {
        "code": "BROKER_MARGIN_CALL_ENTER", "severity": "critical", "account": book.account,
        "time": START, "actor": "broker",
    }  # fmt: skip
    assert event.row["detail"] == f"transaction {said.id}: a margin call began"


def test_a_remark_that_is_heard_again_is_the_same_event_and_no_other_is(book):
    said = remark(book)
    first, again = (EventWriter("run-1", book).events(said)[0] for _ in range(2))
    assert first == again
    following = replace(said, id=said.id + 1)
    (other,) = EventWriter("run-1", book).events(following)
    assert other.row["event_id"] != first.row["event_id"]


@pytest.mark.parametrize(("said", "held"), [(None, "100000"), (Decimal("99.5"), "99.5")])
def test_a_balance_that_a_remark_gives_is_the_books(book, said, held):
    book.balance = Decimal(100_000)
    book.apply(remark(book, type="SOMETHING_NEW", balance=said))
    assert book.balance == Decimal(held)


def test_what_means_nothing_is_not_told(book):
    plain = Transaction(id=book.cursor + 1, time=START, type="RESET_RESETTABLE_PL")
    book.apply(plain)
    assert EventWriter("run-1", book).events(plain) == []
