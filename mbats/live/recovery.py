"""Starting is recovering: the one way into trading, after a crash, a deploy or on the first day.

The journal says what was sent, the newest checkpoint what was held, the broker's log what happened
since. Only when the three agree with the account itself is a trader handed out.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.live.orders import holding
from mbats.live.orders.book import Book, LogGapError
from mbats.live.orders.compaction import compacted
from mbats.live.orders.ports import AccountState, Broker, Clock, Journal, Lease
from mbats.live.orders.protocol import Fate
from mbats.live.orders.reconcile import Mismatch, MismatchKind, mismatches, require_agreement
from mbats.live.trader import Account, DayMarks, Publish, Told, Trader

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 1.0
PATIENCE = timedelta(minutes=5)
"""How long a broker that does not answer is waited for."""

_READS = 20  # of an account whose log goes on while it is read


@dataclass(frozen=True)
class Surroundings:
    """What a recovery works with. ``sleep`` takes seconds.

    ``proven`` returns the account where its last proof ended, None before the first.
    """

    broker: Broker
    journal: Journal
    lease: Lease
    clock: Clock
    sleep: Callable[[float], None]
    patience: timedelta = PATIENCE
    proven: Callable[[], Book | None] = lambda: None

    def hold_lease(self) -> None:
        """Return with the lease surely held. Raises what regaining it raises."""
        holding.hold(self.lease, self.journal)


def recover(
    account: Account,
    around: Surroundings,
    publish: Publish,
    told: Told,
    open_stream: Callable[[], None],
) -> Trader:
    """Return a trader that knows everything and may trade. The lease must be held.

    ``open_stream`` begins to queue the broker's transactions; it is called before the log is read,
    so that nothing falls between. ``publish`` and ``told`` are given what came after the newest
    checkpoint. Waits until no order has an unknown outcome.

    Raises :class:`RefusedError` with every mismatch where the account does not reconcile,
    :class:`NotReadyError` where the broker does not answer for too long.
    """
    around.hold_lease()
    records = around.journal.records()
    book, values = last_checkpoint(records) or (None, {})
    is_first = book is None
    if book is None:
        refuse_lost_checkpoint(records)
        book = Book.opened_at(patiently(around, around.broker.state))
    _require_same_account(account, book)
    marks = DayMarks.from_record(values) if values else None
    trader = Trader(
        account, book, around.broker, around.journal, around.lease, around.clock,
        publish, told, marks,
    )  # fmt: skip
    open_stream()
    _tell_again(trader, records)
    patiently(around, trader.protocol.catch_up)
    while trader.protocol.unresolved:
        patiently(around, trader.resolve)
        if trader.protocol.unresolved:
            around.sleep(LOOK_AGAIN_SECONDS)
    reconcile(trader, around)
    if is_first:
        # Nothing was told yet, so nothing can be lost: from here every start has a checkpoint.
        trader.checkpoint()
    _compact(trader, around)
    return trader


def _tell_again(trader: Trader, records: Sequence[Mapping[str, Any]]) -> None:
    """Tell what became of orders that never were, where whoever found out may have died untold.

    What was settled before the newest checkpoint is stored; no transaction tells of the rest.
    """
    for record in reversed(records):
        if record["record"] == "checkpoint":
            return
        if record["record"] == "outcome" and record["fate"] != Fate.PLACED:
            trader.tell(record["fate"], record["detail"], "info", order_key=record["key"])


def _compact(trader: Trader, around: Surroundings) -> None:
    """Shorten the journal, now that all agree: here nothing is on its way.

    A journal that stays long is no reason not to trade.
    """
    try:
        around.hold_lease()
        records = around.journal.records()
        kept = compacted(records, trader.book, around.proven(), around.clock.now())
        around.journal.compact(kept)
    except (OSError, NotReadyError, DataError) as error:
        log.warning("the journal is not compacted: %s", error)


def reconcile(trader: Trader, around: Surroundings) -> None:
    """Return when book and broker agree on everything. Raises :class:`RefusedError` otherwise."""
    for _ in range(_READS):
        state = patiently(around, around.broker.state)
        _require_same_currency(trader.account, state)
        patiently(around, trader.protocol.catch_up)
        found = mismatches(trader.book, state, trader.protocol.known_keys)
        if not _moved_on(found):
            break
    require_agreement(found)
    trader.protocol.proved()


def prove_clean(records: Sequence[Mapping[str, Any]], broker: Broker) -> None:
    """Return if the account is what the journal and the broker's log say. Writes nothing.

    This is what ends a halt: the bot need not run. Raises :class:`RefusedError` with every
    mismatch, or with the orders whose outcome is not known.
    """
    known = {record["key"] for record in records if record["record"] == "intent"}
    settled = {record["key"] for record in records if record["record"] == "outcome"}
    for _ in range(_READS):
        state = broker.state()
        newest = last_checkpoint(records)
        book = newest[0] if newest is not None else Book.opened_at(state)
        book.apply_all(broker.transactions_since(book.cursor).transactions)
        found = mismatches(book, state, known)
        if not _moved_on(found):
            break
    require_agreement(found)
    unsettled = sorted(known - settled - set(book.seen))
    if unsettled:
        raise RefusedError(
            f"{len(unsettled)} orders have no known outcome yet.",
            tried=unsettled[:10],
            mend="start the bot: it settles them before it trades; then resume",
        )


def last_checkpoint(records: Sequence[Mapping[str, Any]]) -> tuple[Book, Mapping[str, str]] | None:
    """Return the newest checkpoint's book and values, or None where there never was one."""
    for record in reversed(records):
        if record["record"] == "checkpoint":
            return Book.from_record(record["book"]), record["values"]
    return None


def first_checkpoint(records: Sequence[Mapping[str, Any]]) -> Book | None:
    """Return the oldest book that the journal still has, or None where there never was one."""
    for record in records:
        if record["record"] == "checkpoint":
            return Book.from_record(record["book"])
    return None


def refuse_lost_checkpoint(records: Sequence[Mapping[str, Any]]) -> None:
    """Raise where orders were sent but no checkpoint is left: the journal is not whole."""
    if any(record["record"] != holding.RECORD for record in records):
        raise RefusedError(
            f"The journal has {len(records)} records and no checkpoint: its beginning is lost.",
            mend="restore it; or `mbats flatten`, then start with a new journal",
        )


def _require_same_account(account: Account, book: Book) -> None:
    if book.account != account.account:
        raise RefusedError(
            f"The journal is of account {book.account}, not of {account.account}.",
            mend="give every account a journal of its own",
        )


def _require_same_currency(account: Account, state: AccountState) -> None:
    """Every limit, worth and profit is in account currency: a wrong one makes them all wrong."""
    if state.currency != account.currency:
        raise RefusedError(
            f"Account {state.account} is in {state.currency}, the desk counts in "
            f"{account.currency}.",
            mend=f"set MBATS_ACCOUNT_CURRENCY={state.currency}",
        )


def _moved_on(found: Sequence[Mismatch]) -> bool:
    return any(mismatch.kind is MismatchKind.CURSOR for mismatch in found)


def patiently(around: Surroundings, read: Callable[[], Any]) -> Any:
    """Read what may be read again, with the lease held, until it answers or patience ends."""
    deadline = around.clock.now() + around.patience
    while True:
        try:
            around.hold_lease()
            return read()
        except (OSError, NotReadyError, LogGapError):
            if around.clock.now() >= deadline:
                raise
            around.sleep(LOOK_AGAIN_SECONDS)
