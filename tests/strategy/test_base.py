from decimal import Decimal

import backtrader as bt
import pytest

from tests.backtest.synthetic import bars_of, column, eur_usd, floats, run, scripted

ROWS = [(1.1, 1.1, 1.1, 1.1)] * 5


def bracket(s):
    s.sent = s.buy_bracket(exectype=bt.Order.Market, stopprice=1.09, limitprice=1.13)


def test_a_plain_bracket_is_sized_by_its_own_stop():
    result = run(scripted({1: bracket}), bars_of(ROWS), sizer="risk:1")
    assert floats(result, "fill", "units") == pytest.approx([100_000], abs=1)
    children = [r for r in result.tables["order_event"].to_pylist() if r["parent_order_key"]]
    assert {row["role"] for row in children} == {"stop_loss", "take_profit"}


def test_a_bracket_below_the_smallest_trade_is_three_times_none_and_refused_by_name():
    sent = []

    class Small(scripted({})):
        def next(self):
            if len(self) == 1:
                sent.extend(self.buy_bracket(stopprice=1.09, limitprice=1.2))

    known = eur_usd(minimum_trade_units=Decimal(10**6))
    result = run(Small, bars_of(ROWS), [known], sizer="risk:1")
    assert sent == [None, None, None]
    assert column(result, "order_event", "reason") == ["size_below_minimum"]
    assert column(result, "order_event", "event") == ["rejected"]


def test_an_explicit_size_is_the_strategys_own():
    result = run(scripted({1: lambda s: s.buy(s.data, 7)}), bars_of(ROWS), sizer="risk:1")
    assert floats(result, "fill", "units") == [7]


def test_the_class_that_runs_keeps_its_name_parameters_and_docstring():
    from mbats.strategy.base import on_the_desk
    from mbats.strategy.loading import load_strategy

    plain = load_strategy("rsi_stochastic").strategy
    desk = on_the_desk(plain)
    assert (desk.__name__, desk.__doc__) == (plain.__name__, plain.__doc__)
    assert dict(desk.params._getitems()) == dict(plain.params._getitems())
