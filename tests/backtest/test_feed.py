from datetime import UTC, datetime

import backtrader as bt
import numpy as np
import pytest
from backtrader.utils.date import date2num
from hypothesis import given
from hypothesis import strategies as st

from mbats.backtest.feed import NumpyFeed, frame, to_nums
from mbats.errors import DataError
from mbats.market.bars import Bars
from mbats.trading.conversion import StepRate
from tests.backtest.synthetic import DAY, bars_of, eur_usd, run, usd_jpy, walk

# Open, high, low and close that cannot be taken for one another (seed defect D1).
UNEQUAL = [(1.10, 1.16, 1.03, 1.12), (1.21, 1.29, 1.17, 1.24), (1.31, 1.38, 1.30, 1.33)]


class Seen(bt.Strategy):
    def __init__(self):
        self.rows = []

    def next(self):
        d = self.data
        self.rows.append((d.open[0], d.high[0], d.low[0], d.close[0], d.datetime.datetime()))


@pytest.mark.parametrize("modes", [{}, {"runonce": False}, {"preload": False, "runonce": False}])
def test_prices_reach_the_strategy_under_their_own_names(modes):
    cerebro = bt.Cerebro(stdstats=False, **modes)
    cerebro.adddata(NumpyFeed(dataname=bars_of(UNEQUAL), name="EUR_USD"))
    cerebro.addstrategy(Seen)
    rows = cerebro.run()[0].rows
    assert [row[:4] for row in rows] == UNEQUAL
    assert [row[4] for row in rows] == [datetime(2024, 1, 2, 0, m) for m in (1, 2, 3)]


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda d: d.replace(microsecond=0))
)
def test_float_days_are_backtraders_own(time):
    assert to_nums(np.array([time], dtype="datetime64[us]"))[0] == date2num(time)


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("S5", (bt.TimeFrame.Seconds, 5)),
        ("M1", (bt.TimeFrame.Minutes, 1)),
        ("H4", (bt.TimeFrame.Minutes, 240)),
        ("D", (bt.TimeFrame.Days, 1)),
        ("M", (bt.TimeFrame.Months, 1)),
    ],
)
def test_granularities_have_backtraders_timeframe(granularity, expected):
    assert frame(granularity) == expected


def test_bid_and_ask_surround_mid_by_the_typical_half_spread():
    feed = NumpyFeed(dataname=bars_of(UNEQUAL), half_spread=0.01)
    assert feed.side(True).open.tolist() == pytest.approx([1.11, 1.22, 1.32])
    assert feed.side(False).low.tolist() == pytest.approx([1.02, 1.16, 1.29])


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_no_price_is_refused_by_name_and_time(price):
    rows = [(1.0, 1.0, 1.0, 1.0), (1.0, price, 1.0, 1.0)]
    with pytest.raises(DataError, match="EUR_USD at 2024-01-02T00:01"):
        NumpyFeed(dataname=bars_of(rows))


def test_bars_that_overlap_are_refused():
    good = bars_of(UNEQUAL)
    late = Bars(**{**vars(good), "end": good.end + np.timedelta64(1, "us")})
    with pytest.raises(DataError, match="begins before its predecessor ends"):
        NumpyFeed(dataname=late)


class Clocked(bt.Strategy):
    """Notes, at every step, the newest bar of each feed."""

    rows: list

    def __init__(self):
        Clocked.rows = []

    def prenext(self):
        self.next()

    def next(self):
        now = self.datetime.datetime()
        self.rows.append((now, [d.close[0] if len(d) else None for d in self.datas]))


def test_a_daily_bar_is_never_seen_before_its_end_beside_minutes():
    minutes = walk(3 * 1440, seed=3)
    closes = minutes.mid.close
    daily = bars_of(
        [(1.0, 9.0, 1.0, float(closes[1440 * (d + 1) - 1])) for d in range(3)],
        granularity="D",
        step=DAY,
    )
    run(Clocked, [daily, minutes])
    assert len(Clocked.rows) == 3 * 1440
    for index, (now, (day, minute)) in enumerate(Clocked.rows):
        whole_days = (now - datetime(2024, 1, 2)).days
        assert minute == closes[index]
        assert day == (None if not whole_days else closes[1440 * whole_days - 1])


def test_feeds_with_holes_keep_their_own_clock():
    full = walk(50, seed=1)
    some = np.array([0, 1, 4, 20, 21, 49])
    holed = walk(50, seed=2, instrument="USD_JPY", level=150.0, tick=1e-3)
    holed = Bars(
        "USD_JPY", "M1", "test", holed.start[some], holed.end[some],
        type(holed.mid)(*(part[some] for part in holed.mid)),
    )  # fmt: skip
    rate = StepRate(full.end[:1], np.array([1 / 150]), ("USD_JPY",))
    run(Clocked, [full, holed], [eur_usd(), usd_jpy()], {"JPY": rate})
    expected = [holed.mid.close[np.searchsorted(some, i, side="right") - 1] for i in range(50)]
    assert [row[1][1] for row in Clocked.rows] == expected


def test_times_of_the_run_row_are_aware_utc():
    result = run(Clocked, walk(10))
    assert result.run["data_start"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert result.run["data_end"].tzinfo is not None
