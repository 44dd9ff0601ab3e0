"""Live bars into backtrader: warm-up first, then what the ticks make.

The ``datetime`` line holds the END of a bar, as in a backtest's feed. Bars come in order, each
once: one that ends no later than the last is dropped and counted.
"""

from collections import deque
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import backtrader as bt

from mbats.backtest.feed import EPOCH_ORDINAL, MICROS_A_DAY, frame
from mbats.live.candles import Recent
from mbats.market.aggregate import Bar, BarBuilder
from mbats.market.bars import Bars
from mbats.market.granularity import Granularity
from mbats.market.newyork import to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FeedBar(NamedTuple):
    """A complete bar as lines hold it: mid prices, in quote currency."""

    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    @classmethod
    def of(cls, bar: Bar) -> "FeedBar":
        """Return what the lines hold of a bar made from ticks."""
        open_, high, low, close = map(float, bar.mid)
        return cls(bar.start, bar.end, open_, high, low, close, float(bar.volume))


def to_num(moment: datetime) -> float:
    """Return an aware instant as backtrader's float days, the very double a backtest has."""
    since = moment - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    days, rest = divmod(micros, MICROS_A_DAY)
    return (days + EPOCH_ORDINAL) + rest / MICROS_A_DAY


def from_bars(bars: Bars) -> list[FeedBar]:
    """Return what the lines hold of bars in columns."""
    volumes = [0.0] * len(bars) if bars.volume is None else bars.volume.astype(float).tolist()
    times = zip(map(to_datetime, bars.start), map(to_datetime, bars.end), strict=True)
    prices = zip(*(part.tolist() for part in bars.mid), strict=True)
    return [
        FeedBar(start, end, open_, high, low, close, volume)
        for (start, end), (open_, high, low, close), volume in zip(
            times, prices, volumes, strict=True
        )
    ]


class Store(Protocol):
    """What a feed asks of its store."""

    def add_feed(self, feed: "LiveFeed") -> None:
        """Fill ``feed`` from now on."""
        ...

    def pump(self, timeout: float) -> None:
        """Deal with what came, waiting at most ``timeout`` seconds."""
        ...

    def feed_speaks(self) -> None:
        """Hear that a feed has a notification."""
        ...


class LiveFeed(bt.feed.DataBase):  # type: ignore[misc]
    """One instrument at one granularity; its store fills it.

    ``longest_wait`` is how long, in seconds, the store waits for news at most before backtrader's
    loop turns once more.
    """

    def __init__(
        self,
        store: "Store",
        instrument: str,
        granularity: Granularity | str,
        longest_wait: float = 0.25,
    ) -> None:
        super().__init__()
        self.p.qcheck = longest_wait
        self.instrument = instrument
        self.granularity = Granularity.parse(granularity)
        self._timeframe, self._compression = frame(self.granularity)
        self.p.timeframe, self.p.compression = self._timeframe, self._compression
        self.store = store
        self.builder = BarBuilder(self.instrument, self.granularity)
        self.building = False  # whether the builder knows all of the open bar
        self.last_end: datetime | None = None  # of the newest bar that was offered
        self.bar: FeedBar | None = None  # the newest that the lines hold
        self.duplicates = 0
        self._waiting: deque[FeedBar] = deque()
        self._backlog = 0  # bars of the past still to come
        self.store.add_feed(self)

    def setenvironment(self, env: Any) -> None:
        """Join cerebro, and bring the store along."""
        super().setenvironment(env)
        env.addstore(self.store)

    def islive(self) -> bool:
        """Return True: bars are not known beforehand."""
        return True

    def haslivedata(self) -> bool:
        """Tell whether a bar is ready."""
        return bool(self._waiting)

    def start(self) -> None:
        """Begin with the past."""
        super().start()
        self.put_notification(self.DELAYED)

    def put_notification(self, status: int, *args: Any, **kwargs: Any) -> None:
        """Note a change of status, and let the store know."""
        before = len(self.notifs)
        super().put_notification(status, *args, **kwargs)
        if len(self.notifs) != before:
            self.store.feed_speaks()

    def do_qcheck(self, onoff: bool, qlapse: float) -> None:
        """Let the store wait, whatever state other feeds are in: one arrival ends every wait."""
        self._qcheck = max(0.0, self.p.qcheck - qlapse)

    # What the store does.

    def lose(self) -> None:
        """Stop building: what was open can no longer be whole."""
        self.building = False
        self.put_notification(self.CONNBROKEN)

    def catch_up(self, recent: Recent) -> list[FeedBar]:
        """Take up from what another source saw; return the bars of it that are new here."""
        self.put_notification(self.DELAYED)
        new = [] if recent.bars is None else self.unseen(from_bars(recent.bars))
        self.builder.resume(recent.read_at, recent.forming, empty=recent.empty)
        self.building = True
        self._backlog += len(new)
        return new

    def unseen(self, bars: list[FeedBar]) -> list[FeedBar]:
        """Return those of ``bars`` that end later than all before them; count the others."""
        new = []
        for bar in bars:
            if self.last_end is None or bar.end > self.last_end:
                self.last_end = bar.end
                new.append(bar)
            else:
                self.duplicates += 1
        return new

    def deliver(self, bar: FeedBar) -> None:
        """Hand a bar to backtrader's next turn."""
        self._waiting.append(bar)

    # What backtrader does.

    def load(self) -> bool | None:
        """Move one bar on, if there is one; as backtrader's, without its work for none."""
        self.store.pump(self._qcheck)
        if not self._waiting and not self._barstack and not self._barstash:
            if self.building and not self._backlog:
                self.put_notification(self.LIVE)
            return None
        loaded: bool | None = super().load()
        return loaded

    def _load(self) -> bool | None:
        if not self._waiting:
            return None
        self.bar = bar = self._waiting.popleft()
        lines = self.lines
        lines.datetime[0] = to_num(bar.end)
        lines.open[0], lines.high[0] = bar.open, bar.high
        lines.low[0], lines.close[0] = bar.low, bar.close
        lines.volume[0] = bar.volume
        lines.openinterest[0] = 0.0
        if self._backlog:
            self._backlog -= 1
        elif self.building:
            self.put_notification(self.LIVE)
        return True

    def _tick_nullify(self) -> None:
        """Keep nothing: ticks within a bar are the broker's business."""

    def _tick_fill(self, force: bool = False) -> None:
        """Keep nothing: ticks within a bar are the broker's business."""
