"""Ticks to one-minute bars: `mbats.market.aggregate` against pandas `resample`, in one process.

Both start from the same arrays in memory (time, bid, ask) and end with bid, ask and mid OHLC and
the number of ticks; the bars are compared before anything is timed. Run it with
`.venv/bin/python benchmarks/aggregate.py [ticks] [granularity]`, with S5 to H1: pandas has
no days from 17:00 New York.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from mbats.market.aggregate import aggregate
from mbats.market.bars import PARTS, SIDES, Bars
from mbats.market.granularity import Granularity
from mbats.market.tick import Ticks

INSTRUMENTS = (
    "EUR_USD", "USD_JPY", "GBP_USD", "AUD_USD", "NZD_USD", "USD_CAD", "USD_CHF", "EUR_JPY",
)  # fmt: skip
ROUNDS = 5
FIRST = np.datetime64("2026-03-01T22:00", "us")
WEEK = 5 * 24 * 3600 * 1_000_000


def make_ticks(instrument: str, count: int, rng: np.random.Generator) -> Ticks:
    """Return a trading week of ticks: a random walk with whole points, times ascending."""
    since = np.sort(rng.integers(0, WEEK, count)).astype("timedelta64[us]")
    bid = np.round(1.1 + np.cumsum(rng.normal(0, 1e-5, count)), 5)
    ask = np.round(bid + rng.integers(5, 20, count) * 1e-5, 5)
    return Ticks(instrument, FIRST + since, bid, ask, np.ones(count, dtype=np.bool_))


def with_pandas(ticks: Ticks, rule: str) -> pd.DataFrame:
    index = pd.DatetimeIndex(ticks.time)
    sides = {"bid": ticks.bid, "ask": ticks.ask, "mid": (ticks.bid + ticks.ask) * 0.5}
    frame = pd.DataFrame(sides, index=index, copy=False)
    resampled = frame.resample(rule)
    bars = resampled.ohlc()
    count = ("volume", "count")
    bars[count] = resampled["bid"].count()
    return bars[bars[count] > 0]


def assert_equal(mine: Bars, theirs: pd.DataFrame) -> None:
    assert (mine.start == theirs.index.to_numpy()).all()
    assert mine.volume is not None
    assert (mine.volume == theirs["volume", "count"].to_numpy()).all()
    for side in SIDES:
        for part in PARTS:
            ours = getattr(getattr(mine, side), part)
            assert (ours == theirs[side, part].to_numpy()).all(), (side, part)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    granularity = Granularity.parse(sys.argv[2] if len(sys.argv) > 2 else "M1")
    rule = f"{granularity.micros}us"
    rng = np.random.default_rng(20260301)
    books = [make_ticks(name, count // len(INSTRUMENTS), rng) for name in INSTRUMENTS]
    for book in books:
        assert_equal(aggregate(book, granularity, "bench"), with_pandas(book, rule))
    contestants: dict[str, Callable[[], object]] = {
        "mbats aggregate": lambda: [aggregate(book, granularity, "bench") for book in books],
        "pandas resample": lambda: [with_pandas(book, rule) for book in books],
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):  # round-robin, so that a noisy spell hits both
        for name, work in contestants.items():
            seconds[name].append(timed(work))
    total = sum(map(len, books))
    base = float(np.median(seconds["pandas resample"]))
    print(f"{total:,} ticks, {len(books)} instruments, {granularity}; median of {ROUNDS} rounds")
    for name, values in seconds.items():
        median = float(np.median(values))
        print(f"  {name:16} {total / median / 1e6:7.1f} Mticks/s   x {base / median:.1f}")


if __name__ == "__main__":
    main()
