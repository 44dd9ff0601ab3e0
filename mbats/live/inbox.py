"""The one inbox of a bot: threads put, the thread that runs cerebro takes.

A price stream puts ticks, the transaction stream puts transactions, everybody else puts control
messages. What is put is taken in the order it came.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

from mbats.live.orders.ports import AccountState
from mbats.live.orders.transactions import Transaction
from mbats.market.tick import Tick


@dataclass(frozen=True, slots=True)
class Logged:
    """Entries of the broker's log, ascending."""

    transactions: Sequence[Transaction]


@dataclass(frozen=True, slots=True)
class LogReached:
    """The id that the broker's log has reached: what is missing up to it is read."""

    last_id: int


@dataclass(frozen=True, slots=True)
class PricesLost:
    """Prices stopped coming, or some were lost: open bars can no longer be trusted."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class PricesBack:
    """Prices come again: what was missed is to be read, then bars go on."""


@dataclass(frozen=True, slots=True)
class Control:
    """A message for whoever commands the bot; ``payload`` is theirs."""

    payload: Any


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session, once everything before this has been dealt with."""

    reason: str = ""


class Continued:
    """Payload of a control message: the process was stopped for a while and goes on now."""


class Suspending:
    """Payload of a control message: the process is about to be stopped for a while."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Payload of a control message: the trading state could not be read, since when."""

    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class Valued:
    """Payload of a control message: the account as the broker values it."""

    state: AccountState


Item = Tick | Logged | LogReached | PricesLost | PricesBack | Control | Stop


class Inbox:
    """A queue of items for one taker."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Item | None] = SimpleQueue()  # None only wakes the taker
        self._first: deque[Item] = deque()
        self._in_hand: Item | None = None  # taken from the queue while something came before it

    def put(self, item: Item) -> None:
        """Add an item; from any thread, never blocks."""
        self._queue.put(item)

    def put_first(self, item: Item) -> None:
        """Add an item that is taken before all that wait; also from a signal handler."""
        self._first.append(item)
        self._queue.put(None)

    def take(self, timeout: float) -> Item | None:
        """Return the next item, waiting at most ``timeout`` seconds; None if none came."""
        if not self._first and self._in_hand is None:
            try:
                self._in_hand = (
                    self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()
                )
            except Empty:
                return None
        if self._first:
            return self._first.popleft()
        item, self._in_hand = self._in_hand, None
        return item
