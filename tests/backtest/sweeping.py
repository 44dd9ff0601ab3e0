"""A sweep over made-up bars, small enough to be played many times."""

from datetime import UTC, datetime
from decimal import Decimal

from mbats.backtest import sweep as sweeps
from mbats.backtest.engine import BacktestSpec
from mbats.backtest.executor import Interpreter
from mbats.backtest.grid import parameter_sets
from mbats.backtest.session import BacktestRequest
from mbats.strategy.loading import load_strategies
from tests.backtest.memory import MemoryMarket
from tests.backtest.synthetic import walk

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def now():
    return NOW


def request(*params, strategy="sma_reversal", **changes):
    spec = BacktestSpec(load_strategies([strategy]), Decimal(100_000))
    asked = BacktestRequest(spec, ["EUR_USD"], ["M1"], "test")
    sets = parameter_sets(list(params or ("period=3:12:1",)))
    return sweeps.SweepRequest(asked, sets, **changes)


def market(count=300):
    return MemoryMarket(walk(count))


def play(asked, store, jobs=1, bars=300, **more):
    return sweeps.sweep(asked, market(bars), store, Interpreter(jobs), now=now, **more)
