"""What MBATS costs on top of backtrader: 100,000 minute bars, one strategy, four contestants.

    python benchmarks/backtest.py [--bars 100000] [--rounds 5]

* ``pandas``   bare backtrader, stock PandasData feed
* ``bulk``     bare backtrader, lines filled at once from arrays: the fastest bare backtrader here
* ``mbats``    the engine: costs, margin, financing, and every result table built
* ``signals``  the same with the price and indicator logger

All run the same strategy (strategies/rsi_stochastic.py) with preload and runonce, stdstats off. One
process each, round-robin; only the run is timed, not the making of the bars. Medians of processor
seconds, which a busy machine disturbs less than the wall clock.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from array import array
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

CONTESTANTS = ("pandas", "bulk", "mbats", "signals")
STRATEGY = "rsi_stochastic"
UNITS = 1000


def make_bars(count, seed=7):
    from mbats.market.bars import Bars, Ohlc

    rng = np.random.default_rng(seed)
    close = np.round(1.1 * np.exp(np.cumsum(rng.normal(0, 8e-5, count))), 5)
    open_ = np.round(np.concatenate([[1.1], close[:-1]]), 5)
    reach = np.abs(rng.normal(0, 6e-5, (2, count)))
    high = np.round(np.maximum(open_, close) + reach[0], 5)
    low = np.round(np.minimum(open_, close) - reach[1], 5)
    step = np.timedelta64(60_000_000, "us")
    start = np.datetime64("2023-01-02T00:00", "us") + np.arange(count) * step
    mid = Ohlc(open_, high, low, close)
    bid, ask = (Ohlc(*(part + half for part in mid)) for half in (-7e-5, 7e-5))
    return Bars("EUR_USD", "M1", "synthetic", start, start + step, mid, bid, ask)


def bare(bars, feed):
    import backtrader as bt

    from mbats.strategy.loading import load_strategy

    loaded = load_strategy(STRATEGY)
    started = time.process_time()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(feed(bars), name="EUR_USD")
    cerebro.broker.setcash(100_000)
    cerebro.addsizer(bt.sizers.FixedSize, stake=UNITS)
    cerebro.addstrategy(loaded.strategy)
    cerebro.run(preload=True, runonce=True)
    return time.process_time() - started


def pandas_feed(bars):
    import backtrader as bt
    import pandas as pd

    frame = pd.DataFrame({**bars.mid._asdict(), "volume": 0.0}, index=bars.end)
    return bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, openinterest=None)


def bulk_feed(bars):
    import backtrader as bt

    from mbats.backtest.feed import to_nums

    class Bulk(bt.feed.DataBase):
        def preload(self):
            columns = {**bars.mid._asdict(), "datetime": to_nums(bars.end)}
            for name in ("volume", "openinterest"):
                columns[name] = np.zeros(len(bars))
            for name, values in columns.items():
                getattr(self.lines, name).array = array("d", values.tobytes())
            self.home()

    return Bulk(timeframe=bt.TimeFrame.Minutes)


def mbats(bars, log_signals):
    from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
    from mbats.market.catalogue import instrument
    from mbats.strategy.loading import load_strategy
    from mbats.trading.conversion import Conversion

    now = datetime(2026, 1, 1, tzinfo=UTC)
    spec = BacktestSpec(
        [load_strategy(STRATEGY)], Decimal(100_000), sizer=f"units:{UNITS}", log_signals=log_signals
    )
    known, rates = {"EUR_USD": instrument("EUR_USD")}, Conversion("USD", {})
    started = time.process_time()
    row = run_row(spec, [bars], known, rates, Identity("benchmark", now))
    result = run_backtest(spec, [bars], known, rates, row, now=lambda: now)
    seconds = time.process_time() - started
    assert result.tables["equity"].num_rows == len(bars)
    return seconds, result.tables["trade"].num_rows


def contest(name, count):
    import mbats.backtest.engine  # noqa: F401 - imports are not timed

    bars = make_bars(count)
    if name in ("mbats", "signals"):
        seconds, trades = mbats_run(bars, name)
        return {"seconds": seconds, "trades": trades}
    return {"seconds": bare(bars, pandas_feed if name == "pandas" else bulk_feed)}


def mbats_run(bars, name):
    return mbats(bars, log_signals=name == "signals")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contest(options.contestant, options.bars)))
        return
    seconds = {name: [] for name in CONTESTANTS}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--contestant", name, "--bars", str(options.bars)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[name].append(json.loads(done.stdout.splitlines()[-1])["seconds"])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.bars:,} bars, medians of {options.rounds}")
    print(f"{'':10}{'seconds':>9}{'range':>15}{'bars/s':>10}{'x pandas':>10}{'x bulk':>8}")
    for name, value in median.items():
        spread = f"{min(seconds[name]):.2f}..{max(seconds[name]):.2f}"
        print(
            f"{name:10}{value:9.2f}{spread:>15}{options.bars / value:10,.0f}"
            f"{value / median['pandas']:10.2f}{value / median['bulk']:8.2f}"
        )


if __name__ == "__main__":
    main()
