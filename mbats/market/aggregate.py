"""Ticks become bars: :class:`BarBuilder` one by one for live, :func:`aggregate` for history.

Both give the same bars. The rules:

* A tick belongs to the bar whose [start, end) holds its time. An interval without ticks has no
  bar, as at OANDA. Volume is the number of ticks.
* Ticks that are not tradeable, or lack a side, are counted and make no price.
* Within an open bar, ticks count by their time, whatever their order of arrival; those of one
  time by arrival.
* A bar is closed by the first tick of a later bar, or by the clock. A tick for a closed bar is
  late: counted and reported, never merged into a bar that a strategy has already seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, cast

import numpy as np

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.bars import Bars, Floats, Ohlc, Times
from mbats.market.granularity import Granularity
from mbats.market.newyork import Ints
from mbats.market.tick import Tick, Ticks


class Candle(NamedTuple):
    """Open, high, low and close, in quote currency."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, exact. ``complete`` is False only for the bar that is still forming."""

    instrument: str
    granularity: Granularity
    start: datetime
    end: datetime
    bid: Candle
    ask: Candle
    mid: Candle
    volume: int
    complete: bool = True


@dataclass
class TickCount:
    """What became of the ticks: ``used`` and the three kinds that were not.

    ``out_of_order`` ticks are among those used: they came after a later one of the same bar.
    """

    used: int = 0
    untradeable: int = 0
    empty_book: int = 0
    late: int = 0
    out_of_order: int = 0


class _Forming:
    """The open bar: the best known so far of each side."""

    __slots__ = ("candles", "end", "first", "last", "start", "volume")

    def __init__(self, start: datetime, end: datetime, time: datetime) -> None:
        self.start, self.end = start, end
        self.first = self.last = time
        self.candles: list[list[Decimal]] = []
        self.volume = 0

    def take(self, time: datetime, prices: tuple[Decimal, ...]) -> None:
        self.volume += 1
        if not self.candles:
            self.candles = [[price] * 4 for price in prices]
            return
        opens, closes = time < self.first, time >= self.last
        for candle, price in zip(self.candles, prices, strict=True):
            if opens:
                candle[0] = price
            if price > candle[1]:
                candle[1] = price
            if price < candle[2]:
                candle[2] = price
            if closes:
                candle[3] = price
        self.first, self.last = min(time, self.first), max(time, self.last)


class BarBuilder:
    """Builds the bars of one instrument from its ticks as they come.

    ``on_late`` is called with every late tick. Memory does not grow with the number of ticks.
    """

    def __init__(
        self,
        instrument: str,
        granularity: Granularity | str,
        on_late: Callable[[Tick], None] | None = None,
    ) -> None:
        self.instrument = instrument
        self.granularity = Granularity.parse(granularity)
        self.count = TickCount()
        self._on_late = on_late
        self._forming: _Forming | None = None
        # Ticks before the first are late; before the second, the clock closes nothing.
        self._closed_until = self._quiet_until = datetime.min.replace(tzinfo=UTC)

    def add(self, tick: Tick) -> list[Bar]:
        """Take one tick; return the bar that it completes, if it is the first of a later one.

        Raises :class:`~mbats.errors.DataError` for a tick of another instrument.
        """
        if tick.instrument != self.instrument:
            raise DataError(f"A tick of {tick.instrument} came to the bars of {self.instrument}.")
        if not tick.has_prices:
            self._count_priceless(tick)
            return []
        time = tick.time.astimezone(UTC)
        if time < self._closed_until:
            self.count.late += 1
            if self._on_late is not None:
                self._on_late(tick)
            return []
        bar = self._forming
        if bar is not None and bar.start <= time < bar.end:
            done = []
            self.count.out_of_order += time < bar.last
        else:
            done = self._close()
            bar = self._open(time)
        bid, ask = cast(Decimal, tick.bid), cast(Decimal, tick.ask)
        bar.take(time, (bid, ask, (bid + ask) / 2))
        self.count.used += 1
        return done

    def advance(self, now: datetime) -> list[Bar]:
        """Close by the clock: return the open bar if it ended by ``now`` (aware).

        Ticks before the start of the bar that ``now`` is in are late from here on. To wait
        for ticks on their way, pass a time that is that much earlier. A clock that steps back
        reopens nothing.
        """
        if now < self._quiet_until:
            return []
        self._closed_until = self.granularity.start_of(now)
        self._quiet_until = self.granularity.end_of(now)
        return self._close()

    @property
    def forming(self) -> Bar | None:
        """The open bar as it stands, ``complete`` False; None before the first tick of one."""
        return None if self._forming is None else self._bar(self._forming, complete=False)

    def _count_priceless(self, tick: Tick) -> None:
        if tick.tradeable:
            self.count.empty_book += 1
        else:
            self.count.untradeable += 1

    def _open(self, time: datetime) -> _Forming:
        start = self.granularity.start_of(time)
        bar = self._forming = _Forming(start, self.granularity.end_of(start), time)
        self._closed_until, self._quiet_until = bar.start, bar.end
        return bar

    def _close(self) -> list[Bar]:
        bar, self._forming = self._forming, None
        return [] if bar is None else [self._bar(bar, complete=True)]

    def _bar(self, bar: _Forming, *, complete: bool) -> Bar:
        bid, ask, mid = (Candle(*candle) for candle in bar.candles)
        return Bar(
            self.instrument,
            self.granularity,
            bar.start,
            bar.end,
            bid,
            ask,
            mid,
            bar.volume,
            complete,
        )


