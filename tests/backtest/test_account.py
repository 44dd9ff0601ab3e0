"""The tables against each other and against the broker: no figure may be made up twice."""

from decimal import Decimal

import numpy as np
import pytest

from mbats.backtest.assumptions import Costs
from mbats.backtest.engine import BacktestSpec, prepare
from mbats.market.catalogue import instrument
from mbats.strategy.loading import load_strategy
from mbats.trading.conversion import Conversion, StepRate
from tests.backtest.synthetic import column, floats, run, walk

COSTS = Costs(commission_per_million=35)


def inputs():
    euro = walk(3000, 1, spread_ticks=7)
    yen = walk(2500, 2, "USD_JPY", level=150.0, tick=1e-3)
    days = np.datetime64("2024-01-01", "us") + np.arange(6) * np.timedelta64(86_400_000_000, "us")
    rate = StepRate(days, 1 / np.linspace(150, 140, 6), ("USD_JPY",))
    return [euro, yen], [instrument("EUR_USD"), instrument("USD_JPY")], {"JPY": rate}


@pytest.fixture(scope="module")
def result():
    bars, known, rates = inputs()
    strategies = [load_strategy("rsi_stochastic"), load_strategy("sma_reversal")]
    return run(strategies, bars, known, rates, costs=COSTS, sizer="risk:0.01")


@pytest.fixture(scope="module")
def fixed():
    bars, known, rates = inputs()
    strategies = [load_strategy("rsi_stochastic"), load_strategy("sma_reversal")]
    return run(strategies, bars, known, rates, costs=COSTS, sizer="units:3000")


def test_there_are_trades_of_both_strategies_in_both_instruments(fixed):
    pairs = set(
        zip(column(fixed, "trade", "strategy"), column(fixed, "trade", "instrument"), strict=True)
    )
    assert len(pairs) == 4


def test_the_balance_is_the_cash_and_every_fill_and_charge(fixed):
    fills = fixed.tables["fill"]
    realised = sum(fills.column("realised_pnl").to_pylist())
    commission = sum(fills.column("commission").to_pylist())
    last = fixed.tables["equity"].to_pylist()[-1]
    expected = Decimal(100_000) + realised - commission + last["financing"]
    assert abs(last["balance"] - expected) < Decimal("0.01")


def test_value_is_balance_and_open_profit_at_every_step(fixed):
    table = fixed.tables["equity"]
    nav, balance, open_ = (
        np.array(floats(fixed, "equity", name))
        for name in ("net_asset_value", "balance", "unrealised_pnl")
    )
    assert nav == pytest.approx(balance + open_, abs=1e-5)
    assert table.num_rows == len(set(table.column("time").to_pylist()))
    held = floats(fixed, "position", "unrealised_pnl")
    assert held
    assert open_[-1] == pytest.approx(sum(held), abs=1e-5)
    assert fixed.run["ending_value"] == table.column("net_asset_value")[-1].as_py()


def test_the_brokers_own_value_agrees_with_the_curve_at_every_step():
    bars, known, rates = inputs()
    values = []
    loaded = load_strategy("sma_reversal")

    class Watched(loaded.strategy):
        def notify_cashvalue(self, cash, value):
            values.append((cash, value))

    spec = BacktestSpec(
        [type(loaded)("w", Watched, loaded.parameters)], Decimal(100_000), costs=COSTS
    )
    prepared = prepare(spec, bars, {i.name: i for i in known}, Conversion("USD", rates))
    prepared.cerebro.run()
    curve = run(
        [type(loaded)("w", loaded.strategy, loaded.parameters)], bars, known, rates, costs=COSTS
    )
    assert [v for _, v in values] == pytest.approx(
        floats(curve, "equity", "net_asset_value"), abs=2e-6
    )
    assert [c for c, _ in values] == pytest.approx(floats(curve, "equity", "balance"), abs=2e-6)


def test_net_is_gross_less_commission_plus_financing(fixed):
    for trade in fixed.tables["trade"].to_pylist():
        net = trade["gross_pnl"] - trade["commission"] + trade["financing"]
        assert abs(trade["pnl"] - net) <= Decimal("0.000003")
        assert trade["mfe_fraction"] >= 0 >= trade["mae_fraction"]
        assert trade["exit_time"] >= trade["entry_time"]
        assert trade["bars_held"] >= 0


def test_costs_of_the_fills_are_in_the_trades_or_in_what_is_still_open(fixed):
    closed = sum(floats(fixed, "trade", "commission"))
    every = sum(floats(fixed, "fill", "commission"))
    assert 0 < every - closed < 0.01 * every
    assert sum(floats(fixed, "trade", "spread_cost")) > 0


def test_cumulative_profit_runs_up_the_trades_in_the_order_they_closed(fixed):
    assert floats(fixed, "trade", "cumulative_pnl") == pytest.approx(
        np.cumsum(floats(fixed, "trade", "pnl")), abs=1e-4
    )
    assert column(fixed, "trade", "exit_time") == sorted(column(fixed, "trade", "exit_time"))


def test_a_sizer_that_needs_a_stop_leaves_the_strategy_without_one_out_and_says_so(result):
    assert set(column(result, "trade", "strategy")) == {"rsi_stochastic"}
    assert "size_needs_a_stop" in column(result, "order_event", "reason")


def test_every_row_belongs_to_the_run_and_keys_are_unique(fixed):
    for name, key in (("order_event", "event_id"), ("fill", "event_id"), ("trade", "trade_id")):
        keys = column(fixed, name, key)
        assert len(set(keys)) == len(keys) > 0
        assert set(column(fixed, name, "run_id")) == {"run-1"}
    assert set(column(fixed, "fill", "order_key")) <= set(column(fixed, "order_event", "order_key"))


def test_the_same_run_twice_is_the_same_to_the_last_digit(fixed):
    bars, known, rates = inputs()
    strategies = [load_strategy("rsi_stochastic"), load_strategy("sma_reversal")]
    again = run(strategies, bars, known, rates, costs=COSTS, sizer="units:3000")
    assert all(again.tables[name].equals(table) for name, table in fixed.tables.items())
    assert again.run == fixed.run
