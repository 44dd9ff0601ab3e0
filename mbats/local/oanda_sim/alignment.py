"""Where candles start under the alignment a request asks for.

OANDA's default (17:00 New York, weeks from Friday) is that of :mod:`mbats.market.granularity`;
another alignment is counted here, from its own local hour and weekday.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from mbats.local.oanda_sim.times import MICRO, SECOND
from mbats.market.granularity import Granularity

Ints = npt.NDArray[np.int64]
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOUR = 3600 * SECOND


@dataclass(frozen=True)
class Alignment:
    """Local hour at which days start, its time zone, and the weekday on which weeks start."""

    hour: int = 17
    zone: str = "America/New_York"
    weekday: str = "Friday"


OANDA = Alignment()


def bar_starts(granularity: str, times: Ints, alignment: Alignment) -> Ints:
    """Return the start of the bar that each instant is in, nanoseconds, same shape."""
    bar = Granularity(granularity)
    if alignment == OANDA or (bar.intraday and bar.micros is not None and bar.micros <= 3.6e9):
        return _nanos(bar.bar_start(_times(times)))
    found = [_start(bar, int(ns), alignment) for ns in times]
    return np.array(found, dtype=np.int64)


def bar_ends(granularity: str, starts: Ints, alignment: Alignment) -> Ints:
    """Return the end of each bar, nanoseconds. ``starts`` are bar starts."""
    bar = Granularity(granularity)
    if alignment == OANDA or (bar.intraday and bar.micros is not None and bar.micros <= 3.6e9):
        return _nanos(bar.bar_end(_times(starts)))
    return np.array([_end(bar, int(ns), alignment) for ns in starts], dtype=np.int64)


def _times(ns: Ints) -> npt.NDArray[np.datetime64]:
    return (ns // MICRO).view("datetime64[us]")


def _nanos(times: npt.NDArray[np.datetime64]) -> Ints:
    return times.astype("datetime64[us]").view(np.int64) * MICRO


@lru_cache(maxsize=4096)
def _start(bar: Granularity, ns: int, alignment: Alignment) -> int:
    local = datetime.fromtimestamp(ns / SECOND, ZoneInfo(alignment.zone))
    day = (local - timedelta(hours=alignment.hour)).replace(tzinfo=None)
    day = day.replace(hour=0, minute=0, second=0, microsecond=0)
    if bar is Granularity.W:
        back = (day.weekday() - WEEKDAYS.index(alignment.weekday)) % 7
        return _instant(day - timedelta(days=back), alignment)
    if bar is Granularity.M:
        return _instant(day.replace(day=1), alignment)
    start = _instant(day, alignment)
    if bar is Granularity.D:
        return start
    length = (bar.micros or 0) * MICRO
    return start + (ns - start) // length * length


def _end(bar: Granularity, start: int, alignment: Alignment) -> int:
    longest = {Granularity.D: 26, Granularity.W: 8 * 24, Granularity.M: 32 * 24}
    if bar not in longest:
        after_day = _start(Granularity.D, start, alignment)
        after_day = _start(Granularity.D, after_day + 26 * _HOUR, alignment)
        return min(start + (bar.micros or 0) * MICRO, after_day)
    return _start(bar, start + longest[bar] * _HOUR, alignment)


def _instant(day: datetime, alignment: Alignment) -> int:
    at = (day + timedelta(hours=alignment.hour)).replace(tzinfo=ZoneInfo(alignment.zone))
    return int(at.astimezone(UTC).timestamp()) * SECOND
