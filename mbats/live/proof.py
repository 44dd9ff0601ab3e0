"""The proof at the end of a day: the broker's log, the journal and the risk store say the same.

A bot proves its account before it trades (:mod:`~mbats.live.orders.reconcile`). This proof needs
no bot and looks further: at every row that the day should have left in the risk store, and at every
row that it should not. Pure: the composition root brings the evidence and acts on the findings.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from mbats.errors import MbatsError
from mbats.live.events import Event, EventWriter, nine
from mbats.live.orders.book import Book
from mbats.live.orders.ports import AccountState, OpenOrder, OpenTrade
from mbats.live.orders.protocol import Fate
from mbats.live.orders.reconcile import MismatchKind, mismatches
from mbats.live.orders.transactions import OrderCreated, OrderFilled, Transaction
from mbats.trading.order import OrderType, is_ours, parent_key

LOST_FILL = "lost_fill"
MISSING_EVENT = "missing_event"
WRONG_ROW = "wrong_row"
INVENTED_ROW = "invented_row"
DOUBLED_ORDER = "doubled_order"
LOST_ORDER = "lost_order"
UNSETTLED_ORDER = "unsettled_order"
LATE_ORDER = "late_order"
NOT_FLAT = "not_flat"
UNCLAIMED_ORDER = str(MismatchKind.UNCLAIMED_ORDER)

FINDINGS = {
    LOST_FILL: "The broker filled an order and the risk store has no row of it.",
    MISSING_EVENT: "Something happened to an order and the risk store has no row of it.",
    WRONG_ROW: "A row says something else than the broker's log, or its repeats differ.",
    INVENTED_ROW: "A row tells of a transaction that is not in the broker's log.",
    DOUBLED_ORDER: "One key made more than one order.",
    LOST_ORDER: "The journal says that an order was placed, and the broker's log has none.",
    UNSETTLED_ORDER: "An order was sent, and neither the journal nor the log knows its outcome.",
    LATE_ORDER: "An order that was given up as not placed, or refused, was placed after all.",
    NOT_FLAT: "The account was flattened, and something that the desk sent stands in it.",
    UNCLAIMED_ORDER: "An order that opened something, or still waits, was sent by no strategy.",
    str(MismatchKind.UNCLAIMED_TRADE): "An open trade that no strategy of the account opened.",
    str(MismatchKind.POSITION): "Units of an instrument are not what the log adds up to.",
    str(MismatchKind.BALANCE): "The broker's balance is not what its log adds up to.",
    str(MismatchKind.MISSING_ORDER): "An order that waits by the log does not wait at the broker.",
    str(MismatchKind.EXTRA_ORDER): "An order waits at the broker that does not by its log.",
    str(MismatchKind.CURSOR): "The log went on each time the account was read.",
}
"""What a proof can find, by name."""

_OF_A_LIFE = ("run_id", "trace_id")  # which process told it, not what happened

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]


class NotProvenError(MbatsError):
    """The broker's log, the journal and the risk store differ: a person must look at once."""

    exit_code = 7


PROVEN_TABLES = ("order_event", "fill")
"""What is proven row by row; a remark of the broker's is told, but moves nothing."""


