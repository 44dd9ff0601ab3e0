"""Bar lengths: where each bar starts and ends, aligned as OANDA aligns its candles.

Up to one hour bars divide the UTC hour. From two hours to a day they are counted from 17:00 New
York (``dailyAlignment=17``); a week starts on Friday at 17:00 (``weeklyAlignment=Friday``), a month
with the trading day dated the first. On the two Sundays a year that have 23 or 25 hours the
day's last bar is an hour shorter or longer; the market is closed then.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import cast

import numpy as np

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.newyork import DAY, HOUR, MINUTE, SECOND, Ints, Times

_UNITS = {"S": SECOND, "M": MINUTE, "H": HOUR}
_FRIDAY = 4


class Granularity(StrEnum):
    """A bar length. There is no M3: OANDA has none."""

    S5 = "S5"
    S10 = "S10"
    S15 = "S15"
    S30 = "S30"
    M1 = "M1"
    M2 = "M2"
    M4 = "M4"
    M5 = "M5"
    M10 = "M10"
    M15 = "M15"
    M30 = "M30"
    H1 = "H1"
    H2 = "H2"
    H3 = "H3"
    H4 = "H4"
    H6 = "H6"
    H8 = "H8"
    H12 = "H12"
    D = "D"
    W = "W"
    M = "M"

    @classmethod
    def parse(cls, text: str) -> "Granularity":
        """Return the granularity called ``text``; :class:`DataError` lists those there are."""
        try:
            return cls(text.strip().upper())
        except ValueError:
            raise DataError(
                f"{text!r} is not a granularity.",
                tried=[", ".join(cls)],
                mend="use one of these, for example M1 for a minute or D for a day",
            ) from None

    @property
    def micros(self) -> int | None:
        """Length in microseconds; None for a week and a month. A day is 23 to 25 hours long."""
        if self is Granularity.D:
            return DAY
        digits = self.value[1:]
        return int(digits) * _UNITS[self.value[0]] if digits else None

    @property
    def intraday(self) -> bool:
        """Whether it is shorter than a day."""
        return len(self.value) > 1

    def bar_start(self, times: Times) -> Times:
        """Return the start of the bar that each instant is in; UTC datetime64[us], same shape."""
        micros = newyork.to_micros(times)
        if self._divides_hour:
            step = cast(int, self.micros)
            if micros.size and micros.min() == np.iinfo(np.int64).min:
                raise DataError("A time is missing (NaT): it is in no bar.")
            return newyork.from_micros(micros - micros % step)
        index = newyork.day_index(times)
        if self.intraday:
            day, into, _ = self._within_day(micros, index)
            return newyork.from_micros(day + into)
        return newyork.from_micros(newyork.closes()[self._first_day(index)])

    def bar_end(self, starts: Times) -> Times:
        """Return the end of each bar, which is the start of the next. ``starts`` are bar starts."""
        micros = newyork.to_micros(starts)
        length = self.micros
        if self._divides_hour:
            return newyork.from_micros(micros + cast(int, length))
        table = newyork.closes()
        index = newyork.day_index(starts)
        if self.intraday:
            day, into, last = self._within_day(micros, index)
            ends = day + into + cast(int, length)
            return newyork.from_micros(np.where(last, table[index + 1], ends))
        return newyork.from_micros(table[self._next_first_day(index)])

    def span_of(self, at: datetime) -> tuple[datetime, datetime]:
        """Return start and end of the bar that the aware datetime ``at`` is in, in UTC.

        The same as :meth:`bar_start` and :meth:`bar_end` of one instant, at a hundredth of the
        cost: a live bot asks with every bar.
        """
        utc = newyork.in_utc(at)
        hour = utc.replace(minute=0, second=0, microsecond=0)
        step = _STEPS_OF_AN_HOUR.get(self)
        if step is None:
            return _span_of_hour(self, hour)
        start = utc - (utc - hour) % step
        return start, start + step

    def start_of(self, at: datetime) -> datetime:
        """Return the start of the bar that the aware datetime ``at`` is in, in UTC."""
        return self.span_of(at)[0]

    def end_of(self, at: datetime) -> datetime:
        """Return the end of the bar that the aware datetime ``at`` is in, in UTC."""
        return self.span_of(at)[1]

    def starts(self, start: Times, end: Times) -> Times:
        """Return the starts of all bars in [start, end), ascending, open market or not."""
        first, last = int(newyork.to_micros(start)), int(newyork.to_micros(end))
        if last <= first:
            return np.empty(0, dtype="datetime64[us]")
        if self._divides_hour:
            step = cast(int, self.micros)
            return newyork.from_micros(np.arange(-(-first // step) * step, last, step))
        table = newyork.closes()
        low, high = newyork.day_index(np.stack([start, end]))
        days = np.arange(low, high + 1)
        if self.intraday:
            step = cast(int, self.micros)
            micros = (table[days][:, None] + np.arange(0, DAY, step)).ravel()
        else:
            micros = table[np.unique(self._first_day(days))]
        return newyork.from_micros(micros[(micros >= first) & (micros < last)])

    @property
    def _divides_hour(self) -> bool:
        return self.intraday and cast(int, self.micros) <= HOUR

    def _within_day(self, micros: Ints, index: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the day's start, the bar's distance from it, and whether it is the day's last."""
        step = cast(int, self.micros)
        day = newyork.closes()[index]
        number = np.minimum((micros - day) // step, DAY // step - 1)
        return day, number * step, number == DAY // step - 1

    def _first_day(self, index: Ints) -> Ints:
        return _CALENDAR_FIRST[self]()[index]

    def _next_first_day(self, index: Ints) -> Ints:
        firsts = _CALENDAR_FIRST[self]()
        return np.searchsorted(firsts, firsts[index], side="right")


_STEPS_OF_AN_HOUR = {
    each: timedelta(microseconds=cast(int, each.micros))
    for each in Granularity
    if each._divides_hour
}


@lru_cache(maxsize=256)
def _span_of_hour(granularity: Granularity, hour: datetime) -> tuple[datetime, datetime]:
    """Return the bar that a whole hour is in, for bars that begin and end on whole hours."""
    start = granularity.bar_start(newyork.instant(hour))
    return newyork.to_datetime(start), newyork.to_datetime(granularity.bar_end(start))


@lru_cache(maxsize=1)
def _same_day() -> Ints:
    return np.arange(len(newyork.closes()))


@lru_cache(maxsize=1)
def _first_of_week() -> Ints:
    """Return for each day in the table the day whose start is the last Friday's close."""
    days = _same_day()
    closing = newyork.trading_dates(days).astype(np.int64)  # 1970-01-01 was a Thursday
    weekday_of_start = (closing - 1 + 3) % 7
    return cast(Ints, np.maximum(days - (weekday_of_start - _FRIDAY) % 7, 0))


@lru_cache(maxsize=1)
def _first_of_month() -> Ints:
    """Return for each day in the table the trading day dated the first of its month."""
    days = _same_day()
    dates = newyork.trading_dates(days)
    into_month = (dates - dates.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    return cast(Ints, np.maximum(days - into_month, 0))


_CALENDAR_FIRST: dict[Granularity, Callable[[], Ints]] = {
    Granularity.D: _same_day,
    Granularity.W: _first_of_week,
    Granularity.M: _first_of_month,
}
