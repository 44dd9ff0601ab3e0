"""Candles from the same prices that fill orders, and a generated past before the first of them.

Prices are kept as integer points in columns, at three base lengths (5 seconds, a minute, an hour);
a request is grouped from the longest base that divides it. The past is generated when candles are
first asked for: minutes for a week, hours for ``history_days``, a walk that ends as prices begin.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mbats.local.oanda_sim.alignment import Alignment, bar_ends, bar_starts
from mbats.local.oanda_sim.times import DAY, SECOND, rfc3339

Ints = npt.NDArray[np.int64]

BASES = {"S5": 5 * SECOND, "M1": 60 * SECOND, "H1": 3600 * SECOND}
MOST = 5000
_SECONDS_KEPT = 6 * 3600 * SECOND
_MINUTES_OF_PAST = 7 * DAY
# Columns: bid o h l c, ask o h l c, bid + ask o h l c, volume.
_WIDTH = 13
_MOST_UNGROUPED = 3 * 4096
_SIDES = (("M", "mid", 8, 1), ("B", "bid", 0, 0), ("A", "ask", 4, 0))


class Series:
    """Bars of one base length: starts, and a row of integers a bar."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.starts = array("q")
        self.rows = array("q")

    def add(self, times: Ints, rows: Ints) -> None:
        """Add rows (shape (prices, 13), each one price) at ascending ``times``."""
        bars = times - times % self.length
        firsts = np.flatnonzero(np.r_[True, bars[1:] != bars[:-1]])
        starts, made = bars[firsts], _grouped(rows, firsts)
        if self.starts and self.starts[-1] == starts[0]:
            last = np.array(self.rows[-_WIDTH:], dtype=np.int64)
            made[0] = _grouped(np.stack([last, made[0]]), np.array([0]))[0]
            del self.starts[-1:]
            del self.rows[-_WIDTH:]
        self.starts.extend(starts.tolist())
        self.rows.extend(made.ravel().tolist())

    def columns(self) -> tuple[Ints, Ints]:
        """Return copies: starts of shape (bars,) and rows of shape (bars, 13)."""
        starts = np.array(self.starts, dtype=np.int64)
        return starts, np.array(self.rows, dtype=np.int64).reshape(-1, _WIDTH)

    def forget_before(self, ns: int) -> None:
        """Drop bars that started before ``ns``."""
        gone = bisect_left(self.starts, ns)
        del self.starts[:gone]
        del self.rows[: gone * _WIDTH]


@dataclass(frozen=True)
class Query:
    """What is asked of one instrument. ``first`` and ``until`` are nanoseconds or None."""

    granularity: str
    sides: str
    alignment: Alignment
    first: int | None
    until: int | None
    count: int | None
    include_first: bool
    smooth: bool


class Candles:
    """The candles of one instrument."""

    def __init__(self, precision: int, past: "Past | None") -> None:
        self.precision = precision
        self._series = {name: Series(length) for name, length in BASES.items()}
        self._past = past
        self._past_rows: dict[str, tuple[Ints, Ints]] = {}
        self.last_tick_ns = 0
        self._new = array("q")

    def add(self, ns: int, bid: int, ask: int) -> None:
        """Add a price, in points. Prices are grouped when there are many, or when asked for."""
        self.last_tick_ns = ns
        self._new.extend((ns, bid, ask))
        if len(self._new) >= _MOST_UNGROUPED:
            self._group()

    def _group(self) -> None:
        if not self._new:
            return
        new = np.array(self._new, dtype=np.int64).reshape(-1, 3)
        self._new = array("q")
        bid, ask = new[:, 1], new[:, 2]
        rows = np.column_stack([*([bid] * 4), *([ask] * 4), *([bid + ask] * 4), np.ones_like(bid)])
        for series in self._series.values():
            series.add(new[:, 0], rows)
        self._series["S5"].forget_before(self.last_tick_ns - _SECONDS_KEPT)

    def select(self, query: Query, now_ns: int, complete_at: int) -> list[dict[str, Any]]:
        """Return the candles of ``query``; those that end by ``complete_at`` are complete."""
        self._group()
        starts, rows = self._base(query.granularity)
        keep = starts <= now_ns
        starts, rows = starts[keep], rows[keep]
        if not len(starts):
            return []
        bars = bar_starts(query.granularity, starts, query.alignment)
        first_rows = np.flatnonzero(np.r_[True, bars[1:] != bars[:-1]])
        bars = bars[first_rows]
        chosen = _chosen(bars, bar_ends(query.granularity, bars, query.alignment), query)
        made = _grouped(rows, first_rows)[chosen]
        ends = bar_ends(query.granularity, bars[chosen], query.alignment)
        if query.smooth and len(made) > 1:
            made[1:, [0, 4, 8]] = made[:-1, [3, 7, 11]]
        return [
            self._candle(int(start), int(end) <= complete_at, row.tolist(), query.sides)
            for start, end, row in zip(bars[chosen], ends, made, strict=True)
        ]

    def _base(self, granularity: str) -> tuple[Ints, Ints]:
        name = {"S": "S5", "M": "M1"}.get(granularity[0], "H1")
        name = "H1" if granularity == "M" else name
        starts, rows = self._series[name].columns()
        if self._past is not None and name != "S5":
            if name not in self._past_rows:
                self._past_rows.update(self._past.rows(self.precision))
            old_starts, old_rows = self._past_rows[name]
            if len(starts):
                before = old_starts < starts[0]
                old_starts, old_rows = old_starts[before], old_rows[before]
            starts, rows = np.r_[old_starts, starts], np.r_[old_rows, rows]
        return starts, rows

    def _candle(self, start: int, complete: bool, row: list[int], sides: str) -> dict[str, Any]:
        candle: dict[str, Any] = {"complete": complete, "volume": row[12], "time": rfc3339(start)}
        for letter, name, first, half in (
            ("M", "mid", 8, 1),
            ("B", "bid", 0, 0),
            ("A", "ask", 4, 0),
        ):
            if letter in sides:
                scale = 10**self.precision
                o, h, low, c = (
                    f"{_rounded(p, half) / scale:.{self.precision}f}"
                    for p in row[first : first + 4]
                )
                candle[name] = {"o": o, "h": h, "l": low, "c": c}
        return candle


