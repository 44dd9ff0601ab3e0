"""Bars made from a seed, and runs over them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import backtrader as bt
import numpy as np

from mbats.backtest.assumptions import Costs
from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
from mbats.backtest.result import RunResult
from mbats.market.bars import Bars, Ohlc
from mbats.market.instrument import Instrument
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.conversion import Conversion

MINUTE = np.timedelta64(60_000_000, "us")
DAY = np.timedelta64(86_400_000_000, "us")
STARTED = datetime(2024, 1, 1, tzinfo=UTC)
FREE = Costs(enabled=False)


def eur_usd(**changes: Any) -> Instrument:
    values: dict[str, Any] = {"pip_location": -4, "price_precision": 5}
    return Instrument("EUR_USD", **{**values, **changes})


def usd_jpy(**changes: Any) -> Instrument:
    values: dict[str, Any] = {"pip_location": -2, "price_precision": 3}
    return Instrument("USD_JPY", **{**values, **changes})


def walk(
    count: int,
    seed: int = 1,
    instrument: str = "EUR_USD",
    granularity: str = "M1",
    start: str = "2024-01-02T00:00",
    level: float = 1.1,
    tick: float = 1e-5,
    spread_ticks: int = 0,
    step: np.timedelta64 = MINUTE,
) -> Bars:
    """A random walk on a coarse grid, so that ties, flat bars and touched prices happen."""
    rng = np.random.default_rng(seed)
    closes = np.cumsum(rng.integers(-12, 13, count)) + round(level / tick)
    opens = np.concatenate([[closes[0]], closes[:-1] + rng.integers(-3, 4, count - 1)])
    highs = np.maximum(opens, closes) + rng.integers(0, 8, count)
    lows = np.minimum(opens, closes) - rng.integers(0, 8, count)
    mid = Ohlc(*(grid(values, tick) for values in (opens, highs, lows, closes)))
    starts = np.datetime64(start, "us") + np.arange(count) * step
    half = spread_ticks
    sides = (
        {}
        if not spread_ticks
        else {
            "bid": Ohlc(*(grid(v - half, tick) for v in (opens, highs, lows, closes))),
            "ask": Ohlc(*(grid(v + half, tick) for v in (opens, highs, lows, closes))),
        }
    )
    return Bars(instrument, granularity, "test", starts, starts + step, mid, **sides)


def grid(ticks: np.ndarray, tick: float) -> np.ndarray:
    return ticks.astype(np.float64) / round(1 / tick)


def bars_of(
    rows: list[tuple[float, float, float, float]],
    instrument: str = "EUR_USD",
    granularity: str = "M1",
    start: str = "2024-01-02T00:00",
    step: np.timedelta64 = MINUTE,
) -> Bars:
    """Bars with exactly these opens, highs, lows and closes."""
    starts = np.datetime64(start, "us") + np.arange(len(rows)) * step
    prices = Ohlc(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))
    return Bars(instrument, granularity, "test", starts, starts + step, prices)


def loaded(strategy: type[bt.Strategy], **parameters: Any) -> LoadedStrategy:
    defaults = dict(strategy.params._getitems())
    return LoadedStrategy(strategy.__name__, strategy, {**defaults, **parameters})


def run(
    strategy: type[bt.Strategy] | list[LoadedStrategy],
    bars: Bars | list[Bars],
    instruments: list[Instrument] | None = None,
    rates: Mapping[str, Any] | None = None,
    account_currency: str = "USD",
    **spec: Any,
) -> RunResult:
    feeds = bars if isinstance(bars, list) else [bars]
    known = {i.name: i for i in instruments or [eur_usd()]}
    chosen = strategy if isinstance(strategy, list) else [loaded(strategy)]
    spec = {"cash": Decimal(100_000), "costs": FREE, **spec}
    chosen_spec = BacktestSpec(chosen, account_currency=account_currency, **spec)
    conversion = Conversion(account_currency, rates or {})
    row = run_row(chosen_spec, feeds, known, conversion, Identity("run-1", STARTED))
    return run_backtest(chosen_spec, feeds, known, conversion, row, now=lambda: STARTED)


def scripted(actions: Mapping[int, Any]) -> type[bt.Strategy]:
    """A strategy that at its n-th bar (from 1) calls ``actions[n]`` with itself."""

    class Scripted(bt.Strategy):
        def prenext(self):
            self.next()

        def next(self):
            if len(self) in actions:
                actions[len(self)](self)

    return Scripted


def column(result: RunResult, table: str, name: str) -> list[Any]:
    return result.tables[table].column(name).to_pylist()


def floats(result: RunResult, table: str, name: str) -> list[float]:
    return [float(value) for value in column(result, table, name)]
