"""The data-quality checks: each looks at one series of bars and says what is wrong with it.

Findings about neighbouring bars are merged into one that is named by its first bar, so checking
again finds the same keys. :data:`CHECKS`, at the end, is the list and its documentation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from mbats.market import newyork
from mbats.market.bars import Floats, Ohlc, Times
from mbats.market.granularity import Granularity
from mbats.market.session import Calendar, Flags

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Thresholds:
    """From when on something is worth a row. Counts are of bars."""

    short_gap: timedelta = timedelta(minutes=5)
    """Shorter gaps are counted in one `sparse` row: OANDA has no candle where no price moved."""
    long_gap: timedelta = timedelta(hours=1)
    """Gaps this long are errors, shorter ones warnings."""
    late: timedelta = timedelta(days=1)
    """How long after its end the newest bar may come in."""
    zero_range: int = 20
    zero_range_daily: int = 5
    unchanged: int = 30
    unchanged_daily: int = 5
    spike: float = 25.0
    """Moves this many times the series' usual one, as a robust standard deviation."""
    spike_daily: float = 15.0


@dataclass(frozen=True)
class Series:
    """One instrument's bars as stored, sorted by start, repeats and faults included.

    ``prices`` has NaN where a price is null, and no entry for a side with no price at all.
    ``first`` marks the first row of every start; ``now`` is when the check runs.
    """

    instrument: str
    granularity: Granularity
    vendor: str
    start: Times
    end: Times
    prices: dict[str, Ohlc]
    complete: Flags
    first: Flags
    calendar: Calendar
    now: datetime
    limits: Thresholds

    def __len__(self) -> int:
        return len(self.start)

    @property
    def daily(self) -> bool:
        """Whether bars last a day or longer."""
        return not self.granularity.intraday

    def main(self) -> Ohlc:
        """Return the mid prices, or the side there is, of one row a start."""
        side = next(name for name in ("mid", "bid", "ask") if name in self.prices)
        return Ohlc(*(part[self.first] for part in self.prices[side]))


@dataclass(frozen=True)
class Finding:
    """What a check found about ``bars`` bars from ``start`` to ``end``."""

    start: datetime
    end: datetime | None
    bars: int
    detail: str
    severity: Severity


@dataclass(frozen=True)
class Check:
    """One check. ``severity`` is that of its worst finding; ``description`` is for the docs."""

    name: str
    severity: Severity
    description: str
    find: Callable[[Series], Iterator[Finding]]