def _rounded(points: int, half: int) -> int:
    """Return points; where they are a sum of bid and ask, half of it, ties to even."""
    if not half:
        return points
    down, odd = divmod(points, 2)
    return down + (odd and down % 2)


def _grouped(rows: Ints, firsts: Ints) -> Ints:
    """Return one row a bar from base rows; ``firsts`` are the indices of the bars' first rows."""
    lasts = np.r_[firsts[1:], len(rows)] - 1
    made = np.empty((len(firsts), _WIDTH), dtype=np.int64)
    for side in (0, 4, 8):
        made[:, side] = rows[firsts, side]
        made[:, side + 1] = np.maximum.reduceat(rows[:, side + 1], firsts)
        made[:, side + 2] = np.minimum.reduceat(rows[:, side + 2], firsts)
        made[:, side + 3] = rows[lasts, side + 3]
    made[:, 12] = np.add.reduceat(rows[:, 12], firsts)
    return made


def _chosen(starts: Ints, ends: Ints, query: Query) -> Ints:
    """Return the indices of the bars asked for."""
    keep = np.ones(len(starts), dtype=bool)
    if query.first is not None:
        keep &= ends > query.first if query.include_first else starts > query.first
    if query.until is not None:
        keep &= starts < query.until
    indices = np.flatnonzero(keep)
    if query.count is None:
        return indices
    return indices[: query.count] if query.first is not None else indices[-query.count :]


@dataclass(frozen=True)
class Past:
    """A generated past of one instrument before the first price.

    ``base`` and ``quote`` are what the currencies are worth at its end; ``spread`` is in points.
    """

    seed: int
    name: str
    base: float
    quote: float
    spread: int
    start_ns: int
    days: int
    annual_volatility: float

    def rows(self, precision: int) -> dict[str, tuple[Ints, Ints]]:
        """Return minutes (a week) and hours (``days``) that end before the first price."""
        end = self.start_ns - self.start_ns % BASES["H1"]
        week = max(end - _MINUTES_OF_PAST, end - self.days * DAY)
        minutes = self._open_starts(week, end, BASES["M1"])
        hours = self._open_starts(end - self.days * DAY, week, BASES["H1"])
        near = self._walk(len(minutes), 6, BASES["M1"], "near", (1.0, 1.0))
        far_end = (near[0][0, 0], near[1][0, 0]) if len(minutes) else (1.0, 1.0)
        far = self._walk(len(hours), 12, BASES["H1"], "far", far_end)
        minute_rows = self._bars(near, precision)
        hour_rows = self._bars(far, precision)
        starts = minutes - minutes % BASES["H1"]
        firsts = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]]) if len(starts) else starts
        near_hours = _grouped(minute_rows, firsts) if len(starts) else minute_rows
        return {
            "M1": (minutes, minute_rows),
            "H1": (np.r_[hours, starts[firsts]], np.r_[hour_rows, near_hours]),
        }

    def _open_starts(self, first: int, end: int, step: int) -> Ints:
        from mbats.market.session import FX

        starts = np.arange(first - first % step, end, step, dtype=np.int64)
        return (
            starts[FX.is_open((starts // 1000).view("datetime64[us]"))] if len(starts) else starts
        )

    def _walk(
        self, bars: int, inside: int, step: int, part: str, end: tuple[float, float]
    ) -> list[npt.NDArray[np.float64]]:
        """Return a walk of base and quote, each of shape (bars, inside), that ends at ``end``."""
        sigma = self.annual_volatility * np.sqrt(step / SECOND / inside / (260 * 86_400))
        made = []
        for currency, last in zip(self.name.split("_"), end, strict=True):
            key = int.from_bytes(f"{currency}{part}".encode()) + self.seed
            moves = np.random.default_rng(key).normal(0.0, sigma, bars * inside)
            if currency == "USD":
                moves[:] = 0.0
            path = np.cumsum(moves)
            path -= path[-1] if len(path) else 0.0
            made.append(np.exp(path).reshape(bars, inside) * last)
        return made

    def _bars(self, walk: list[npt.NDArray[np.float64]], precision: int) -> Ints:
        middle = walk[0] * self.base / (walk[1] * self.quote) * 10**precision
        bid = np.rint(middle - self.spread / 2).astype(np.int64)
        rows = np.empty((len(bid), _WIDTH), dtype=np.int64)
        for side, prices in ((0, bid), (4, bid + self.spread), (8, 2 * bid + self.spread)):
            if len(bid):
                rows[:, side] = prices[:, 0]
                rows[:, side + 1] = prices.max(axis=1)
                rows[:, side + 2] = prices.min(axis=1)
                rows[:, side + 3] = prices[:, -1]
        rows[:, 12] = bid.shape[1]
        return rows


def letters(sides: str) -> Iterator[str]:
    """Yield the letters of a ``price`` parameter that mean nothing."""
    return (letter for letter in sides if letter not in "MBA")