def aggregate(
    ticks: Ticks, granularity: Granularity | str, vendor: str, until: datetime | None = None
) -> Bars:
    """Return the bars of ``ticks``, those that a :class:`BarBuilder` gives tick by tick.

    Ticks may come in any order: all are there, so none is late. With ``until`` only bars that
    ended by then are returned; without it the last may still have been forming.
    """
    bar = Granularity.parse(granularity)
    time, bid, ask = _usable(ticks)
    first = _first_ticks(bar, time)
    starts = bar.bar_start(time[first])
    ends = bar.bar_end(starts)
    if until is not None:
        kept = int(np.searchsorted(ends, newyork.instant(until), side="right"))
        stop = int(first[kept]) if kept < len(first) else len(time)
        first, starts, ends = first[:kept], starts[:kept], ends[:kept]
        time, bid, ask = time[:stop], bid[:stop], ask[:stop]
    last = np.append(first[1:], len(time)) - 1
    return Bars(
        instrument=ticks.instrument,
        granularity=bar.value,
        vendor=vendor,
        start=starts,
        end=ends,
        mid=_ohlc((bid + ask) * 0.5, first, last),
        bid=_ohlc(bid, first, last),
        ask=_ohlc(ask, first, last),
        volume=last - first + 1,
    )


def _usable(ticks: Ticks) -> tuple[Times, Floats, Floats]:
    """Return time, bid and ask of the ticks that make prices, in order of time."""
    columns = (ticks.time, ticks.bid, ticks.ask)
    # The sum is NaN where either is; one pass over it is cheaper than two over the sides.
    usable = ticks.tradeable & ~np.isnan(ticks.bid + ticks.ask)
    if not usable.all():
        columns = cast(tuple[Times, Floats, Floats], tuple(column[usable] for column in columns))
    micros = newyork.to_micros(columns[0])
    if np.any(micros[1:] < micros[:-1]):
        order = np.argsort(micros, kind="stable")
        columns = cast(tuple[Times, Floats, Floats], tuple(column[order] for column in columns))
    return columns


def _first_ticks(bar: Granularity, time: Times) -> Ints:
    """Return the index of the first tick of every bar; ``time`` ascends."""
    if not len(time):
        return np.empty(0, dtype=np.int64)
    begin, end = bar.bar_start(time[0]), time[-1] + np.timedelta64(1, "us")
    length = bar.micros or 7 * newyork.DAY
    if int(newyork.to_micros(end) - newyork.to_micros(begin)) // length < len(time):
        # Fewer bars than ticks: look each bar's start up among the ticks.
        found = np.searchsorted(time, bar.starts(begin, end))
        return found[np.diff(found, append=len(time)) > 0]
    starts = newyork.to_micros(bar.bar_start(time))
    return np.flatnonzero(np.diff(starts, prepend=starts[0] - 1))


def _ohlc(prices: Floats, first: Ints, last: Ints) -> Ohlc:
    if not len(first):
        return Ohlc(*(np.empty(0) for _ in range(4)))
    high, low = np.maximum.reduceat(prices, first), np.minimum.reduceat(prices, first)
    return Ohlc(prices[first], high, low, prices[last])
