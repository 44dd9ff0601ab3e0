"""What a session is to do, and everything around it: what the composition root gives a bot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from mbats.live.candles import BarSource
from mbats.live.control import ControlStore
from mbats.live.events import Event, Row
from mbats.live.inbox import Item
from mbats.live.recovery import Surroundings
from mbats.live.session import Assignment
from mbats.live.store import PATIENCE
from mbats.live.trader import Account


class EventSink(Protocol):
    """Takes events; what is stored survives this process."""

    def __call__(self, event: Event) -> None:
        """Take one event, without waiting."""
        ...

    @property
    def unconfirmed(self) -> int:
        """How many events are not known to be stored."""
        ...

    def flush(self) -> None:
        """Return when all are stored. Raises :class:`NotReadyError` where they cannot be."""
        ...


class Runs(Protocol):
    """Where sessions are recorded."""

    def start(self, row: Mapping[str, Any]) -> None:
        """Record that the session has begun."""
        ...

    def note(self, row: Mapping[str, Any]) -> None:
        """Record more about a session that has begun."""
        ...

    def end(self, row: Mapping[str, Any], error: str | None) -> None:
        """Record that the session has ended, well or with ``error``."""
        ...


class TakesAndPuts(Protocol):
    """An inbox."""

    def put(self, item: Item) -> None:
        """Add an item."""
        ...

    def take(self, timeout: float) -> Item | None:
        """Return the next item, waiting at most ``timeout`` seconds."""
        ...


@dataclass(frozen=True)
class Plan:
    """What a session is to do. ``row`` are further columns of its row in ``risk.run``.

    ``name`` is what the log calls the bot, for whoever misses its heartbeats: its job's name.
    """

    account: Account
    assignments: Sequence[Assignment]
    until: datetime
    trace_id: str
    row: Mapping[str, Any]
    name: str = ""
    patience: timedelta = PATIENCE
    longest_wait: float = 0.25


@dataclass(frozen=True)
class Ports:
    """Everything outside. ``flatten`` closes all at the broker and takes the reason.

    ``open_stream`` begins to queue transactions. ``rows`` takes rows of a table that no topic
    carries. ``suspend`` stops this process until it is continued.
    """

    around: Surroundings
    inbox: TakesAndPuts
    source: BarSource
    events: EventSink
    control: ControlStore
    runs: Runs
    flatten: Callable[[str], None]
    open_stream: Callable[[], None]
    rows: Callable[[str, Sequence[Row]], None]
    suspend: Callable[[], None]
