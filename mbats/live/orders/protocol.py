"""The order protocol: journal, send once, and let the broker's log say what happened.

A broker's client id is a label, not a guard: after a fill it may be used again, so asking "is there
an order of that name?" and sending again on a 404 fills twice. Therefore:

1. the intent is in the journal, with the place in the log it was sent after, before it is sent;
2. it is sent once; nothing in this program ever sends it again;
3. what was approved too long ago is held back, asked about again, or withdrawn: it never left;
4. an answer that proves nothing makes the order UNKNOWN: its instrument is blocked, and the log is
   read from that place on until the key is found or the quarantine is over;
5. a start is a recovery: the same reading, for every intent the journal has no outcome for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mbats.errors import MbatsError, NotReadyError
from mbats.live.orders.book import Book, LogGapError
from mbats.live.orders.holding import hold
from mbats.live.orders.ports import (
    Answer,
    Broker,
    Clock,
    HeldBackError,
    Journal,
    Lease,
    LogPage,
    NotHeldError,
    Outcome,
)  # fmt: skip
from mbats.live.orders.transactions import OrderCreated, OrderRejected, Transaction
from mbats.trading.order import OrderIntent

QUARANTINE = timedelta(seconds=30)
"""How long an order that nobody has seen may still turn up. Longer than any entry order lives.

