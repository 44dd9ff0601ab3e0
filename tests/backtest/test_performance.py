import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import quantstats.stats as peer
from backtrader.mathsupport import average, standarddev
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import CASH, PAIRS, synthetic_run

from mbats import schemas
from mbats.backtest.curve import curve_of, trading_day
from mbats.backtest.performance import performance_table

SCHEMA = schemas.table("risk", "performance").arrow
NUMERIC = pa.decimal128(38, 9)


def rows(result):
    table = performance_table(result.run, result.tables)
    assert table.schema == SCHEMA
    found = {row["instrument"]: row for row in table.to_pylist()}
    for row in found.values():
        for name, value in row.items():
            assert not isinstance(value, float) or math.isfinite(value), name
    return found


def with_equity(navs, start=datetime(2020, 1, 6, 22, tzinfo=UTC), cash=CASH, step_days=1):
    """A run without trades whose curve is ``navs``, one a weekday, at 17:00 New York."""
    result, _ = synthetic_run(days=40, trades=0, leave_open=False, performance=False)
    days = pd.bdate_range(start.date(), periods=len(navs), freq=f"{step_days}B")
    ends = (days + pd.Timedelta(hours=17)).tz_localize("America/New_York").tz_convert("UTC")
    row = result.tables["equity"].slice(0, 1).to_pylist()[0]
    equity = [
        row | {"time": end.to_pydatetime(), "net_asset_value": Decimal(f"{nav:.9f}")}
        for end, nav in zip(ends, navs, strict=True)
    ]
    schema = schemas.table("risk", "equity").arrow
    run = dict(result.run) | {"starting_cash": cash, "data_start": start}
    return type(result)(run, {**result.tables, "equity": pa.Table.from_pylist(equity, schema)})


@pytest.mark.parametrize("seed", range(8))
def test_daily_figures_agree_with_quantstats(seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0003, 0.008, 700)
    navs = (float(CASH) * np.cumprod(1 + returns)).round(6)
    found = rows(with_equity(navs))["ALL"]
    series = pd.Series(returns, pd.bdate_range("2020-01-06", periods=700))
    assert found["sharpe"] == pytest.approx(peer.sharpe(series, periods=252), rel=1e-6)
    assert found["sortino"] == pytest.approx(peer.sortino(series, periods=252), rel=1e-6)
    assert found["annual_volatility"] == pytest.approx(peer.volatility(series), rel=1e-6)
    assert found["max_drawdown_fraction"] == pytest.approx(-peer.max_drawdown(series), rel=1e-6)
    away = (returns - returns.mean()) / returns.std()
    assert found["return_days"] == 700
    assert found["return_skewness"] == pytest.approx((away**3).mean(), abs=1e-6)
    assert found["return_kurtosis"] == pytest.approx((away**4).mean(), rel=1e-6)


def test_annual_growth_is_by_the_calendar_where_quantstats_counts_252_days_a_year():
    navs = float(CASH) * np.cumprod(1 + np.random.default_rng(4).normal(0.0004, 0.006, 600))
    result = with_equity(navs)
    ours = rows(result)["ALL"]["annual_return"]
    series = pd.Series(np.diff(navs, prepend=float(CASH)) / np.append(float(CASH), navs[:-1]))
    series.index = pd.bdate_range("2020-01-06", periods=600)
    theirs = peer.cagr(series, periods=252)
    years = curve_of(result.run, result.tables["equity"]).years
    assert (1 + ours) ** years == pytest.approx((1 + theirs) ** (600 / 252), rel=1e-9)
    assert years == pytest.approx(600 / 5 * 7 / 365.25, abs=0.02)


def test_longest_time_under_water_and_deepest_amount():
    navs = [110_000, 99_000, 105_000, 111_000, 108_000, 104_000, 109_000, 112_000]
    found = rows(with_equity(navs))["ALL"]
    assert found["max_drawdown_fraction"] == pytest.approx(11_000 / 110_000)
    assert found["max_drawdown_amount"] == Decimal(11_000)
    assert found["max_drawdown_days"] == 6.0  # Thursday the 9th to Wednesday the 15th


def test_a_fall_below_the_starting_cash_is_a_drawdown():
    found = rows(with_equity([95_000, 97_000]))["ALL"]
    assert found["max_drawdown_fraction"] == pytest.approx(0.05)


def test_drawdown_is_of_net_asset_value_not_of_balance():  # seed defect D19
    result = with_equity([100_000, 70_000, 100_000])
    assert set(result.tables["equity"].column("balance").to_pylist()) == {CASH}
    assert rows(result)["ALL"]["max_drawdown_fraction"] == pytest.approx(0.3)


def test_without_trades_every_count_is_zero_and_every_ratio_null():  # seed defect D18
    result, _ = synthetic_run(trades=0, leave_open=False)
    for row in rows(result).values():
        assert row["trades_closed"] == row["trades_open"] == 0
        assert row["net_pnl"] == row["gross_loss"] == 0
        for name in ("win_rate", "profit_factor", "expectancy", "sqn", "best_trade"):
            assert row[name] is None
    whole = rows(result)["ALL"]
    assert whole["total_return"] == 0
    assert whole["sharpe"] is whole["sortino"] is whole["calmar"] is None
    assert whole["max_drawdown_fraction"] == whole["exposure_fraction"] == 0


def test_one_trade_has_no_quality_number():
    result, _ = synthetic_run(instruments=["EUR_USD"], trades=1, leave_open=False)
    found = rows(result)["ALL"]
    assert found["trades_closed"] == 1
    assert found["sqn"] is None
    assert found["expectancy"] == pytest.approx(float(found["net_pnl"]))


