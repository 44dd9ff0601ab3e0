import json

import backtrader as bt
import numpy as np
import pytest

from mbats.market.catalogue import instrument
from mbats.strategy.loading import load_strategy
from mbats.trading.conversion import StepRate
from tests.backtest.synthetic import column, run, walk


class Several(bt.Strategy):
    def __init__(self):
        for data in self.datas:
            bt.indicators.SMA(data, period=3)
            bt.indicators.SMA(data, period=5)
            self.strong = bt.indicators.RSI(data, period=4, safediv=True, plotname="strength") > 50


def features(result, name="EUR_USD"):
    rows = result.tables["signal"].to_pylist()
    return [json.loads(r["indicators"]) for r in rows if r["instrument"] == name]


def test_every_indicator_of_every_feed_is_kept_by_a_stable_name():
    bars = [walk(40, 1), walk(30, 2, "USD_JPY", level=150.0, tick=1e-3)]
    rate = StepRate(np.array(["2024-01-01"], dtype="datetime64[us]"), np.array([1 / 150]))
    known = [instrument("EUR_USD"), instrument("USD_JPY")]
    result = run(Several, bars, known, {"JPY": rate}, log_signals=True)
    assert result.tables["signal"].num_rows == 70
    for each in bars:
        rows = features(result, each.instrument)
        assert set(rows[0]) == {"SMA", "SMA_2", "strength"}
        assert [r["SMA"] for r in rows[:2]] == [None, None]
        for i in range(2, len(each)):
            mean = each.mid.close[i - 2 : i + 1].mean()
            assert rows[i]["SMA"] == pytest.approx(mean)


def test_prices_are_mid_and_each_row_says_when_it_was_known():
    bars = walk(60, 1, spread_ticks=9)
    result = run([load_strategy("rsi_stochastic")], bars, log_signals=True)
    assert [float(v) for v in column(result, "signal", "low")] == pytest.approx(
        bars.mid.low.tolist()
    )
    assert [t.replace(tzinfo=None) for t in column(result, "signal", "time")] == bars.start.tolist()
    assert [
        t.replace(tzinfo=None) for t in column(result, "signal", "known_at")
    ] == bars.end.tolist()
    assert set(features(result)[0]) == {"RSI", "STOCHASTIC", "STOCHASTIC.percD", "ATR"}


def test_logging_changes_no_result():
    plain = run([load_strategy("rsi_stochastic")], walk(400))
    logged = run([load_strategy("rsi_stochastic")], walk(400), log_signals=True)
    assert plain.tables["signal"].num_rows == 0
    assert plain.tables["trade"].equals(logged.tables["trade"])
