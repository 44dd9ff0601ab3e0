"""What of a journal must be kept, so that it does not grow with the account's history. Pure.

Checkpoints are most of a journal, and only two of them are ever read: the oldest, where a proof of
the account begins that has no earlier one, and the newest, where a restart begins. An intent is
read for as long as its key may be asked for: by a decision that is made again, by a late order that
must not be taken for a new one, by an order or a trade that it claims, by a proof that has not
looked at it yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from mbats.live.orders.book import Book, HeldTrade, WaitingOrder
from mbats.trading.order import parent_key

REFUSABLE = timedelta(days=35)
"""How long a settled key is kept at least.

A restart decides again on bars that ended a sixtieth of their length ago or less: hours ago, for
the longest. An order that nobody placed turns up within minutes, or never.
"""

Record = Mapping[str, Any]


def compacted(
    records: Sequence[Record], book: Book, proven: Book | None, now: datetime
) -> list[dict[str, Any]]:
    """Return what of ``records`` must be kept, in their order: the same to all who read them.

    ``book`` is the account as it stands, reconciled. ``proven`` is it where the last proof ended
    (:mod:`~mbats.live.proof`): what came before need not be proved again; without one, every intent
    is kept.
    """
    checkpoints = [n for n, record in enumerate(records) if record["record"] == "checkpoint"]
    if not checkpoints:
        return [dict(record) for record in records]
    first, newest = checkpoints[0], checkpoints[-1]
    base = Book.from_record(records[first]["book"])
    proved = proven is not None and base.cursor <= proven.cursor <= book.cursor
    if proven is not None and proved:
        base = proven
    gone = set()
    if proved:
        claimed = _claims([base, book, Book.from_record(records[newest]["book"])])
        gone = _settled(records) & _forgettable(records, base.cursor, now) - claimed
    kept = [
        dict(record)
        for number, record in enumerate(records)
        if (number in (first, newest) if "key" not in record else record["key"] not in gone)
        and not (proved and number == first != newest)
    ]
    return [_beginning(base), *kept] if proved else kept


def _beginning(book: Book) -> dict[str, Any]:
    """Return the checkpoint that stands in for the oldest: nothing before it is asked for."""
    return {"record": "checkpoint", "book": book.to_record(), "values": {}}


def _claims(books: Iterable[Book]) -> set[str]:
    """Return the keys of what is held or waits in any of ``books``; a leg's is its entry's."""
    held: Iterable[WaitingOrder | HeldTrade] = chain.from_iterable(
        (*book.orders.values(), *book.trades.values()) for book in books
    )
    return {parent_key(item.client_key) for item in held if item.client_key}


def _settled(records: Iterable[Record]) -> set[str]:
    return {record["key"] for record in records if record["record"] == "outcome"}


def _forgettable(records: Iterable[Record], cursor: int, now: datetime) -> set[str]:
    """Return the keys of intents that were proved, and are too old to be made again."""
    oldest = now - REFUSABLE
    return {
        record["key"]
        for record in records
        if record["record"] == "intent"
        and record["since"] < cursor
        and datetime.fromisoformat(record["decided_at"]) < oldest
        and datetime.fromisoformat(record["sent_at"]) < oldest
    }