@dataclass(frozen=True)
class Evidence:
    """What is compared: ``book`` before, and the broker's ``log`` since.

    ``state`` is the account when the log had been read, ``records`` the journal, ``rows`` the
    stored rows of ``order_event`` and ``fill`` of the account. What happened after ``settled_at``
    may still be on its way to the risk store. ``flat`` says that the account was flattened.
    """

    book: Book
    log: Sequence[Transaction]
    state: AccountState
    records: Sequence[Row]
    rows: Rows
    settled_at: datetime
    flat: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing that does not agree. ``mend`` is the row to publish again, where that mends it."""

    kind: str
    subject: str
    detail: str
    mend: Event | None = None


@dataclass
class Proof:
    """What was found. ``book`` is the account up to where everything has been compared."""

    account: str
    since: int
    reached: int
    book: Book
    findings: list[Finding] = field(default_factory=list)
    fills: int = 0
    order_events: int = 0

    @property
    def clean(self) -> bool:
        """Whether all agree exactly."""
        return not self.findings


def prove(evidence: Evidence) -> Proof:
    """Return how the evidence agrees; it is not changed."""
    new = [t for t in evidence.log if t.id > evidence.book.cursor]
    evidence, book = replace(evidence, log=new), _copy(evidence.book)
    known = {record["key"] for record in evidence.records if record["record"] == "intent"}
    expected, proven = _fold(book, evidence)
    proof = Proof(book.account, evidence.book.cursor, book.cursor, proven)
    proof.findings = [
        *_rows_agree(expected, evidence, proven.cursor),
        *_journal_agrees(evidence),
        *_claimed(evidence.log, known),
        *_flat(evidence),
    ]
    seen = {(finding.kind, finding.subject) for finding in proof.findings}
    for found in mismatches(book, evidence.state, known):
        if (str(found.kind), found.subject) not in seen:
            proof.findings.append(Finding(str(found.kind), found.subject, found.detail))
    tables = Counter(event.table for event in expected.values())
    proof.fills, proof.order_events = tables["fill"], tables["order_event"]
    return proof


def _copy(book: Book) -> Book:
    return Book.from_record(book.to_record())


def _fold(book: Book, evidence: Evidence) -> tuple[dict[str, Event], Book]:
    """Fold the log into ``book``; return the rows it asks for, and the book of what is settled."""
    writer, expected = EventWriter("", book), {}
    settled = [t for t in evidence.log if t.time <= evidence.settled_at]
    proven = book if settled else _copy(book)
    for transaction in evidence.log:
        if not book.apply(transaction):
            continue
        for event in writer.events(transaction):
            if event.table in PROVEN_TABLES:
                expected[event.row["event_id"]] = event
        if settled and transaction.id == settled[-1].id:
            proven = _copy(book)
    return expected, proven


def _rows_agree(
    expected: Mapping[str, Event], evidence: Evidence, settled: int
) -> Iterator[Finding]:
    stored: dict[str, list[tuple[str, Row]]] = {}
    for table, rows in evidence.rows.items():
        for row in rows:
            stored.setdefault(row["event_id"], []).append((table, row))
    for event_id, event in expected.items():
        told = stored.pop(event_id, [])
        number = int(event.row["broker_transaction_id"])
        if told:
            yield from _row_agrees(event, told)
        elif number <= settled:
            kind = LOST_FILL if event.table == "fill" else MISSING_EVENT
            yield Finding(kind, event_id, _about(event.row), event)
    first, last = evidence.book.cursor, evidence.state.last_id
    for event_id, told in stored.items():
        number = int(told[0][1]["broker_transaction_id"])
        if first < number <= last:
            yield Finding(INVENTED_ROW, event_id, _about(told[0][1]))


def _row_agrees(event: Event, told: Sequence[tuple[str, Row]]) -> Iterator[Finding]:
    wanted = {k: _plain(v) for k, v in event.row.items() if k not in _OF_A_LIFE}
    wrong = {
        f"{name}: {_plain(row.get(name))} is stored, the log says {value}"
        for _, row in told
        for name, value in wanted.items()
        if _plain(row.get(name)) != value
    }
    if wrong:
        yield Finding(WRONG_ROW, event.row["event_id"], "; ".join(sorted(wrong)))


def _plain(value: Any) -> Any:
    """Return a value as the store gives it back."""
    if isinstance(value, Decimal):
        return nine(value)
    return str(value) if isinstance(value, str) else value


def _about(row: Row) -> str:
    what = row.get("event") or "fill"
    price = "" if row["price"] is None else f" at {row['price']}"
    units = f"{row['side']} {row['units'].normalize():f} {row['instrument']}{price}"
    return f"{what}: {units}, order {row['order_key']}, {row['time']:%Y-%m-%d %H:%M:%S} UTC"


def _journal_agrees(evidence: Evidence) -> Iterator[Finding]:
    made = Counter(
        t.client_key
        for t in evidence.log
        if isinstance(t, OrderCreated) and t.client_key and t.trade_id is None
    )
    before = evidence.book.seen
    for key, number in made.items():
        if number + _made_before(before, key) > 1:
            yield Finding(DOUBLED_ORDER, str(key), f"{number} orders since the last proof")
    fates = {r["key"]: r["fate"] for r in evidence.records if r["record"] == "outcome"}
    settled = evidence.settled_at
    for record in evidence.records:
        if record["record"] != "intent" or record["since"] < evidence.book.cursor:
            continue
        key, about = record["key"], f"{record['units']} {record['instrument']}"
        fate, late = fates.get(key), datetime.fromisoformat(record["sent_at"]) <= settled
        if fate is None and key not in made and late:
            yield Finding(UNSETTLED_ORDER, key, about)
        elif fate == Fate.PLACED and key not in made:
            yield Finding(LOST_ORDER, key, about)
        elif fate in (Fate.NOT_PLACED, Fate.REFUSED) and key in made:
            yield Finding(LATE_ORDER, key, f"{about}: the journal says {fate}")


def _made_before(seen: Mapping[str, Sequence[int]], key: str | None) -> int:
    return len(seen.get(key or "", ()))


def _claimed(log: Sequence[Transaction], known: Collection[str]) -> Iterator[Finding]:
    """Yield orders of nobody that did more than close: the kill switch and the broker may close."""
    strangers: dict[int, OrderCreated] = {}
    for transaction in log:
        match transaction:
            case OrderCreated(trade_id=None) if (
                parent_key(transaction.client_key or "") not in known
            ):
                strangers[transaction.id] = transaction
                if transaction.order_type is not OrderType.MARKET:
                    yield _stranger(transaction)
            case OrderFilled(opened=opened) if opened is not None:
                by = strangers.get(transaction.order_id)
                if by is not None and by.order_type is OrderType.MARKET:
                    yield _stranger(by)


def _flat(evidence: Evidence) -> Iterator[Finding]:
    """Yield what the desk sent that stands where all was closed: it was on its way then."""
    standing: list[OpenTrade | OpenOrder] = [*evidence.state.trades, *evidence.state.orders]
    for held in standing if evidence.flat else ():
        key = held.client_key or ""
        if is_ours(key) and key == parent_key(key):
            yield Finding(NOT_FLAT, key, f"{held.units} {held.instrument}")


def _stranger(order: OrderCreated) -> Finding:
    detail = f"{order.order_type} of {order.units} {order.instrument}, key {order.client_key}"
    return Finding(UNCLAIMED_ORDER, str(order.id), detail)
