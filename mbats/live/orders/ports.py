"""What live trading asks of the rooms around it: a broker, a journal, a lease, a clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from mbats.errors import MbatsError, RefusedError
from mbats.live.orders.transactions import Transaction
from mbats.trading.order import OrderIntent


class NotHeldError(RefusedError):
    """The lease is not surely held: nothing is sent before it is."""


class HeldBackError(MbatsError):
    """An order was held back at the last moment: not all of it left this process, so it is none."""


class Outcome(StrEnum):
    """What an answer to a mutation proves."""

    DONE = "done"
    """The broker took it: the transactions in the answer say what became of it."""

    REFUSED = "refused"
    """The broker did not take it, and never will: it is safe to decide anew."""

    UNKNOWN = "unknown"
    """It may or may not have been applied: only the transaction log can tell."""


@dataclass(frozen=True)
class Answer:
    """How the broker answered one mutation. ``detail`` is for people and logs."""

    outcome: Outcome
    transactions: tuple[Transaction, ...] = ()
    detail: str = ""


@dataclass(frozen=True)
class LogPage:
    """Transactions after some id, ascending, and the id the log had reached when it was read."""

    transactions: Sequence[Transaction]
    last_id: int


@dataclass(frozen=True)
class OpenOrder:
    """An order that waits at the broker."""

    order_id: int
    client_key: str | None
    instrument: str | None
    units: Decimal | None
    trade_id: int | None = None


@dataclass(frozen=True)
class OpenTrade:
    """A trade that is open at the broker; ``units`` are signed."""

    trade_id: int
    client_key: str | None
    instrument: str
    units: Decimal
    price: Decimal


@dataclass(frozen=True)
class AccountState:
    """The account as the broker reports it at transaction ``last_id``. Money in its currency."""

    account: str
    currency: str
    hedging: bool
    balance: Decimal
    net_asset_value: Decimal
    margin_used: Decimal
    margin_available: Decimal
    last_id: int
    positions: dict[str, Decimal] = field(default_factory=dict)
    orders: tuple[OpenOrder, ...] = ()
    trades: tuple[OpenTrade, ...] = ()


class Broker(Protocol):
    """The trading side of a broker. Reads raise on failure and may be repeated.

    Mutations never raise for what the network or the broker did: they return an
    :class:`Answer`, and are sent exactly once. ``last_look`` is called as late before an order
    leaves as the broker can; what it raises comes out of the mutation, and nothing was sent.
    """

    last_look: Callable[[], None]

    def state(self) -> AccountState:
        """Return the whole account at one transaction id."""
        ...

    def transactions_since(self, transaction_id: int) -> LogPage:
        """Return everything after ``transaction_id``, complete and contiguous."""
        ...

    def place(self, intent: OrderIntent, *, comment: str) -> Answer:
        """Send one order, once, with ``intent.key`` as client id of order and trade."""
        ...

    def cancel(self, order_id: int) -> Answer:
        """Cancel one pending order."""
        ...

    def replace(self, order_id: int, intent: OrderIntent, *, comment: str) -> Answer:
        """Cancel one pending order and put ``intent`` in its place."""
        ...


class Journal(Protocol):
    """A record that survives the process: what is not in it was never sent."""

    def append(self, record: dict[str, Any]) -> None:
        """Store one record; return only when it would survive a kill."""
        ...

    def records(self) -> Sequence[dict[str, Any]]:
        """Return every whole record in the order it was appended."""
        ...

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        """Hold ``kept`` in the place of all records, where that is worth the work.

        Killed at any point, the records are all of before, or all of ``kept``.
        """
        ...


class Lease(Protocol):
    """The right to be the one writer of an account."""

    fencing: int
    """Number of this holding; every later holder's is greater."""

    def check(self) -> None:
        """Raise :class:`NotHeldError` unless the lease is surely still held. Asks nobody."""
        ...

    def regain(self) -> None:
        """Hold it again, under a greater number, after a sleep in which nobody else took it.

        Raises :class:`NotHeldError` where somebody did, and
        :class:`~mbats.errors.NotReadyError` where that cannot be found out.
        """
        ...


class Clock(Protocol):
    """The time, injected: UTC and aware."""

    def now(self) -> datetime:
        """Return the current time."""
        ...

    def elapsed(self) -> float:
        """Return seconds of a clock that nobody sets; a sleep of the machine counts."""
        ...
