"""When the FX market trades, and the calendars that say which bars a series should have.

The week opens on Sunday and closes on Friday at 17:00 New York. Positions open at 17:00 pay or earn
financing (the rollover), three days of it on Wednesday because settlement skips the weekend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.granularity import Granularity
from mbats.market.newyork import HOUR, MINUTE, Ints, Times
from mbats.market.target import EcbCalendar

Flags = npt.NDArray[np.bool_]

# Days of financing charged at 17:00 New York, Monday to Sunday (OANDA's financingDaysOfWeek).
FINANCING_DAYS = (1, 1, 3, 1, 1, 0, 0)
# OANDA quotes nothing for some minutes around 17:00 New York: 16:59 to 17:05 on most pairs.
BREAK_BEFORE = 1 * MINUTE
BREAK_AFTER = 5 * MINUTE


class Calendar(Protocol):
    """Which bars a series should have."""

    name: str

    def expected_starts(
        self, granularity: str, start: datetime, end: datetime, *, optional: bool = False
    ) -> Times:
        """Return the starts in [start, end) of bars that should be there, ascending, UTC.

        With ``optional``, also of those that may be missing without being a gap. Raises
        :class:`~mbats.errors.DataError` for a granularity the calendar has not.
        """
        ...

    def aligned(self, granularity: str, starts: Times) -> Flags:
        """Say for each of ``starts`` whether a bar of the granularity can start there."""
        ...

    def bar_end(self, granularity: str, starts: Times) -> Times:
        """Return the end of each of the bars that start at ``starts``."""
        ...


@dataclass(frozen=True)
class Rollover:
    """A 17:00 New York at which open positions are financed for ``days`` days."""

    instant: datetime
    days: int


@dataclass(frozen=True)
class TradingDay:
    """From 17:00 New York to the next, named by the ``date`` it ends on; closed at weekends."""

    date: date
    is_open: bool


class FxCalendar:
    """The FX week: Sunday 17:00 to Friday 17:00 New York."""

    name = "fx"

    def is_open(self, times: Times) -> Flags:
        """Say for each instant whether the market is open. Holidays are not closures here."""
        return _weekday(newyork.trading_dates(newyork.day_index(times)))

    def trading_day(self, times: Times) -> Times:
        """Return for each instant the New York date of the next 17:00, datetime64[D].

        17:00 itself belongs to the day it opens. Weekend instants get Saturday or Sunday.
        """
        return newyork.trading_dates(newyork.day_index(times))

    def day_of(self, at: datetime) -> "TradingDay":
        """Return the trading day of the aware datetime ``at``; quick, for one that asks often."""
        # Days begin and end on whole hours of UTC: 17:00 New York is 21:00 or 22:00.
        return _day_of_hour(newyork.in_utc(at).replace(minute=0, second=0, microsecond=0))

    def holiday(self, times: Times) -> Flags:
        """Say for each instant whether its trading day is Christmas Day or New Year's Day.

        Vendors have few quotes or none then, so these sessions are optional.
        """
        return _holiday(self.trading_day(times))

    def expected_starts(
        self, granularity: str, start: datetime, end: datetime, *, optional: bool = False
    ) -> Times:
        """Return the starts of the bars of open hours; see :class:`Calendar`.

        Optional are Christmas Day, New Year's Day and bars that lie wholly in the daily break.
        """
        bar = Granularity.parse(granularity)
        starts = bar.starts(newyork.instant(start), newyork.instant(end))
        if bar in (Granularity.W, Granularity.M) or not len(starts):
            return starts
        starts = starts[self.is_open(starts)]
        if optional or not len(starts):
            return starts
        return starts[~(self.holiday(starts) | _in_break(bar, starts))]

    def aligned(self, granularity: str, starts: Times) -> Flags:
        """Say for each of ``starts`` whether it is the start of its bar."""
        return cast(Flags, Granularity.parse(granularity).bar_start(starts) == starts)

    def bar_end(self, granularity: str, starts: Times) -> Times:
        """Return the end of each of the bars that start at ``starts``."""
        return Granularity.parse(granularity).bar_end(starts)

    def rollovers(
        self, start: datetime, end: datetime, days: Sequence[int] = FINANCING_DAYS
    ) -> list[Rollover]:
        """Return the rollovers in (start, end] that charge at least one day, ascending.

        ``days`` are the days charged on Monday to Sunday, as the broker gives them.
        """
        low, high = newyork.day_index(np.stack([newyork.instant(start), newyork.instant(end)]))
        charged = _charged(days)
        return [
            Rollover(newyork.to_datetime(newyork.from_micros(newyork.closes()[i])), int(charged[i]))
            for i in range(int(low) + 1, int(high) + 1)
            if charged[i]
        ]

    def financing_days(
        self, start: Times, end: Times, days: Sequence[int] = FINANCING_DAYS
    ) -> Ints:
        """Return the days of financing charged in (start, end], for arrays of one shape."""
        total = np.cumsum(_charged(days))
        return cast(Ints, total[newyork.day_index(end)] - total[newyork.day_index(start)])

    def next_open(self, at: datetime) -> datetime:
        """Return the first opening of the week after ``at``: a Sunday 17:00 New York, in UTC."""
        return self._next(at, opens=True)

    def next_close(self, at: datetime) -> datetime:
        """Return the first close of the week after ``at``: a Friday 17:00 New York, in UTC."""
        return self._next(at, opens=False)

    def _next(self, at: datetime, *, opens: bool) -> datetime:
        first = int(newyork.day_index(newyork.instant(at))) + 1
        days = np.arange(first, first + 7)
        turns = (_weekday(newyork.trading_dates(days)) == opens) & (
            _weekday(newyork.trading_dates(days - 1)) != opens
        )
        close = newyork.closes()[days[int(np.argmax(turns))]]
        return newyork.to_datetime(newyork.from_micros(close))


FX = FxCalendar()
ECB = EcbCalendar()
_CALENDARS: dict[str, Calendar] = {FX.name: FX, ECB.name: ECB}


def calendar(name: str) -> Calendar:
    """Return the calendar called ``name``. Raises :class:`DataError` that lists those there are."""
    if name not in _CALENDARS:
        raise DataError(
            f"There is no calendar {name!r}.", tried=list(_CALENDARS), mend="use one of these"
        )
    return _CALENDARS[name]


@lru_cache(maxsize=64)
def _day_of_hour(hour: datetime) -> TradingDay:
    at = newyork.instant(hour)
    return TradingDay(cast(date, FX.trading_day(at).item()), bool(FX.is_open(at)))


def _weekday(dates: Times) -> Flags:
    return (dates.astype(np.int64) + 3) % 7 < 5  # 1970-01-01 was a Thursday


def _charged(days: Sequence[int]) -> Ints:
    """Return the days charged at each close in :func:`newyork.closes`."""
    starts = newyork.trading_dates(np.arange(len(newyork.closes()))).astype(np.int64) - 1
    return np.asarray(days, dtype=np.int64)[(starts + 3) % 7]


def _holiday(dates: Times) -> Flags:
    months = dates.astype("datetime64[M]")
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    return cast(Flags, ((month == 12) & (day == 25)) | ((month == 1) & (day == 1)))


def _in_break(bar: Granularity, starts: Times) -> Flags:
    """Say whether each bar lies wholly between 16:59 and 17:05 New York."""
    length = bar.micros
    if length is None or length >= HOUR:
        return np.zeros(starts.shape, dtype=np.bool_)
    micros = newyork.to_micros(starts)
    index = newyork.day_index(starts)
    after = micros + length <= newyork.closes()[index] + BREAK_AFTER
    before = micros >= newyork.closes()[index + 1] - BREAK_BEFORE
    return after | before
