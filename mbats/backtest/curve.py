"""The equity curve as arrays: trading days, returns, drawdowns.

A trading day ends at 17:00 New York, as foreign exchange does; a net asset value stamped exactly
17:00 New York belongs to the day that ends there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mbats.market.newyork import day_index, instant, to_datetime, trading_dates

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

TRADING_DAYS_A_YEAR = 252
"""Annualises daily figures; the convention of most reports, though FX has about 258 days."""

_INSTANT = np.timedelta64(1, "us")
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Drawdown:
    """One fall below the highest net asset value so far, from that peak to its recovery."""

    peak: datetime
    trough: datetime
    recovery: datetime | None
    """When the peak was reached again; None where the curve ends under water."""
    fraction: float | None
    """Deepest fall over the peak; None where the peak is not above zero."""
    amount: float
    days: float
    """From the peak to the recovery, or to the end of the curve."""


@dataclass(frozen=True)
class Curve:
    """Net asset value in time; the first point is the starting cash, before the first bar.

    ``time`` is datetime64[us] in UTC, ``nav`` account currency, both of shape (points,).
    """

    time: Times
    nav: Floats

    def __len__(self) -> int:
        return len(self.nav)

    @property
    def years(self) -> float:
        """Length in calendar years of 365.25 days."""
        if not len(self):
            return 0.0
        return float((self.time[-1] - self.time[0]) / _INSTANT) / _DAY_US / 365.25

    def daily(self) -> tuple[Times, Floats]:
        """Return the trading days, datetime64[D], and the last net asset value of each."""
        days = trading_day(self.time[1:])
        if not len(days):
            return days, self.nav[1:]
        last = np.flatnonzero(np.append(days[1:] != days[:-1], True))
        return days[last], self.nav[1:][last]

    def daily_returns(self) -> tuple[Times, Floats]:
        """Return the trading days and the return of each over the one before, fractions.

        The first is over the starting cash. Empty where a net asset value is zero or below:
        a return on nothing has no meaning.
        """
        days, closing = self.daily()
        return _returns(days, closing, self.nav[:1])

    def period_returns(self, period: str) -> tuple[Times, Floats]:
        """Return the months (``M``) or years (``Y``) of the curve and the return of each."""
        days, closing = self.daily()
        periods = days.astype(f"datetime64[{period}]")
        if not len(days):
            return periods, closing
        last = np.flatnonzero(np.append(periods[1:] != periods[:-1], True))
        return _returns(periods[last], closing[last], self.nav[:1])

    def drawdown_amounts(self) -> Floats:
        """Return the fall from the highest net asset value so far, at every point, positive."""
        peaks: Floats = np.maximum.accumulate(self.nav) if len(self) else self.nav
        return peaks - self.nav

    def drawdowns(self) -> list[Drawdown]:
        """Return every drawdown, the deepest first (by fraction, else by amount)."""
        falls = self.drawdown_amounts()
        under = falls > 0
        if not under.any():
            return []
        edges = np.diff(under.astype(np.int8), prepend=0, append=0)
        first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        found = [self._drawdown(falls, int(a), int(b)) for a, b in zip(first, after, strict=True)]
        return sorted(found, key=lambda d: (-(d.fraction or 0.0), -d.amount, d.peak))

    def _drawdown(self, falls: Floats, first: int, after: int) -> Drawdown:
        recovered = after < len(self)
        trough = first + int(np.argmax(falls[first:after]))
        peak = float(self.nav[first - 1])
        end = self.time[after if recovered else after - 1]
        return Drawdown(
            peak=to_datetime(self.time[first - 1]),
            trough=to_datetime(self.time[trough]),
            recovery=to_datetime(end) if recovered else None,
            fraction=float(falls[trough]) / peak if peak > 0 else None,
            amount=float(falls[trough]),
            days=float((end - self.time[first - 1]) / _INSTANT) / _DAY_US,
        )


def curve_of(run: Mapping[str, Any], equity: pa.Table) -> Curve:
    """Return the curve of a run from its row of ``risk.run`` and its ``risk.equity``.

    The first point is ``starting_cash`` at ``data_start``; without cash (a live session), the
    first row's net asset value. A ``data_start`` that is missing or later than the first row
    gives way to the first row's time.
    """
    equity = equity.sort_by("time")
    time, nav = times(equity, "time"), amounts(equity, "net_asset_value")
    if not len(time):
        return Curve(time, nav)
    began = run.get("data_start")
    start = min(time[0], instant(began)) if began else time[0]
    cash = run.get("starting_cash")
    opening = nav[0] if cash is None else float(cash)
    return Curve(np.append(np.array([start], time.dtype), time), np.append([opening], nav))


def trading_day(time: Times) -> Times:
    """Return the New York trading day, datetime64[D], of each UTC instant that ends a bar."""
    return trading_dates(day_index(time - _INSTANT))


def amounts(table: pa.Table, column: str) -> Floats:
    """Return a numeric column as float64, nulls as NaN: for figures and charts, not for books."""
    values: Floats = table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)


def times(table: pa.Table, column: str) -> Times:
    """Return a TIMESTAMP column as datetime64[us], UTC."""
    values: Times = table.column(column).cast(pa.timestamp("us")).to_numpy()
    return values


def _returns(labels: Times, closing: Floats, opening: Floats) -> tuple[Times, Floats]:
    base = np.append(opening, closing)
    if np.any(base <= 0):
        return labels[:0], closing[:0]
    return labels, base[1:] / base[:-1] - 1