def test_no_bars_at_all_gives_rows_of_nulls():
    result, _ = synthetic_run(days=60, trades=0, leave_open=False, performance=False)
    empty = {name: table.slice(0, 0) for name, table in result.tables.items()}
    found = rows(type(result)(result.run, empty))
    assert list(found) == ["ALL", *result.run["instruments"]]
    assert found["ALL"]["total_return"] is None
    assert found["ALL"]["exposure_fraction"] is None


def test_a_negative_net_asset_value_leaves_no_daily_figures_and_a_whole_drawdown():
    found = rows(with_equity([120_000, -5_000, -4_000] + [-1_000] * 40))["ALL"]
    assert found["total_return"] == pytest.approx(-1.01)
    assert found["max_drawdown_fraction"] == 1.0
    assert found["max_drawdown_amount"] == Decimal(125_000)
    for name in ("sharpe", "sortino", "annual_volatility", "annual_return", "calmar"):
        assert found[name] is None


def test_growth_is_not_annualised_below_thirty_days():
    assert rows(with_equity([101_000] * 15))["ALL"]["annual_return"] is None
    assert rows(with_equity([101_000] * 45))["ALL"]["annual_return"] is not None


def test_amounts_beyond_nine_million_are_taken():
    cash = Decimal("123456789012.123456789")
    found = rows(with_equity([cash, cash - 1_000_000_000], cash=cash))["ALL"]
    assert float(found["max_drawdown_amount"]) == pytest.approx(1e9)


def test_trade_figures_by_hand():
    result, _ = synthetic_run(instruments=["EUR_USD"], trades=6, leave_open=False)
    pnl = [Decimal(x) for x in ("100", "50", "-30", "0", "-20.5", "10")]
    trades = result.tables["trade"]
    index = trades.schema.get_field_index("pnl")
    trades = trades.set_column(index, trades.schema.field("pnl"), pa.array(pnl, NUMERIC))
    found = rows(type(result)(result.run, {**result.tables, "trade": trades}))["ALL"]
    assert found["net_pnl"] == Decimal("109.5")
    assert (found["gross_profit"], found["gross_loss"]) == (Decimal(160), Decimal("-50.5"))
    assert (found["trades_won"], found["trades_lost"]) == (3, 3)
    assert found["profit_factor"] == pytest.approx(160 / 50.5)
    assert found["expectancy"] == pytest.approx(109.5 / 6)
    assert (found["longest_win_streak"], found["longest_loss_streak"]) == (2, 3)
    assert (found["best_trade"], found["worst_trade"]) == (Decimal(100), Decimal(-30))
    values = [float(x) for x in pnl]
    in_backtrader = math.sqrt(6) * average(values) / standarddev(values)  # ddof 0
    assert found["sqn"] == pytest.approx(in_backtrader * math.sqrt(5 / 6))


def test_refused_orders_are_counted_once_however_many_events_they_have():
    result, _ = synthetic_run(instruments=["EUR_USD"], trades=20)
    events = result.tables["order_event"]
    before = rows(result)["ALL"]
    doubled = {**result.tables, "order_event": pa.concat_tables([events, events])}
    after = rows(type(result)(result.run, doubled))["ALL"]
    assert before["rejected_orders"] > 0
    assert before["canceled_orders"] > 0
    assert after["rejected_orders"] == before["rejected_orders"]
    assert after["canceled_orders"] == before["canceled_orders"]


def test_exposure_from_fills_is_that_of_the_curve():
    result, _ = synthetic_run(instruments=["EUR_USD"], trades=30)
    found = rows(result)
    assert 0 < found["EUR_USD"]["exposure_fraction"] < 1
    assert found["EUR_USD"]["exposure_fraction"] == found["ALL"]["exposure_fraction"]


def test_only_the_newest_row_of_a_position_counts_as_open():
    result, _ = synthetic_run(instruments=["EUR_USD"], trades=3)
    row = result.tables["position"].to_pylist()[0]
    flat = row | {"time": row["time"] + timedelta(minutes=1), "units": Decimal(0)}
    schema = result.tables["position"].schema
    position = pa.Table.from_pylist([flat, row], schema)
    assert rows(result)["ALL"]["trades_open"] == 1
    closed = type(result)(result.run, {**result.tables, "position": position})
    assert rows(closed)["ALL"]["trades_open"] == 0


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    trades=st.integers(0, 12),
    edge=st.sampled_from([-0.01, 0.0, 0.01]),
    count=st.integers(1, 4),
)
def test_instruments_add_up_to_the_whole(seed, trades, edge, count):
    result, _ = synthetic_run(seed, list(PAIRS)[:count], 120, trades, edge)
    found = rows(result)
    whole = found.pop("ALL")
    for name in ("net_pnl", "gross_profit", "gross_loss", "spread_cost", "financing"):
        assert sum(row[name] for row in found.values()) == whole[name]
    for name in ("trades_closed", "trades_won", "trades_open", "rejected_orders"):
        assert sum(row[name] for row in found.values()) == whole[name]
    assert whole["trades_won"] + whole["trades_lost"] == whole["trades_closed"]
    assert whole["gross_profit"] + whole["gross_loss"] == whole["net_pnl"]


@pytest.mark.parametrize(
    ("ends", "day"),
    [
        ("2024-03-08T22:00:00", "2024-03-08"),  # 17:00 in winter closes that day
        ("2024-03-08T22:00:01", "2024-03-09"),
        ("2024-03-11T21:00:00", "2024-03-11"),  # 17:00 in summer
        ("2024-03-10T21:30:00", "2024-03-11"),  # the Sunday evening that opens Monday
    ],
)
def test_a_trading_day_ends_at_five_in_new_york(ends, day):
    assert trading_day(np.array([ends], "datetime64[us]"))[0] == np.datetime64(day)
