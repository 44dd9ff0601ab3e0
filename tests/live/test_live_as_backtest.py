"""The same strategy on the same ticks: live fills are those of the backtest."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mbats.backtest.assumptions import Costs
from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
from mbats.market.aggregate import aggregate
from mbats.strategy.loading import load_strategy
from mbats.trading.conversion import Conversion
from tests.live.rig import Rig, columns, random_ticks


def backtest(loaded, ticks, sizer="units:1000"):
    bars = aggregate(columns(ticks), "M1", "test")
    instruments = Rig().broker.instruments
    spec = BacktestSpec([loaded], Decimal(100_000), costs=Costs(slippage_pips=0.0), sizer=sizer)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    what = (spec, [bars], instruments, Conversion("USD", {}))
    run = run_row(*what, Identity("run-1", begun))
    return run_backtest(*what, run, now=lambda: begun)


def fills_of(rows):
    return [(r["side"], r["units"], r["price"], r["position_units"]) for r in rows]


@pytest.mark.parametrize("seed", range(4))
def test_a_reversal_strategy_fills_as_its_backtest_does(seed):
    """Market orders fill at the first tick of the next bar, which is its open in the backtest."""
    strategy, ticks = load_strategy("sma_reversal"), random_ticks(minutes=90, seed=seed)
    rig = Rig()
    rig.only(strategy, ticks, patience=59)
    expected = fills_of(backtest(strategy, ticks).tables["fill"].to_pylist())
    live = fills_of(rig.rows("fill"))
    assert len(expected) > 10
    assert live == [(side, units, price, at) for side, units, price, at in expected]


@pytest.mark.parametrize("seed", range(4))
def test_a_bracket_strategy_enters_as_its_backtest_does(seed):
    strategy = load_strategy(
        "rsi_stochastic", {"rsi_period": "5", "k_period": "5", "stop_ranges": "3"}
    )
    ticks = random_ticks(minutes=120, seed=seed)
    rig = Rig()
    rig.only(strategy, ticks, patience=59)
    expected = list(backtest(strategy, ticks).tables["fill"].to_pylist())
    live = rig.rows("fill")
    assert len(live) > 4
    assert fills_of(live)[0] == fills_of(expected)[0]
    assert {r["role"] for r in live} <= {"entry", "stop_loss", "take_profit"}
    positions = [r["position_units"] for r in live]
    assert set(positions) <= {Decimal(-1000), Decimal(0), Decimal(1000)}
    assert rig.position() == positions[-1]
