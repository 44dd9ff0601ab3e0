"""17:00 in New York, the FX market's end of day, as arrays.

A trading day runs from one 17:00 to the next and is named by the date on which it closes. It lasts
24 hours, but 23 or 25 on the two Sundays a year when New York changes its clocks. The table of
closes is made once; a lookup is then integer arithmetic, with no search and no row loop.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from mbats.errors import DataError

Ints = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]

NEW_YORK = ZoneInfo("America/New_York")
CLOSE_HOUR = 17
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_FIRST = date(1980, 1, 1)
_LAST = date(2079, 12, 31)
# 17:00 New York is 21:00 UTC in summer and 22:00 in winter: no close is earlier than 21:00.
_EARLIEST_CLOSE = 21 * HOUR


@lru_cache(maxsize=1)
def closes() -> Ints:
    """Return 17:00 New York of each date from 1980 to 2079, microseconds since 1970 in UTC."""
    days = (_LAST - _FIRST).days + 1
    noon = datetime(_FIRST.year, 1, 1, CLOSE_HOUR, tzinfo=NEW_YORK)
    offsets = [cast(timedelta, (noon + timedelta(days=i)).utcoffset()) for i in range(days)]
    local = (_day_number(_FIRST) + np.arange(days)) * DAY + CLOSE_HOUR * HOUR
    table: Ints = local - np.array([round(o.total_seconds()) for o in offsets]) * SECOND
    table.flags.writeable = False
    return table


def day_index(times: Times) -> Ints:
    """Return for each instant the index in :func:`closes` of the last close at or before it.

    That close starts the instant's trading day; the next one ends it. Raises
    :class:`~mbats.errors.DataError` for missing times and times outside 1980 to 2079.
    """
    table = closes()
    micros = to_micros(times)
    if micros.size and (micros.min() < table[0] or micros.max() >= table[-1]):
        worst = micros.min() if micros.min() < table[0] else micros.max()
        shown = "a missing time" if worst == np.iinfo(np.int64).min else from_micros(worst)
        raise DataError(
            f"{shown} is not between {_FIRST.year} and {_LAST.year}.",
            mend="look for a wrong unit or a wrong column of times",
        )
    index = (micros - _EARLIEST_CLOSE) // DAY - _day_number(_FIRST)
    # The guess is one too many only between 21:00 and 22:00 UTC in winter.
    index -= micros < table[index]
    return index


def trading_dates(index: Ints) -> Times:
    """Return the dates, datetime64[D], on which the trading days that start at ``index`` close."""
    return (index + (_day_number(_FIRST) + 1)).astype("datetime64[D]")


def index_of_date(dates: Times) -> Ints:
    """Return the index of the close that starts the trading day named by each date."""
    return dates.astype("datetime64[D]").astype(np.int64) - (_day_number(_FIRST) + 1)


def to_micros(times: Times) -> Ints:
    """Return UTC instants (datetime64 of any unit) as microseconds since 1970."""
    return np.asarray(times).astype("datetime64[us]", copy=False).view(np.int64)


def from_micros(micros: Ints | int) -> Times:
    """Return microseconds since 1970 as datetime64[us]."""
    return np.asarray(micros, dtype=np.int64).view("datetime64[us]")


def instant(at: datetime) -> Times:
    """Return an aware datetime as a datetime64[us] array of no dimension, in UTC."""
    return np.asarray(in_utc(at).replace(tzinfo=None), dtype="datetime64[us]")


def in_utc(at: datetime) -> datetime:
    """Return an aware datetime in UTC. Raises :class:`~mbats.errors.DataError` for another."""
    if at.tzinfo is None:
        raise DataError(
            f"{at} has no time zone.", mend="pass an aware datetime, for example in UTC"
        )
    return at.astimezone(UTC)


def to_datetime(time: Times) -> datetime:
    """Return one instant as an aware datetime in UTC."""
    return cast(datetime, np.asarray(time).astype("datetime64[us]").item()).replace(tzinfo=UTC)


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days
