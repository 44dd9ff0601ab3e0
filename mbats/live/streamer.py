"""The streamer: from the broker's price stream to the bus, with signs of life and marked gaps.

It holds a lease, so that it runs once; after a sleep it holds it again where nobody took it. It
never waits for a consumer and never drops a tick in silence: what the broker's stream missed is
marked on the bus for every instrument, and who builds bars reads them from the broker's candles
instead, for no broker gives ticks of the past.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from mbats.live.events import Event, denial
from mbats.live.inbox import Stop
from mbats.live.orders.ports import Clock, Lease, NotHeldError
from mbats.live.streams import Broken, Connected, Ended, Mark, Unreadable
from mbats.market.tick import Tick

SOURCE = "streamer"
HEARTBEAT_EVERY = timedelta(seconds=5)


class TickSink(Protocol):
    """Where ticks go: in order for each instrument, and kept until they are stored."""

    def tick(self, tick: Tick, received_at: datetime) -> None:
        """Take one tick."""
        ...

    def mark(self, instrument: str, mark: Mark, moment: datetime) -> None:
        """Take the beginning or the end of a gap."""
        ...

    def flush(self) -> None:
        """Return when all is stored; raise where that cannot be had."""
        ...


@dataclass(frozen=True)
class Outlets:
    """Where the streamer's findings go; ``say`` takes an event's name and values for the log."""

    ticks: TickSink
    events: Callable[[Event], None]
    say: Callable[[str, Mapping[str, Any]], None]


class Streamer:
    """Moves items from ``take`` to ``outlets`` until a Stop or an error.

    ``take`` returns the next item, waiting at most the seconds it is given. ``counts`` tells what
    passed. Runs in one thread.
    """

    def __init__(
        self,
        instruments: Sequence[str],
        take: Callable[[float], Any],
        outlets: Outlets,
        lease: Lease,
        clock: Clock,
        instance: str,
    ) -> None:
        self._instruments = tuple(instruments)
        self._take = take
        self._outlets = outlets
        self._lease = lease
        self._clock = clock
        self._instance = instance
        self._next_at = clock.now()
        self._newest: datetime | None = None
        self._unreadable: list[Unreadable] = []
        self._connected = False
        self.counts: Counter[str] = Counter()

    @property
    def _run_id(self) -> str:
        return f"{SOURCE}-{self._lease.fencing}"

    def run(self) -> None:
        """Stream until a Stop, then drain.

        Raises :class:`~mbats.errors.RefusedError` at once where another process took the lease,
        what the sink raises where ticks cannot be stored, and the error of a stream that ended for
        good.
        """
        while True:
            self._hold_lease()
            wait_s = (self._next_at - self._clock.now()).total_seconds()
            item = self._take(max(wait_s, 0.0))
            if isinstance(item, Stop):
                self._finish(item.reason or "stopped")
                return
            if isinstance(item, Ended):
                self._finish(item.error.cause)
                raise item.error
            if item is not None:
                self._pass_on(item)
            if self._clock.now() >= self._next_at:
                self._heartbeat()

    def _hold_lease(self) -> None:
        """Hold the lease again where it ran out: a slow machine or a sleep must not end prices."""
        try:
            self._lease.check()
        except NotHeldError as doubt:
            self._lease.regain()
            self._tell("LEASE_REGAINED", doubt.cause, self._clock.now())

    def _pass_on(self, item: Any) -> None:
        now = self._clock.now()
        match item:
            case Tick(instrument=instrument) if instrument in self._instruments:
                self._newest = item.time if self._newest is None else max(self._newest, item.time)
                self.counts["ticks" if item.has_prices else "ticks_without_prices"] += 1
                self._outlets.ticks.tick(item, now)
            case Tick():
                self.counts["not_asked_for"] += 1
            case Connected():
                self.counts["connections"] += 1
                self._connected = True
                self._mark(Mark.BACK, now)
                self._outlets.say("stream_connected", {"connections": self.counts["connections"]})
            case Broken(reason=reason):
                self.counts["breaks"] += 1
                self._lost("PRICE_STREAM_BROKEN", reason, now)
            case Unreadable():
                self.counts["unreadable"] += 1
                self._unreadable.append(item)

    def _lost(self, code: str, reason: str, now: datetime) -> None:
        if self._connected:
            self._mark(Mark.LOST, now)
        self._connected = False
        self._tell(code, reason, now)

    def _mark(self, mark: Mark, now: datetime) -> None:
        for instrument in self._instruments:
            self._outlets.ticks.mark(instrument, mark, now)

    def _heartbeat(self) -> None:
        """Say what came, and see that all of it is stored."""
        now = self._clock.now()
        if self._unreadable:
            first, count = self._unreadable[0], len(self._unreadable)
            detail = f"{count} messages could not be read, the first: {first.reason} {first.text}"
            self._tell("PRICE_UNREADABLE", detail, now)
            self._unreadable.clear()
        lag = None if self._newest is None else (now - self._newest).total_seconds()
        row = {
            "source": SOURCE,
            "time": now,
            "run_id": self._run_id,
            "instance": self._instance,
            "fencing": self._lease.fencing,
            "lag_seconds": lag,
            "detail": {"connected": self._connected, **self.counts},
        }
        self._outlets.events(Event("heartbeat", row))
        self._outlets.ticks.flush()
        self._outlets.say("heartbeat", {"source": SOURCE, "lag_seconds": lag, **self.counts})
        self._next_at = self._clock.now() + HEARTBEAT_EVERY

    def _finish(self, reason: str) -> None:
        self._lost("STREAMER_STOPPED", reason, self._clock.now())
        self._heartbeat()

    def _tell(self, code: str, detail: str, now: datetime) -> None:
        self._outlets.events(denial(self._run_id, code, detail, now, {"severity": "warning"}))
        self._outlets.say(code.lower(), {"detail": detail})
