"""Start-up reconciliation: nothing is traded until the book and the broker agree on everything.

There is no other path back from a crash than a start, and no start without this.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from mbats.errors import RefusedError
from mbats.live.orders.book import Book
from mbats.live.orders.ports import AccountState
from mbats.trading.order import parent_key


class MismatchKind(StrEnum):
    """In what the book and the broker differ."""

    CURSOR = "cursor"
    """The log went on while the account was read: read both again."""

    BALANCE = "balance"
    """The broker's balance is not the one its log adds up to."""

    POSITION = "position"
    """Units of an instrument differ."""

    MISSING_ORDER = "missing_order"
    """The book has a waiting order that the broker has not."""

    EXTRA_ORDER = "extra_order"
    """The broker has a waiting order that the book has not."""

    UNCLAIMED_ORDER = "unclaimed_order"
    """A waiting order that no strategy of this bot sent."""

    UNCLAIMED_TRADE = "unclaimed_trade"
    """An open trade that no strategy of this bot opened."""


class UnreconciledError(RefusedError):
    """The account is not what the desk knows of it: nothing was traded; see every mismatch."""


@dataclass(frozen=True)
class Mismatch:
    """One difference. ``detail`` is a sentence for a person."""

    kind: MismatchKind
    subject: str
    detail: str


def mismatches(book: Book, state: AccountState, known_keys: Collection[str]) -> list[Mismatch]:
    """Return every difference between the book and the broker's account.

    ``known_keys`` are the keys of every order that a strategy of this bot is known to have sent,
    from the journal. A leg is claimed by the order it is a leg of, and by its trade.
    """
    if book.cursor != state.last_id:
        detail = f"the book is at transaction {book.cursor}, the account at {state.last_id}"
        return [Mismatch(MismatchKind.CURSOR, state.account, detail)]
    return [
        *_balance(book, state),
        *_positions(book, state),
        *_orders(book, state),
        *_unclaimed(book, known_keys),
    ]


def require_agreement(found: list[Mismatch]) -> None:
    """Raise :class:`UnreconciledError` that lists every mismatch; do nothing when there is none."""
    if found:
        raise UnreconciledError(
            f"The account does not reconcile: {len(found)} mismatches. Nothing was traded.",
            tried=[f"{m.kind} {m.subject}: {m.detail}" for m in found],
            mend="close or claim what is listed (`mbats flatten` closes all), then start again",
        )


def _balance(book: Book, state: AccountState) -> Iterator[Mismatch]:
    if book.balance != state.balance:
        detail = f"the log adds up to {book.balance}, the broker says {state.balance}"
        yield Mismatch(MismatchKind.BALANCE, state.account, detail)


def _positions(book: Book, state: AccountState) -> Iterator[Mismatch]:
    ours, theirs = book.positions(), {k: v for k, v in state.positions.items() if v}
    for instrument in sorted(ours.keys() | theirs.keys()):
        mine, broker = ours.get(instrument, Decimal(0)), theirs.get(instrument, Decimal(0))
        if mine != broker:
            detail = f"the log adds up to {mine} units, the broker says {broker}"
            yield Mismatch(MismatchKind.POSITION, instrument, detail)


def _orders(book: Book, state: AccountState) -> Iterator[Mismatch]:
    theirs = {order.order_id: order for order in state.orders}
    for order_id in sorted(book.orders.keys() - theirs.keys()):
        key = book.orders[order_id].client_key
        yield Mismatch(MismatchKind.MISSING_ORDER, str(order_id), f"key {key}")
    for order_id in sorted(theirs.keys() - book.orders.keys()):
        key = theirs[order_id].client_key
        yield Mismatch(MismatchKind.EXTRA_ORDER, str(order_id), f"key {key}")


def _unclaimed(book: Book, known_keys: Collection[str]) -> Iterator[Mismatch]:
    for trade in book.trades.values():
        if trade.client_key not in known_keys:
            detail = f"{trade.units} {trade.instrument}, key {trade.client_key}"
            yield Mismatch(MismatchKind.UNCLAIMED_TRADE, str(trade.trade_id), detail)
    claimed = {t.trade_id for t in book.trades.values() if t.client_key in known_keys}
    for order in book.orders.values():
        key = order.client_key
        if (key and parent_key(key) in known_keys) or order.trade_id in claimed:
            continue
        detail = f"{order.units} {order.instrument}, key {key}"
        yield Mismatch(MismatchKind.UNCLAIMED_ORDER, str(order.order_id), detail)
