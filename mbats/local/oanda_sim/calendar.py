"""When OANDA quotes FX, and when its day ends, in nanoseconds.

The week and the daily break are those of :mod:`mbats.market.session`; this is their scalar form,
one bisection in the table of 17:00 New York, because it is asked at every step of the clock.
"""

from bisect import bisect_right
from functools import lru_cache

from mbats.local.oanda_sim.times import MICRO
from mbats.market import newyork
from mbats.market.session import BREAK_AFTER, BREAK_BEFORE

_SATURDAY, _SUNDAY = 5, 6


@lru_cache(maxsize=1)
def _table() -> tuple[list[int], int]:
    """Return every 17:00 New York and the weekday (Monday 0) of the first."""
    closes = newyork.closes()
    first = newyork.trading_dates(newyork.index_of_date(newyork.from_micros(0)))
    weekday_of_index_0 = (3 - int(newyork.index_of_date(first)) - 1) % 7
    return [int(close) * MICRO for close in closes], weekday_of_index_0


def next_rollover(ns: int) -> int:
    """Return the first 17:00 New York after ``ns``."""
    closes, _ = _table()
    return closes[bisect_right(closes, ns)]


def weekday_of_rollover(ns: int) -> int:
    """Return the New York weekday (Monday 0) of the last 17:00 at or before ``ns``."""
    closes, weekday = _table()
    return (weekday + bisect_right(closes, ns) - 1) % 7


def market_open(ns: int) -> bool:
    """Whether the FX week is open: the trading day that ``ns`` is in closes on a weekday."""
    closes, weekday = _table()
    return (weekday + bisect_right(closes, ns)) % 7 not in (_SATURDAY, _SUNDAY)


def quoting(ns: int, daily_break: bool) -> bool:
    """Whether prices come at ``ns``: the week is open and it is not the daily break."""
    if not market_open(ns):
        return False
    if not daily_break:
        return True
    closes, _ = _table()
    index = bisect_right(closes, ns)
    since, until = ns - closes[index - 1], closes[index] - ns
    return since >= BREAK_AFTER * MICRO and until > BREAK_BEFORE * MICRO


def next_quoting(ns: int, daily_break: bool) -> int:
    """Return ``ns`` itself while prices come, else when they come again."""
    while not quoting(ns, daily_break):
        closes, _ = _table()
        resumed = closes[bisect_right(closes, ns) - 1] + BREAK_AFTER * MICRO
        if daily_break and ns < resumed and market_open(ns):
            return resumed
        ns = next_rollover(ns)
    return ns
