"""The two strategies that ship (seed defects D7, D10)."""

import backtrader as bt
import numpy as np
import pytest

from mbats.market.catalogue import instrument
from mbats.strategy.loading import load_strategy
from mbats.trading.conversion import StepRate
from tests.backtest.synthetic import bars_of, column, floats, run, walk


def both(**spec):
    bars = [walk(1500, 3), walk(1500, 4, "USD_JPY", level=150.0, tick=1e-3)]
    rate = StepRate(np.array(["2024-01-01"], dtype="datetime64[us]"), np.array([1 / 150]))
    known = [instrument("EUR_USD"), instrument("USD_JPY")]
    return bars, run([load_strategy("rsi_stochastic")], bars, known, {"JPY": rate}, **spec)


def true_range_average(bars, period=5):
    """Wilder's, by itself: the mean of the first ``period``, then a recursive average."""
    mid = bars.mid
    previous = mid.close[:-1]
    ranges = np.maximum(mid.high[1:], previous) - np.minimum(mid.low[1:], previous)
    values = np.full(len(bars), np.nan)
    values[period] = ranges[:period].mean()
    for i in range(period + 1, len(bars)):
        values[i] = (values[i - 1] * (period - 1) + ranges[i - 1]) / period
    return values


def test_each_instrument_sets_its_stops_by_its_own_range():
    bars, result = both()
    events = result.tables["order_event"].to_pylist()
    sent = [e for e in events if e["event"] == "submitted"]
    checked = set()
    for each in bars:
        atr, ends = true_range_average(each), each.end.tolist()
        for entry in (
            e for e in sent if e["instrument"] == each.instrument and e["role"] == "entry"
        ):
            row = ends.index(entry["time"].replace(tzinfo=None))
            sign = 1 if entry["side"] == "buy" else -1
            legs = {
                e["role"]: float(e["price"])
                for e in sent
                if e["parent_order_key"] == entry["order_key"]
            }
            close = each.mid.close[row]
            assert legs["stop_loss"] == pytest.approx(close - sign * atr[row], abs=2e-9)
            assert legs["take_profit"] == pytest.approx(close + 2 * sign * atr[row], abs=2e-9)
            checked.add((each.instrument, entry["side"]))
    assert len(checked) == 4


def test_it_acts_only_when_flat_and_with_nothing_in_flight():
    _, result = both()
    for name in ("EUR_USD", "USD_JPY"):
        alive, position = set(), 0.0
        fills = {}
        for fill in result.tables["fill"].to_pylist():
            fills[fill["order_key"]] = fill
        for event in result.tables["order_event"].to_pylist():
            if event["instrument"] != name:
                continue
            if event["event"] == "submitted":
                if event["role"] == "entry":
                    assert not alive
                    assert position == 0
                alive.add(event["order_key"])
            elif event["event"] in ("filled", "canceled", "expired", "margin", "rejected"):
                alive.discard(event["order_key"])
                if event["event"] == "filled":
                    position = float(fills[event["order_key"]]["position_units"])


def test_the_stochastic_is_part_of_the_rule():
    bars = [walk(1500, 3)]
    with_k = run([load_strategy("rsi_stochastic")], bars)
    without = run([load_strategy("rsi_stochastic", {"k_low": "101", "k_high": "-1"})], bars)
    assert 0 < with_k.tables["trade"].num_rows < without.tables["trade"].num_rows


def test_flat_prices_divide_nothing_by_zero_and_trade_nothing():
    for name in ("rsi_stochastic", "sma_reversal"):
        result = run([load_strategy(name)], bars_of([(1.1, 1.1, 1.1, 1.1)] * 200))
        assert result.tables["fill"].num_rows == 0


def test_a_position_whose_bracket_lapsed_is_closed():
    rows = [(1.1, 1.1, 1.1, 1.1)] * 2
    falling = [
        (1.1 - i / 1e4, 1.1 - i / 1e4, 1.0995 - i / 1e4, 1.0995 - i / 1e4) for i in range(40)
    ]
    still = [(1.0955, 1.0956, 1.0954, 1.0955)] * 1500
    day = np.timedelta64(86_400_000_000, "us")
    bars = bars_of([*rows, *falling, *still], granularity="D", step=day, start="2000-01-03T22:00")
    wide = {"stop_ranges": "90", "limit_ranges": "90", "limit_days": "30"}
    result = run([load_strategy("rsi_stochastic", wide)], bars)
    assert set(column(result, "trade", "exit_reason")) == {"exit"}
    held = column(result, "trade", "bars_held")
    assert held[0] in (31, 32, 33)
    assert "expired" in column(result, "order_event", "event")


def test_the_reversal_is_always_on_the_side_of_its_average():
    bars = walk(800, 6)
    result = run([load_strategy("sma_reversal")], bars)
    close = bars.mid.close
    average = np.convolve(close, np.ones(10) / 10, "valid")
    side = np.sign(close[9:] - average)
    starts = {t: i for i, t in enumerate(bars.start.tolist())}
    assert len(set(column(result, "trade", "exit_reason")) - {"reversal"}) == 0
    for trade in result.tables["trade"].to_pylist():
        signal = starts[trade["entry_time"].replace(tzinfo=None)] - 1 - 9
        assert side[signal] == (1 if trade["direction"] == "long" else -1)


def test_close_and_reverse_leaves_one_stake_in_the_market():
    result = run([load_strategy("sma_reversal")], walk(800, 6))
    assert {abs(u) for u in floats(result, "fill", "position_units")} == {0, 1000}
    assert isinstance(load_strategy("sma_reversal").strategy, type(bt.Strategy))
