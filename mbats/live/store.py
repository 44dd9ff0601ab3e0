"""The live store: it takes what comes from outside and lets backtrader's loop turn when due.

Everything here runs in the thread that runs cerebro. :meth:`LiveStore.pump` empties the inbox, once
a turn of the loop; when nothing for backtrader came of it, it waits for the inbox, and for nothing
else. A tick that completes no bar does not wake the loop, so sixty feeds cost no more than one.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from mbats.errors import NotReadyError
from mbats.live.candles import BarSource
from mbats.live.feed import FeedBar, LiveFeed
from mbats.live.inbox import (
    Continued,
    Control,
    Item,
    Logged,
    LogReached,
    PricesBack,
    PricesLost,
    Stop,
    Suspending,
)
from mbats.live.orders.ports import Clock
from mbats.live.orders.protocol import Verdict
from mbats.live.steps import Steps, decision_window
from mbats.live.trader import Trader
from mbats.market.tick import Tick

log = logging.getLogger(__name__)

PATIENCE = timedelta(milliseconds=300)
"""How long a bar waits for ticks on their way: OANDA sends the last price of each 250 ms."""

STALL = timedelta(seconds=5)
"""How long nothing may happen in this process before prices count as lost."""

_A_SECOND = timedelta(seconds=1)
_A_MINUTE = timedelta(minutes=1)
_RETRY = timedelta(seconds=5)
_BATCH = 1000
_OVERDUE = datetime.min.replace(tzinfo=UTC)


class TakesItems(Protocol):
    """The taking side of an inbox."""

    def take(self, timeout: float) -> Item | None:
        """Return the next item, waiting at most ``timeout`` seconds; None if none came."""
        ...


class Notified(Protocol):
    """What the store asks of the broker of the same bot."""

    trader: Trader

    def has_news(self) -> bool:
        """Tell whether notifications wait for strategies."""
        ...

    def settled(self, verdict: Verdict) -> None:
        """Hear what became of an order of unknown outcome."""
        ...

    def recheck(self) -> None:
        """Settle what the protocol knows and was kept from saying."""
        ...


@dataclass
class Chore:
    """A duty that returns: ``call`` is called with the time, at most once in ``every``."""

    every: timedelta
    call: Callable[[datetime], None]
    due: datetime = _OVERDUE


class LiveStore:
    """Feeds the feeds and the trader of one bot from one inbox. backtrader knows it as a store.

    ``broker`` is set by the broker itself. ``on_control`` gets the payload of control messages.
    ``patience`` is how long a bar waits for ticks on their way, ``stall`` how long nothing may
    happen in this process before prices count as lost.
    ``deciding`` tells whether strategies may decide: not on bars of the past.
    """

    def __init__(
        self,
        inbox: TakesItems,
        clock: Clock,
        source: BarSource,
        patience: timedelta = PATIENCE,
        on_control: Callable[[Any], None] | None = None,
        stall: timedelta = STALL,
    ) -> None:
        self.broker: Notified
        self.clock = clock
        self.deciding = False
        self.stopping: str | None = None
        self._inbox = inbox
        self._source = source
        self._on_control = on_control
        self._stall = stall
        self._steps = Steps(patience)
        self._feeds: list[LiveFeed] = []
        self._feeds_of: dict[str, list[LiveFeed]] = {}
        self._behind: list[LiveFeed] = []  # feeds that must read what they missed
        self._read_again_at = _OVERDUE
        self._chores: list[Chore] = []
        self._notifications: deque[tuple[Any, tuple[Any, ...], dict[str, Any]]] = deque()
        self._pumped = False
        self._feeds_speak = False
        self._handed: list[LiveFeed] = []  # to which the newest step went, until backtrader took it
        self._slept = False
        self._started = False
        self._awake_at = _OVERDUE
        self._log_reached = 0
        self._log_is_behind = False
        self._soon: deque[Callable[[], None]] = deque()
        self._late: dict[str, int] = {}
        self.every(_A_SECOND, self._settle)
        self.every(_A_MINUTE, self._tell_late)

    def every(self, period: timedelta, call: Callable[[datetime], None]) -> None:
        """Have ``call`` called in cerebro's thread, with the time, once in ``period``."""
        self._chores.append(Chore(period, call))

    def soon(self, call: Callable[[], None]) -> None:
        """Have ``call`` called in cerebro's thread, when what is at hand is dealt with."""
        self._soon.append(call)

    def read_log_soon(self) -> None:
        """Read the broker's log again within a second: it could not be read now."""
        self._log_is_behind = True

    def add_feed(self, feed: LiveFeed) -> None:
        """Fill ``feed`` from now on."""
        self._feeds.append(feed)
        self._feeds_of.setdefault(feed.instrument, []).append(feed)
        self._steps.add_feed(feed)

    def feed_speaks(self) -> None:
        """Hear that a feed has a notification, which the loop's next turn hands on."""
        self._feeds_speak = True

    # What backtrader calls.

    def start(self) -> None:
        """Note that every feed begins with the past; it is read at the first turn."""
        self._behind = list(self._feeds)
        self._log_reached = self._trader.book.cursor

    def stop(self) -> None:
        """End: nothing is held open here."""

    def get_notifications(self) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
        """Return what strategies hear in ``notify_store``. A turn of the loop begins with this."""
        self._pumped = self._feeds_speak = False
        told = list(self._notifications)
        self._notifications.clear()
        return told

    def pump(self, timeout: float) -> None:
        """Deal with what came; wait up to ``timeout`` seconds while it is nothing for backtrader.

        Only the first call of a turn does anything.
        """
        if self._pumped:
            return
        self._pumped = True
        if not self._started:
            self._awake_at = self.clock.now()
            self._read_missed(self._awake_at, patient=False)
            self._started = True
        deadline = self.clock.now() + timedelta(seconds=timeout)
        wait = 0.0
        while True:
            now = self.clock.now()  # before the inbox is emptied: the clock closes no bar too early
            self._look_for_stall(now, wait)
            self._drain()
            if self._slept:  # what this turn knew is old; what comes first now must come first
                self._slept = False
                continue
            while self._soon:
                self._soon.popleft()()
            self._keep_time(now)
            self._release(now)
            if self._news():
                return
            if self.stopping is not None:
                self._feeds[0].getenvironment().runstop()
                return
            left = (min(deadline, self._next_due()) - now).total_seconds()
            if left <= 0 and now >= deadline:
                return
            wait = min(max(left, 0.0), timeout)
            item = self._inbox.take(wait)
            if item is not None:
                self._dispatch(item)
            elif left > 0:
                deadline = min(deadline, self.clock.now())

    # The inbox.

    def _drain(self) -> None:
        """Take what is there, up to the next that may matter to backtrader."""
        for _ in range(_BATCH):
            item = None if self.stopping is not None else self._inbox.take(0)
            if item is None or self._dispatch(item):
                return

    def _dispatch(self, item: Item) -> bool:
        """Deal with one item; return whether it may matter to backtrader."""
        if isinstance(item, Tick):
            return self._tick(item)
        match item:
            case Logged(transactions):
                self._log_reached = max((t.id for t in transactions), default=self._log_reached)
                self._read_log(lambda: self._trader.receive(transactions))
            case LogReached(last_id):
                self._log_reached = max(self._log_reached, last_id)
                self._catch_up()
            case PricesLost(reason):
                self._lose(reason)
            case PricesBack():
                self._behind = [feed for feed in self._feeds if not feed.building]
                self._read_missed(self.clock.now())
            case Control(payload):
                if self._on_control is not None:
                    self._on_control(payload)
                self._slept = isinstance(payload, Suspending)
            case Stop(reason):
                self.stopping = reason
        return True

    def _tick(self, tick: Tick) -> bool:
        """Take a price; return whether it completed a bar."""
        completed = False
        self._trader.take_tick(tick)
        for feed in self._feeds_of.get(tick.instrument, ()):
            if feed.building:
                late, open_until = feed.builder.count.late, feed.builder.open_until
                done = feed.builder.add(tick)
                if feed.builder.open_until is not open_until:
                    self._steps.moved()
                if done:
                    self._steps.collect(feed, feed.unseen([FeedBar.of(bar) for bar in done]))
                    completed = True
                elif feed.builder.count.late > late:
                    name = str(feed._name)
                    self._late[name] = self._late.get(name, 0) + 1
        return completed

    # Prices lost and back.

    def _lose(self, reason: str) -> None:
        self._behind = []
        for feed in self._feeds:
            feed.lose()
        self._steps.moved()
        self._notify("prices lost", reason=reason)

    def _look_for_stall(self, now: datetime, waited: float) -> None:
        """Take a stop of this process for a loss of prices: what is on its way comes too late."""
        stalled = now - self._awake_at - timedelta(seconds=waited)
        if self._started and stalled > self._stall:
            detail = f"nothing happened for {stalled.total_seconds():.1f} s: prices are read again"
            log.warning(detail)
            self._trader.tell("STALLED", detail, "warning")
            if self._on_control is not None:
                self._on_control(Continued())  # before anything is decided: what was known is old
            self._lose(f"stalled for {stalled.total_seconds():.0f} s")
            self._behind = list(self._feeds)
            self._read_missed(now)
        self._awake_at = self._trader.awake_at = now

    def _read_missed(self, now: datetime, *, patient: bool = True) -> None:
        """Read what the feeds missed; where it cannot be read, patiently try again later."""
        while self._behind:
            feed = self._behind[0]
            try:
                recent = self._source.recent(feed.instrument, feed.granularity, feed.last_end)
            except (OSError, NotReadyError) as error:
                if not patient:
                    raise
                log.warning("bars of %s cannot be read yet: %s", feed._name, error)
                self._notify("bars not readable", feed=feed._name, error=str(error))
                self._read_again_at = now + _RETRY
                return
            self._steps.collect(feed, feed.catch_up(recent))
            self._steps.moved()
            del self._behind[0]

    # Time.

    def _keep_time(self, now: datetime) -> None:
        self._steps.close_until(now)
        if self._behind and now >= self._read_again_at:
            self._read_missed(now)
        for chore in self._chores:
            if now >= chore.due:
                chore.due = now + chore.every
                chore.call(now)

    def _next_due(self) -> datetime:
        due = min(chore.due for chore in self._chores)
        closes_at = self._steps.closes_at()
        return due if closes_at is None else min(due, closes_at)

    def _release(self, now: datetime) -> None:
        """Hand out the next step, one a turn. What may be decided on waits for its first price."""
        if self._bars_wait():
            return
        ready = self._steps.ready()
        if ready is None:
            return
        end, step = ready
        fresh = now - end <= decision_window(step.values())
        if fresh and any(self._trader.quote(feed.instrument) is None for feed in step):
            return
        self._steps.drop(end)
        self.deciding = fresh
        for feed, bar in step.items():
            feed.deliver(bar)
        self._handed = list(step)

    def _bars_wait(self) -> bool:
        """Tell whether bars of the newest step still wait for backtrader."""
        if self._handed and not any(feed.haslivedata() for feed in self._handed):
            self._handed = []
        return bool(self._handed)

    # Chores.

    def _settle(self, now: datetime) -> None:
        """Settle orders of unknown outcome, and read what is missing of the log."""
        if self._trader.protocol.unresolved:
            self._read_log(self._resolve)
        self._catch_up()

    def _resolve(self) -> None:
        for verdict in self._trader.resolve():
            self.broker.settled(verdict)

    def _catch_up(self) -> None:
        if self._log_is_behind or self._trader.book.cursor < self._log_reached:
            self._read_log(self._read_all)

    def _read_all(self) -> None:
        self._trader.protocol.catch_up()
        self._log_is_behind = False
        self.broker.recheck()

    def _read_log(self, read: Callable[[], object]) -> None:
        """Read the broker's log; where it cannot be read now, a later second tries again."""
        try:
            read()
        except (OSError, NotReadyError) as error:
            log.warning("the broker's log cannot be read yet: %s", error)
            self._notify("log not readable", error=str(error))
            self.read_log_soon()  # a part may have been settled, and the strategy not told of it

    def _tell_late(self, now: datetime) -> None:
        late, self._late = self._late, {}
        for name, count in late.items():
            self._notify("late ticks", feed=name, count=count)
            detail = f"{count} ticks came after their bar was closed"
            self._trader.tell("LATE_TICKS", detail, "warning", instrument=name.split(":")[0])

    # Telling.

    @property
    def _trader(self) -> Trader:
        return self.broker.trader

    def _notify(self, message: str, **about: Any) -> None:
        self._notifications.append((message, (), about))

    def _news(self) -> bool:
        """Tell whether backtrader's loop has something to do."""
        if self._notifications or self._feeds_speak or self.broker.has_news():
            return True
        return self._bars_wait()
