"""Ticks become bars: :class:`BarBuilder` one by one for live, :func:`aggregate` for history.

Both give the same bars. The rules:

* A tick belongs to the bar whose [start, end) holds its time. An interval without ticks has no
  bar, as at OANDA. Volume is the number of ticks.
* Ticks that are not tradeable, or lack a side, are counted and make no price.
* Within an open bar, ticks count by their time, whatever their order of arrival; those of one
  time by arrival.
* A bar is closed by the first tick of a later bar, or by the clock. A tick for a closed bar is
  late: counted and reported, never merged into a bar that a strategy has already seen.
* Ticks that begin in the middle of a bar make no bar of it, unless somebody else knows what the
  bar held until then (:meth:`BarBuilder.resume`).
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
    """What became of the ticks: ``used`` and the kinds that were not.

    ``out_of_order`` ticks are among those used: they came after a later one of the same bar.
    ``partial`` ticks belong to a bar whose beginning nobody knows.
    """

    used: int = 0
    untradeable: int = 0
    empty_book: int = 0
    late: int = 0
    out_of_order: int = 0
    partial: int = 0


class _Forming:
    """The open bar: the best known so far of each side."""

    __slots__ = ("candles", "end", "first", "last", "start", "volume")

    def __init__(self, start: datetime, end: datetime, time: datetime) -> None:
        self.start, self.end = start, end
        self.first = self.last = time
        self.candles: list[list[Decimal]] = []
        self.volume = 0

    @classmethod
    def going_on(cls, bar: Bar) -> "_Forming":
        """Return the open bar that ``bar`` shows. Its last tick is unknown: the next one closes."""
        forming = cls(bar.start, bar.end, bar.start)
        forming.candles = [list(candle) for candle in (bar.bid, bar.ask, bar.mid)]
        forming.volume = bar.volume
        return forming

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
        # Ticks from here to _closed_until are of a bar that nobody knows the beginning of.
        self._unknown_from = datetime.max.replace(tzinfo=UTC)

    def resume(self, at: datetime, forming: Bar | None = None, *, empty: bool = False) -> None:
        """Begin, or go on after a gap, at the instant ``at`` (aware): every later tick will come.

        ``forming`` is the bar that is open then, as another source saw it; ticks it already holds
        may come again, they only count twice in its volume. ``empty`` says that it had no tick yet.
        With neither, the bar that holds ``at`` is not known and is left out. What was open in this
        builder is dropped. Raises :class:`~mbats.errors.DataError` for a bar of another series.
        """
        start, end = self.granularity.span_of(at)
        self._forming = None
        self._unknown_from = datetime.max.replace(tzinfo=UTC)
        self._closed_until, self._quiet_until = start, end
        if forming is not None:
            self._require_own(forming, at)
            self._closed_until, self._quiet_until = forming.start, forming.end
            self._forming = _Forming.going_on(forming)
        elif not empty and at > start:
            self._unknown_from, self._closed_until = start, self._quiet_until

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
            if time >= self._unknown_from:
                self.count.partial += 1
                return []
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
        self._closed_until, self._quiet_until = self.granularity.span_of(now)
        self._unknown_from = datetime.max.replace(tzinfo=UTC)
        return self._close()

    @property
    def open_until(self) -> datetime | None:
        """End of the open bar; None before the first tick of one."""
        return None if self._forming is None else self._forming.end

    @property
    def forming(self) -> Bar | None:
        """The open bar as it stands, ``complete`` False; None before the first tick of one."""
        return None if self._forming is None else self._bar(self._forming, complete=False)

    def _require_own(self, bar: Bar, at: datetime) -> None:
        own = (bar.instrument, bar.granularity) == (self.instrument, self.granularity)
        if not own or bar.start > at or bar.start != self.granularity.start_of(bar.start):
            raise DataError(
                f"The {bar.granularity} bar of {bar.instrument} from {bar.start} cannot go on as "
                f"the {self.granularity} bar of {self.instrument} at {at}."
            )

    def _count_priceless(self, tick: Tick) -> None:
        if tick.tradeable:
            self.count.empty_book += 1
        else:
            self.count.untradeable += 1

    def _open(self, time: datetime) -> _Forming:
        start, end = self.granularity.span_of(time)
        bar = self._forming = _Forming(start, end, time)
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