It counts from when the request was surely over, not from when it was decided on: the journal may
have taken its time before it was sent.
"""


class DoubledOrderError(MbatsError):
    """One key made two orders: trading stops for good, a person must look."""

    exit_code = 7


class UntoldError(MbatsError):
    """A transaction is in the book and was not told: only a restart, which tells again, mends it.

    Whoever reads the log tries again after an :class:`OSError` or a :class:`NotReadyError`; by
    then the book would have passed the transaction, and a checkpoint would pass it for good.
    """


class Fate(StrEnum):
    """What became of an intent."""

    PLACED = "placed"
    REFUSED = "refused"
    NOT_PLACED = "not_placed"
    UNKNOWN = "unknown"
    REPEATED = "repeated"
    BLOCKED = "blocked"
    HELD = "held"
    """Not sent: what it was approved on is old. Place it again, or withdraw it."""


@dataclass(frozen=True)
class Verdict:
    """The fate of one intent, and why, for the strategy and the log."""

    key: str
    fate: Fate
    detail: str = ""


@dataclass(frozen=True)
class Unresolved:
    """An intent that may have been sent and has no known outcome: scan the log after ``since``.

    ``over_at`` is when its request was surely no longer being sent by anybody.
    """

    key: str
    instrument: str
    since: int
    over_at: datetime


Listener = Callable[[Transaction], None]


class OrderProtocol:
    """Sends orders for one account. Not thread-safe: one thread calls it, streams queue for it.

    ``listener`` is told every transaction once, in order, after the book has it.
    """

    def __init__(
        self,
        book: Book,
        broker: Broker,
        journal: Journal,
        lease: Lease,
        clock: Clock,
        listener: Listener,
        quarantine: timedelta = QUARANTINE,
    ) -> None:
        self.book = book
        self._broker = broker
        self._journal = journal
        self._lease = lease
        self._clock = clock
        self._listener = listener
        self._quarantine = quarantine
        # What an earlier process sent, it sent before it ended: that is all this one knows of when.
        self._fates, self._unresolved = _replayed(journal.records(), clock.now())
        self._held: set[str] = set()  # in the journal and surely not sent
        self._unproved = False  # the lease was regained, and nobody has reconciled since

    @property
    def blocked(self) -> frozenset[str]:
        """Instruments with an order of unknown outcome: nothing new is sent for them."""
        return frozenset(u.instrument for u in self._unresolved.values())

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """The orders whose outcome is not known."""
        return tuple(self._unresolved.values())

    @property
    def known_keys(self) -> frozenset[str]:
        """The keys of every order this journal has ever sent."""
        return frozenset(self._fates)

    def fate(self, key: str) -> Fate | None:
        """Return what became of an intent, or None if it was never sent."""
        return self._fates.get(key)

    def hold_lease(self) -> bool:
        """Return with the lease held, or raise; tell whether it is to be :meth:`proved` first."""
        self._unproved = hold(self._lease, self._journal) or self._unproved
        return self._unproved

    def proved(self) -> None:
        """Hear that the account reconciles: until then nothing goes on a regained lease."""
        self._unproved = False

    def place(self, intent: OrderIntent) -> Verdict:
        """Send one order, once; HELD where it was not sent and may be placed again."""
        return self._send(intent, lambda comment: self._broker.place(intent, comment=comment))

    def replace(self, order_id: int, intent: OrderIntent) -> Verdict:
        """Put ``intent`` in the place of a pending order, once."""
        return self._send(
            intent, lambda comment: self._broker.replace(order_id, intent, comment=comment)
        )

    def withdraw(self, key: str, why: str) -> Verdict:
        """Give up an order that was held back: it never left, and never will."""
        if key in self._held:
            self._held.discard(key)
            self._conclude(key, Fate.NOT_PLACED, why)
        return Verdict(key, Fate.NOT_PLACED, why)

    def cancel(self, order_id: int) -> bool:
        """Cancel a pending order; return whether it is surely gone.

        A cancel may be repeated: it names one order by the broker's id. False means that the
        answer proved nothing: read the log, and ask again if the order still waits.
        """
        self._lease.check()
        answer = self._broker.cancel(order_id)
        self.receive(answer.transactions)
        if answer.outcome is Outcome.UNKNOWN:
            return False
        self.catch_up()
        return order_id not in self.book.orders

    def receive(self, transactions: Iterable[Transaction]) -> None:
        """Take transactions from an answer or a stream; repeats are dropped, gaps are read."""
        for transaction in transactions:
            try:
                self._apply(transaction)
            except LogGapError:
                self.catch_up()
                self._apply(transaction)

    def catch_up(self) -> int:
        """Read the log from the cursor to its end; return the id it had reached."""
        page = self._broker.transactions_since(self.book.cursor)
        for transaction in page.transactions:
            self._apply(transaction)
        if self.book.cursor < page.last_id:
            raise LogGapError(
                f"The log of account {self.book.account} reaches {page.last_id}, "
                f"but was given only up to {self.book.cursor}.",
                mend="read it again; if it stays, the broker's log is not contiguous",
            )
        return page.last_id

    def resolve(self) -> list[Verdict]:
        """Read the log for every unresolved order; return the verdicts that are now certain.

        Raises what reading the log raises; nothing is then decided.
        """
        if not self._unresolved:
            return []
        asked_at = self._clock.now()
        self.catch_up()
        since = min(u.since for u in self._unresolved.values())
        page = self._broker.transactions_since(since)
        _require_whole(page, since, self.book)
        creations = _creations(page.transactions)
        verdicts = []
        for unresolved in list(self._unresolved.values()):
            found = creations.get(unresolved.key, [])
            if found or asked_at - unresolved.over_at >= self._quarantine:
                verdicts.append(self._decide(unresolved.key, found))
        return verdicts

    def checkpoint(self, values: Mapping[str, str]) -> None:
        """Journal the book as it is: a restart folds the log from here.

        ``values`` are further facts of the session that must survive it. Call it only when
        everything the listener was told is durable elsewhere, for after a restart the listener is
        told what comes after the newest checkpoint, and no more.
        """
        record = {"record": "checkpoint", "book": self.book.to_record(), "values": dict(values)}
        self._journal.append(record)

    def _send(self, intent: OrderIntent, send: Callable[[str], Answer]) -> Verdict:
        if intent.key in self._held:
            return self._leave(intent, send)
        if intent.key in self._fates:
            return Verdict(intent.key, Fate.REPEATED, f"already {self._fates[intent.key]}")
        if intent.instrument in self.blocked:
            return Verdict(intent.key, Fate.BLOCKED, "an earlier order has no known outcome")
        try:
            self._require_lease()
        except NotHeldError as doubt:
            return Verdict(intent.key, Fate.HELD, doubt.cause)
        now = self._clock.now()
        unresolved = Unresolved(intent.key, intent.instrument, self.book.cursor, now)
        self._fates[intent.key] = Fate.UNKNOWN
        self._unresolved[intent.key] = unresolved
        try:
            self._journal.append(_intent_record(intent, unresolved, self._lease.fencing))
        except (OSError, NotReadyError) as error:
            # Whether the journal has it, nobody knows: it ends as an order that nobody has seen.
            return Verdict(intent.key, Fate.UNKNOWN, f"not sent, it cannot be journaled: {error}")
        return self._leave(intent, send)

    def _leave(self, intent: OrderIntent, send: Callable[[str], Answer]) -> Verdict:
        """Send what is in the journal, or hold it back: all of it left, or it is no order."""
        self._held.discard(intent.key)
        try:
            self._require_lease()  # the write may have taken longer than the lease was sure for
            answer = send(f"fence={self._lease.fencing}")
        except (NotHeldError, HeldBackError) as doubt:
            self._held.add(intent.key)
            return Verdict(intent.key, Fate.HELD, doubt.cause)
        return self._settle(intent, answer)

    def _require_lease(self) -> None:
        self._lease.check()
        if self._unproved:
            raise NotHeldError("The lease was regained, and the account not reconciled since.")

    def _settle(self, intent: OrderIntent, answer: Answer) -> Verdict:
        key = intent.key
        if answer.outcome is not Outcome.UNKNOWN and not _is_about(key, answer):
            detail = f"an answer to another order: {answer.transactions}"
            answer = Answer(Outcome.UNKNOWN, detail=detail)
        if answer.outcome is Outcome.UNKNOWN:
            self._unresolved[key] = replace(self._unresolved[key], over_at=self._clock.now())
            return Verdict(key, Fate.UNKNOWN, answer.detail)
        fate = Fate.PLACED if answer.outcome is Outcome.DONE else Fate.REFUSED
        self._conclude(key, fate, answer.detail)
        self.receive(answer.transactions)
        return Verdict(key, fate, answer.detail)

    def _decide(self, key: str, found: list[Transaction]) -> Verdict:
        placed = [t for t in found if isinstance(t, OrderCreated)]
        if len(placed) > 1:
            raise DoubledOrderError(
                f"Key {key} made {len(placed)} orders: {[t.id for t in placed]}.",
                mend="`mbats halt`, then look at the broker's log: who else uses the account?",
            )
        if placed:
            fate, detail = Fate.PLACED, f"found in the log as order {placed[0].id}"
        elif found:
            fate, detail = Fate.REFUSED, f"found in the log as refusal {found[0].id}"
        else:
            fate, detail = Fate.NOT_PLACED, "not in the log when the quarantine was over"
        self._conclude(key, fate, detail)
        return Verdict(key, fate, detail)

    def _conclude(self, key: str, fate: Fate, detail: str) -> None:
        self._journal.append({"record": "outcome", "key": key, "fate": fate, "detail": detail})
        self._fates[key] = fate
        self._unresolved.pop(key, None)

    def _apply(self, transaction: Transaction) -> None:
        if not self.book.apply(transaction):
            return
        if isinstance(transaction, OrderCreated):
            self._check_created(transaction)
        try:
            self._listener(transaction)
        except (OSError, NotReadyError) as error:
            raise UntoldError(
                f"Transaction {transaction.id} of account {self.book.account} was not told on.",
                tried=[f"{type(error).__name__}: {error}"],
                mend="start again: the log is told again from the last checkpoint",
            ) from error

    def _check_created(self, created: OrderCreated) -> None:
        """Stop if the log shows what this protocol rules out."""
        key = created.client_key
        if key is None or created.trade_id is not None:
            return  # legs are the broker's: one set for each trade a partly filled order opens
        if len(self.book.seen[key]) > 1 or self._fates.get(key) is Fate.NOT_PLACED:
            raise DoubledOrderError(
                f"Order {created.id} has key {key}, which was settled before it came.",
                mend="`mbats halt`, then look at the broker's log",
            )


def _is_about(key: str, answer: Answer) -> bool:
    """Tell whether an answer is one to the order of this key, and not to another one's request.

    Proof about the wrong order is none. A refusal without a transaction names no order at all.
    """
    about = (OrderCreated, OrderRejected)
    keys = {t.client_key for t in answer.transactions if isinstance(t, about)}
    return key in keys if answer.outcome is Outcome.DONE else not keys - {key, None}


def _require_whole(page: LogPage, since: int, book: Book) -> None:
    """Raise unless a page holds every transaction after ``since`` up to where the book is.

    What is missing from a torn page might be the order that is looked for.
    """
    ids = [t.id for t in page.transactions]
    if ids != list(range(since + 1, since + 1 + len(ids))) or since + len(ids) < book.cursor:
        raise LogGapError(
            f"The log of account {book.account} since {since} is not whole: {_ends(ids)}.",
            mend="read it again; if it stays, the broker's log is not contiguous",
        )


def _ends(ids: Sequence[int]) -> str:
    return f"{len(ids)} transactions, {ids[0]} to {ids[-1]}" if ids else "nothing"


def _creations(transactions: Iterable[Transaction]) -> dict[str, list[Transaction]]:
    found: dict[str, list[Transaction]] = {}
    for transaction in transactions:
        if isinstance(transaction, OrderCreated | OrderRejected) and transaction.client_key:
            found.setdefault(transaction.client_key, []).append(transaction)
    return found


def _intent_record(intent: OrderIntent, unresolved: Unresolved, fencing: int) -> dict[str, Any]:
    return {
        "record": "intent",
        "key": intent.key,
        "strategy": intent.strategy,
        "instrument": intent.instrument,
        "units": str(intent.signed_units),
        "role": intent.role,
        "decided_at": intent.decided_at.isoformat(),
        "since": unresolved.since,
        "sent_at": unresolved.over_at.isoformat(),
        "fencing": fencing,
    }


def _replayed(
    records: Iterable[Mapping[str, Any]], now: datetime
) -> tuple[dict[str, Fate], dict[str, Unresolved]]:
    """Return every key's fate, and the intents that have no outcome."""
    fates: dict[str, Fate] = {}
    unresolved: dict[str, Unresolved] = {}
    for record in records:
        if record["record"] == "intent":
            key = record["key"]
            fates[key] = Fate.UNKNOWN
            unresolved[key] = Unresolved(key, record["instrument"], record["since"], now)
        elif record["record"] == "outcome":
            key = record["key"]
            fates[key] = Fate(record["fate"])
            unresolved.pop(key, None)
    return fates, unresolved
