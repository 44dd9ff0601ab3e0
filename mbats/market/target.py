"""The calendar of the ECB's reference rates: one fixing each TARGET business day.

A bar runs from one publication of the rates to the next, so that nothing in it is known before its
end. The days come from the ``holidays`` package; they equal the days of the real series, from its
first on 1999-01-04, without exception, the extra closing days of 1999 and 2001 included.
"""

from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.newyork import Times

FRANKFURT = ZoneInfo("Europe/Berlin")
# The rates are fixed at about 14:10 and published at about 16:00 Frankfurt time.
PUBLISHED = time(16, 0)
FIRST_FIXING = date(1999, 1, 4)
_LAST_YEAR = 2079


@lru_cache(maxsize=1)
def fixing_dates() -> Times:
    """Return every fixing date from 1999-01-04 to 2079, datetime64[D], ascending."""
    import holidays  # half a second, and few ask for ECB days

    closed = holidays.financial_holidays("ECB", years=range(FIRST_FIXING.year, _LAST_YEAR + 1))
    days = np.arange(np.datetime64(FIRST_FIXING), np.datetime64(f"{_LAST_YEAR + 1}-01-01"))
    dates = days[np.is_busday(days, holidays=np.array(sorted(closed), dtype="datetime64[D]"))]
    dates.flags.writeable = False
    return cast(Times, dates)


def published_at(dates: Times) -> Times:
    """Return when the rates of each date became public: 16:00 Frankfurt, datetime64[us] in UTC."""
    stamps = [
        datetime.combine(day, PUBLISHED, FRANKFURT).astimezone(UTC).replace(tzinfo=None)
        for day in cast(list[date], dates.astype("datetime64[D]").tolist())
    ]
    return np.array(stamps, dtype="datetime64[us]")


@lru_cache(maxsize=1)
def _publications() -> Times:
    times = published_at(fixing_dates())
    times.flags.writeable = False
    return times


class EcbCalendar:
    """Days of the ECB's fixings: the bar of a fixing starts when the one before was published."""

    name = "ecb"

    def expected_starts(
        self, granularity: str, start: datetime, end: datetime, *, optional: bool = False
    ) -> Times:
        """Return the starts in [start, end) of daily bars; no session is optional."""
        _only_daily(granularity)
        times = _publications()
        low, high = np.searchsorted(times, np.stack([newyork.instant(start), newyork.instant(end)]))
        return times[low:high]

    def aligned(self, granularity: str, starts: Times) -> npt.NDArray[np.bool_]:
        """Say for each of ``starts`` whether rates were published then."""
        _only_daily(granularity)
        return np.isin(starts, _publications())

    def bar_end(self, granularity: str, starts: Times) -> Times:
        """Return the end of each bar: the next publication."""
        _only_daily(granularity)
        return _publications()[np.searchsorted(_publications(), starts, side="right")]


def _only_daily(granularity: str) -> None:
    if granularity != "D":
        raise DataError(
            f"The ECB's reference rates have no bars of {granularity}.",
            tried=["D"],
            mend="ask for granularity D, or another vendor",
        )