def _runs(flags: Flags) -> npt.NDArray[np.int64]:
    """Return [first, last + 1] of each run of true flags, shape (runs, 2)."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return cast(npt.NDArray[np.int64], np.flatnonzero(edges).reshape(-1, 2))


def _spans(
    start: Times, end: Times, flags: Flags, detail: str, severity: Severity, at_least: int = 1
) -> Iterator[Finding]:
    """Yield one finding a run of flagged bars; ``detail`` may name {bars}."""
    for low, high in _runs(flags):
        if high - low >= at_least:
            yield _finding(start[low], end[high - 1], int(high - low), detail, severity)


def _finding(start: Times, end: Times, bars: int, detail: str, severity: Severity) -> Finding:
    return Finding(
        start=newyork.to_datetime(start),
        end=newyork.to_datetime(end),
        bars=bars,
        detail=detail.format(bars="1 bar" if bars == 1 else f"{bars:,} bars"),
        severity=severity,
    )


def _bars(series: Series, flags: Flags, detail: str, severity: Severity) -> Iterator[Finding]:
    """Yield findings about flagged starts (shape of the unique starts).

    Neighbours are one finding; of intraday bars all those of a trading day are, so that a
    faulty feed gives a row a day and not a row a minute.
    """
    start, end = series.start[series.first], series.end[series.first]
    if series.daily:
        yield from _spans(start, end, flags, detail, severity)
        return
    hits = np.flatnonzero(flags)
    days = newyork.day_index(start[hits])
    for group in np.split(hits, np.flatnonzero(np.diff(days)) + 1):
        if len(group):
            yield _finding(start[group[0]], end[group[-1]], len(group), detail, severity)


def _rows(
    series: Series, flags: Flags, detail: str, severity: Severity = "error"
) -> Iterator[Finding]:
    """Yield findings about flagged rows; of repeated rows one flagged copy is enough."""
    any_copy = np.zeros(int(series.first.sum()), dtype=np.bool_)
    np.logical_or.at(any_copy, np.cumsum(series.first) - 1, flags)
    yield from _bars(series, any_copy, detail, severity)


def _gap(series: Series) -> Iterator[Finding]:
    limits = series.limits
    for low, high, starts in _missing(series):
        length = _length(series, high - low)
        if not series.daily and length < limits.short_gap:
            continue
        severe = length >= limits.long_gap
        yield Finding(
            start=newyork.to_datetime(starts[low]),
            end=_end(series, starts[high - 1]),
            bars=high - low,
            detail=f"{high - low:,} expected bars are missing, {length} of market time",
            severity="error" if severe else "warning",
        )


def _sparse(series: Series) -> Iterator[Finding]:
    if series.daily:
        return
    spans = [
        (starts[low], starts[high - 1], high - low)
        for low, high, starts in _missing(series)
        if _length(series, high - low) < series.limits.short_gap
    ]
    if spans:
        bars = sum(count for *_, count in spans)
        yield Finding(
            start=newyork.to_datetime(series.start[0]),
            end=_end(series, spans[-1][1]),
            bars=bars,
            detail=f"{bars:,} bars are missing in {len(spans):,} gaps of less than "
            f"{series.limits.short_gap}",
            severity="warning",
        )


def _missing(series: Series) -> Iterator[tuple[int, int, Times]]:
    """Yield runs of expected bars that are missing between the first and the last bar."""
    expected = series.calendar.expected_starts(
        series.granularity,
        newyork.to_datetime(series.start[0]),
        newyork.to_datetime(series.start[-1]),
    )
    for low, high in _runs(~np.isin(expected, series.start)):
        yield int(low), int(high), expected


def _length(series: Series, bars: int) -> timedelta:
    return timedelta(microseconds=bars * (series.granularity.micros or 7 * newyork.DAY))


def _end(series: Series, start: Times) -> datetime:
    ends = series.calendar.bar_end(series.granularity, np.asarray(start).reshape(1))
    return newyork.to_datetime(ends[0])


def _stale(series: Series) -> Iterator[Finding]:
    newest = newyork.to_datetime(series.start[-1])
    due = series.now - series.limits.late
    expected = series.calendar.expected_starts(
        series.granularity, newest + timedelta(microseconds=1), max(due, newest)
    )
    if not len(expected):
        return
    expected = expected[
        series.calendar.bar_end(series.granularity, expected) <= newyork.instant(due)
    ]
    if len(expected):
        yield Finding(
            start=newyork.to_datetime(expected[0]),
            end=_end(series, expected[-1]),
            bars=len(expected),
            detail=f"the newest bar starts at {newest:%Y-%m-%d %H:%M} UTC; "
            f"{len(expected):,} later ones should be there",
            severity="error",
        )


def _duplicate(series: Series) -> Iterator[Finding]:
    repeated = np.bincount(np.cumsum(series.first) - 1) > 1
    yield from _bars(series, repeated, "{bars} stored more than once", "error")


def _misaligned(series: Series) -> Iterator[Finding]:
    flags = ~series.calendar.aligned(series.granularity, series.start)
    yield from _rows(series, flags, "{bars} start where none can start")


def _outside_session(series: Series) -> Iterator[Finding]:
    expected = series.calendar.expected_starts(
        series.granularity,
        newyork.to_datetime(series.start[0]),
        newyork.to_datetime(series.start[-1]) + timedelta(microseconds=1),
        optional=True,
    )
    aligned = series.calendar.aligned(series.granularity, series.start)
    flags = aligned & ~np.isin(series.start, expected)
    yield from _rows(series, flags, "{bars} in hours when the market is closed", "warning")


def _known_early(series: Series) -> Iterator[Finding]:
    ends = np.array(series.start)
    aligned = series.calendar.aligned(series.granularity, series.start)
    ends[aligned] = series.calendar.bar_end(series.granularity, series.start[aligned])
    yield from _rows(series, series.end < ends, "{bars} claim to end before they do")


def _incomplete(series: Series) -> Iterator[Finding]:
    flags = ~series.complete | (series.end > newyork.instant(series.now))
    yield from _rows(series, flags, "{bars} had not ended when they were stored")


def _missing_price(series: Series) -> Iterator[Finding]:
    flags = np.zeros(len(series), dtype=np.bool_) if series.prices else np.ones(len(series), bool)
    for prices in series.prices.values():
        flags |= _any(np.isnan(np.stack(prices)))
    yield from _rows(series, flags, "{bars} lack prices")


def _non_positive(series: Series) -> Iterator[Finding]:
    yield from _by_side(series, lambda p: _any(np.stack(p) <= 0), "{bars} with prices <= 0")


def _ohlc(series: Series) -> Iterator[Finding]:
    def wrong(p: Ohlc) -> Flags:
        above = p.high < np.maximum(np.maximum(p.open, p.close), p.low)
        return above | (p.low > np.minimum(p.open, p.close))

    yield from _by_side(series, wrong, "{bars} with open, high, low and close in disorder")


def _bid_above_ask(series: Series) -> Iterator[Finding]:
    if not {"bid", "ask"} <= series.prices.keys():
        return
    flags = _any(np.stack(series.prices["bid"]) > np.stack(series.prices["ask"]))
    yield from _rows(series, flags, "{bars} with bid above ask")


def _any(flags: Flags) -> Flags:
    """Return for each bar whether any of the rows of ``flags`` is true, shape (bars,)."""
    return cast(Flags, flags.any(axis=0))


def _by_side(series: Series, wrong: Callable[[Ohlc], Flags], detail: str) -> Iterator[Finding]:
    flags = {side: wrong(prices) for side, prices in series.prices.items()}
    sides = "+".join(side for side, flag in flags.items() if flag.any())
    if sides:
        yield from _rows(series, _any(np.stack(list(flags.values()))), f"{detail} ({sides})")


def _zero_range(series: Series) -> Iterator[Finding]:
    if not series.prices:
        return
    prices = series.main()
    limit = series.limits.zero_range_daily if series.daily else series.limits.zero_range
    start, end = series.start[series.first], series.end[series.first]
    detail = "{bars} in a row with high equal to low"
    yield from _spans(start, end, prices.high == prices.low, detail, "warning", limit)


def _unchanged(series: Series) -> Iterator[Finding]:
    if not series.prices:
        return
    close = series.main().close
    limit = series.limits.unchanged_daily if series.daily else series.limits.unchanged
    start, end = series.start[series.first], series.end[series.first]
    same = np.concatenate([[False], close[1:] == close[:-1]])
    yield from _spans(start, end, same, "{bars} in a row with an unchanged close", "warning", limit)


def _reach(series: Series) -> Floats:
    """Return how far a move of each bar may reach: the root of the bars since the one before."""
    micros = newyork.to_micros(series.start[series.first])
    since = np.diff(micros, prepend=micros[0])
    bars = np.maximum(since / max(float(np.median(since)), 1.0), 1.0)
    return cast(Floats, np.sqrt(bars))


def _spike(series: Series) -> Iterator[Finding]:
    if not series.prices:
        return
    p = series.main()
    with np.errstate(divide="ignore", invalid="ignore"):
        close, top, bottom = (
            np.log(x) for x in (p.close, np.maximum(p.open, p.close), np.minimum(p.open, p.close))
        )
        change = np.abs(np.diff(close, prepend=close[0])) / _reach(series)
        size = np.fmax(change, np.fmax(np.log(p.high) - top, bottom - np.log(p.low)))
    usual = change[np.isfinite(change) & (change > 0)]
    if len(usual) < 30:  # too few moves to say what is usual
        return
    # 1.4826 times the median absolute move estimates the standard deviation of a normal one.
    score = size / (1.4826 * np.median(usual))
    limit = series.limits.spike_daily if series.daily else series.limits.spike
    detail = f"{{bars}} with a move of more than {limit:g} usual ones"
    yield from _bars(series, np.isfinite(score) & (score > limit), detail, "warning")


CHECKS = (
    Check("gap", "error", "Bars that the session calendar expects are missing.", _gap),
    Check(
        "sparse",
        "warning",
        "Single bars are missing here and there, as where no price moved.",
        _sparse,
    ),
    Check("stale", "error", "The newest bar is older than the calendar expects by now.", _stale),
    Check("duplicate", "error", "Several rows have the same start.", _duplicate),
    Check(
        "misaligned",
        "error",
        "A bar starts where no bar of its granularity can start.",
        _misaligned,
    ),
    Check(
        "outside_session",
        "warning",
        "A bar lies in hours when the market is closed.",
        _outside_session,
    ),
    Check(
        "known_early",
        "error",
        "A bar's end, when its close is known, is before its real end.",
        _known_early,
    ),
    Check("incomplete", "error", "A bar was stored before it had ended.", _incomplete),
    Check(
        "missing_price",
        "error",
        "A bar lacks some of the prices that its series has.",
        _missing_price,
    ),
    Check("non_positive", "error", "A price is zero or negative.", _non_positive),
    Check("ohlc", "error", "High is below low, or open or close lies outside them.", _ohlc),
    Check("bid_above_ask", "error", "Bid is above ask: a spread below zero.", _bid_above_ask),
    Check("zero_range", "warning", "Many bars in a row have high equal to low.", _zero_range),
    Check(
        "unchanged", "warning", "Many bars in a row have the same close: a frozen feed.", _unchanged
    ),
    Check("spike", "warning", "A move or a wick far beyond the series' usual size.", _spike),
)
