from datetime import timedelta
from decimal import Decimal

import backtrader as bt
import numpy as np
import pytest

from mbats.backtest.assumptions import Costs
from mbats.errors import RunFailedError
from mbats.market.bars import Bars, Ohlc
from mbats.trading.conversion import StepRate
from tests.backtest.synthetic import (
    DAY,
    bars_of,
    column,
    eur_usd,
    floats,
    loaded,
    run,
    scripted,
    usd_jpy,
    walk,
)

QUIET = Costs(slippage_pips=0)
FLAT = [(1.1, 1.1, 1.1, 1.1)] * 6


def with_sides(bars: Bars, half: float) -> Bars:
    sides = {
        name: Ohlc(*(part + shift for part in bars.mid))
        for name, shift in (("bid", -half), ("ask", half))
    }
    return Bars(**{**vars(bars), **sides})


def steady(rate: float, pair: str = "USD_JPY", at: str = "2024-01-01") -> StepRate:
    return StepRate(np.array([at], dtype="datetime64[us]"), np.array([rate]), (pair,))


# Sides, slippage, commission


def test_a_buy_fills_on_ask_and_a_sell_on_bid_and_both_pay_half_the_spread():
    bars = with_sides(bars_of(FLAT), 0.0001)
    result = run(scripted({1: lambda s: s.buy(), 3: lambda s: s.close()}), bars, costs=QUIET)
    assert floats(result, "fill", "price") == pytest.approx([1.1001, 1.0999])
    assert floats(result, "fill", "mid_price") == pytest.approx([1.1, 1.1])
    assert floats(result, "fill", "spread_cost") == pytest.approx([0.1, 0.1])
    assert floats(result, "trade", "gross_pnl") == pytest.approx([-0.2])
    assert column(result, "fill", "role") == ["entry", "exit"]


@pytest.mark.parametrize(
    ("kind", "level", "filled"),
    [
        (bt.Order.Stop, 1.10055, True),  # ask reaches 1.1006, mid only 1.1005
        (bt.Order.Stop, 1.10065, False),
        (bt.Order.Limit, 1.09955, False),  # mid reaches 1.0995, ask only 1.0996
        (bt.Order.Limit, 1.09965, True),
    ],
)
def test_a_buy_triggers_on_ask_prices(kind, level, filled):
    rows = [(1.1, 1.1, 1.1, 1.1), (1.1, 1.1005, 1.0995, 1.1)]
    bars = with_sides(bars_of(rows), 0.0001)
    send = scripted({1: lambda s: s.buy(exectype=kind, price=level)})
    result = run(send, bars, costs=QUIET)
    assert floats(result, "fill", "price") == ([pytest.approx(level)] if filled else [])


def test_market_and_stop_fills_slip_and_limits_do_not():
    rows = [(1.1, 1.1, 1.1, 1.1), (1.1, 1.11, 1.09, 1.1), (1.1, 1.1, 1.1, 1.1)]

    def send(s):
        s.buy()
        s.sell(exectype=bt.Order.Stop, price=1.095)
        s.buy(exectype=bt.Order.Limit, price=1.097)

    known = eur_usd(typical_spread_pips=Decimal(0))
    result = run(scripted({1: send}), bars_of(rows), [known], costs=Costs(slippage_pips=2))
    assert floats(result, "fill", "price") == pytest.approx([1.1002, 1.0948, 1.097])
    assert floats(result, "fill", "slippage_cost") == pytest.approx([0.2, 0.2, 0.0])


def test_a_limit_that_opens_beyond_its_price_fills_at_the_open_without_slippage():
    rows = [(1.1, 1.1, 1.1, 1.1), (1.09, 1.1, 1.08, 1.1)]
    known = eur_usd(typical_spread_pips=Decimal(0))
    send = scripted({1: lambda s: s.buy(exectype=bt.Order.Limit, price=1.097)})
    result = run(send, bars_of(rows), [known], costs=Costs(slippage_pips=2))
    assert floats(result, "fill", "price") == pytest.approx([1.09])
    assert floats(result, "fill", "slippage_cost") == [0.0]


def test_commission_is_charged_on_each_side_and_is_in_the_trade():
    known = eur_usd(typical_spread_pips=Decimal(0))
    costs = Costs(slippage_pips=0, commission_per_million=100, commission_per_unit=0.001)
    actions = {1: lambda s: s.buy(), 3: lambda s: s.close()}
    result = run(scripted(actions), bars_of(FLAT), [known], costs=costs)
    assert floats(result, "fill", "commission") == pytest.approx([1.11, 1.11])
    assert floats(result, "trade", "pnl") == pytest.approx([-2.22])
    assert floats(result, "equity", "balance")[-1] == pytest.approx(100_000 - 2.22)


# Account currency (seed defect D11)


def test_yen_profit_is_counted_in_dollars_at_the_rate_of_the_closing_day():
    rows = [(150.0, 150.0, 150.0, 150.0)] * 2 + [(151.0, 151.0, 151.0, 151.0)] * 3
    rate = StepRate(
        np.array(["2024-01-01", "2024-01-02T00:03"], dtype="datetime64[us]"),
        np.array([0.0050, 0.0064]),
        ("USD_JPY",),
    )
    told = []

    class Told(scripted({1: lambda s: s.buy(), 3: lambda s: s.close()})):
        def notify_trade(self, trade):
            told.append(trade.pnl)

    result = run(Told, bars_of(rows, "USD_JPY"), [usd_jpy()], {"JPY": rate})
    assert floats(result, "trade", "pnl") == pytest.approx([1000 * 1.0 * 0.0064])
    assert told[-1] == pytest.approx(6.4)
    assert floats(result, "fill", "conversion_rate") == [0.005, 0.0064]


def test_open_profit_is_revalued_at_each_days_rate():
    rows = [(150.0, 150.0, 150.0, 150.0)] * 2 + [(151.0, 151.0, 151.0, 151.0)] * 3
    rate = StepRate(
        np.array(["2024-01-01", "2024-01-02T00:04"], dtype="datetime64[us]"),
        np.array([0.0050, 0.0064]),
        ("USD_JPY",),
    )
    result = run(
        scripted({1: lambda s: s.buy()}), bars_of(rows, "USD_JPY"), [usd_jpy()], {"JPY": rate}
    )
    assert floats(result, "equity", "unrealised_pnl") == pytest.approx([0, 0, 5.0, 6.4, 6.4])
    assert floats(result, "position", "unrealised_pnl") == pytest.approx([6.4])


def test_a_rate_that_is_not_known_yet_breaks_the_run_off():
    rate = steady(0.0066, at="2024-02-01")
    with pytest.raises(Exception, match="USD_JPY") as caught:
        run(scripted({1: lambda s: s.buy()}), bars_of(FLAT, "USD_JPY"), [usd_jpy()], {"JPY": rate})
    assert not isinstance(caught.value, RunFailedError)


# Margin


def test_an_order_beyond_the_margin_is_refused_with_its_reason_and_costs_nothing():
    send = scripted({1: lambda s: s.buy(size=20_000), 3: lambda s: s.buy(size=19_999)})
    rows = [(1.0, 1.0, 1.0, 1.0)] * 5
    known = eur_usd(margin_rate=Decimal("0.05"))
    result = run(send, bars_of(rows), [known], cash=Decimal("999.99"))
    events = list(
        zip(
            column(result, "order_event", "event"),
            column(result, "order_event", "reason"),
            strict=True,
        )
    )
    assert events[:2] == [("submitted", None), ("margin", "insufficient_margin")]
    assert floats(result, "fill", "units") == [19_999]


def test_two_orders_of_one_bar_cannot_use_the_same_margin():
    def both(s):
        s.buy(size=15_000)
        s.buy(size=15_000)

    rows = [(1.0, 1.0, 1.0, 1.0)] * 4
    result = run(scripted({1: both}), bars_of(rows), cash=Decimal(1000))
    assert floats(result, "fill", "units") == [15_000]
    assert column(result, "order_event", "event").count("margin") == 1


def test_closing_frees_margin_for_the_reversal_of_the_same_bar():
    def reverse(s):
        s.close()
        s.sell(size=20_000)

    rows = [(1.0, 1.0, 1.0, 1.0)] * 5
    actions = {1: lambda s: s.buy(size=20_000), 3: reverse}
    result = run(scripted(actions), bars_of(rows), cash=Decimal(1000))
    assert floats(result, "fill", "position_units") == [20_000, 0, -20_000]
    assert column(result, "trade", "exit_reason") == ["reversal"]


def test_the_children_of_a_bracket_need_no_margin():
    def bracket(s):
        s.sell_bracket(size=20_000, exectype=bt.Order.Market, stopprice=1.1, limitprice=0.9)

    rows = [(1.0, 1.0, 1.0, 1.0)] * 3 + [(1.0, 1.0, 0.85, 0.9)]
    result = run(scripted({1: bracket}), bars_of(rows), cash=Decimal(1000))
    assert column(result, "fill", "role") == ["entry", "take_profit"]


def test_margin_is_asked_for_again_at_the_fill():
    rows = [(1.0, 1.0, 1.0, 1.0), (1.2, 1.2, 1.2, 1.2), (1.2, 1.2, 1.2, 1.2)]
    result = run(scripted({1: lambda s: s.buy(size=18_000)}), bars_of(rows), cash=Decimal(1000))
    assert not result.tables["fill"].num_rows
    assert column(result, "order_event", "event") == ["submitted", "accepted", "margin"]


def test_below_half_the_margin_everything_is_closed_and_what_is_pending_is_cancelled():
    def enter(s):
        s.buy_bracket(size=20_000, exectype=bt.Order.Market, stopprice=0.5, limitprice=2.0)

    rows = [(1.0, 1.0, 1.0, 1.0)] * 3 + [(1.0, 1.0, 0.975, 0.976), (0.976, 0.976, 0.974, 0.974)]
    rows += [(0.97, 2.5, 0.4, 1.0)] * 2
    result = run(scripted({1: enter}), bars_of(rows), cash=Decimal(1000))
    assert column(result, "trade", "exit_reason") == ["closeout"]
    assert floats(result, "trade", "exit_price") == [0.974]
    assert result.tables["fill"].num_rows == 2
    assert column(result, "order_event", "reason").count("margin_closeout") >= 3
    assert floats(result, "equity", "net_asset_value")[-1] == pytest.approx(480.0)


# Financing


DAILY = {"granularity": "D", "step": DAY, "start": "2024-01-01T22:00"}  # 17:00 New York


def financed(units: float, **rates: str) -> tuple[list[float], list[float]]:
    known = eur_usd(
        typical_spread_pips=Decimal(0), **{name: Decimal(value) for name, value in rates.items()}
    )
    rows = [(1.0, 1.0, 1.0, 1.0)] * 8
    side = (lambda s: s.buy(size=units)) if units > 0 else (lambda s: s.sell(size=-units))
    actions = {1: side, 6: lambda s: s.close()}
    result = run(scripted(actions), bars_of(rows, **DAILY), [known], costs=QUIET)
    return floats(result, "equity", "financing"), floats(result, "trade", "financing")


def test_a_position_pays_at_five_in_new_york_and_three_days_on_wednesday():
    day = 36_500 * 0.01 / 365
    curve, trade = financed(36_500, financing_long_rate="-0.01")
    # Entered Tuesday 2 January 17:00; charged Wednesday (3 days), Thursday, Friday; Saturday and
    # Sunday charge none; closed at the open of the seventh bar, Sunday 17:00.
    assert np.diff([0.0, *curve]) == pytest.approx([0, -3 * day, -day, -day, 0, 0, 0, 0])
    assert trade == pytest.approx([-5 * day])


def test_a_short_has_its_own_rate_and_may_earn():
    _, trade = financed(-36_500, financing_long_rate="-0.01", financing_short_rate="0.02")
    assert trade == pytest.approx([10.0])


def test_no_costs_charges_no_financing():
    known = eur_usd(financing_long_rate=Decimal("-0.5"))
    rows = [(1.0, 1.0, 1.0, 1.0)] * 8
    result = run(scripted({1: lambda s: s.buy()}), bars_of(rows, **DAILY), [known])
    assert floats(result, "equity", "financing")[-1] == 0.0
    assert "OFF" in result.run["assumptions"]["costs"]


def test_a_minute_run_is_charged_once_at_the_minute_of_the_rollover():
    known = eur_usd(typical_spread_pips=Decimal(0), financing_long_rate=Decimal("-0.365"))
    bars = bars_of([(1.0, 1.0, 1.0, 1.0)] * 10, start="2024-01-04T21:55")
    result = run(scripted({1: lambda s: s.buy()}), bars, [known], costs=QUIET)
    assert np.diff([0.0, *floats(result, "equity", "financing")]) == pytest.approx(
        [0, 0, 0, 0, -1.0, 0, 0, 0, 0, 0]
    )


# Stale bars (rule 17) and several feeds


def holed() -> Bars:
    """A bar at minute 0 and then one at minute 5, which no longer reaches the limit."""
    bars = bars_of([(1.1, 1.2, 1.0, 1.1), (1.1, 1.1, 1.1, 1.1)], "GBP_USD")
    late = bars.start + np.array([0, 4]) * np.timedelta64(60_000_000, "us")
    return Bars(**{**vars(bars), "start": late, "end": late + np.timedelta64(60_000_000, "us")})


def gbp_usd():
    return type(eur_usd())("GBP_USD", -4, 5)


def test_an_order_is_never_tested_on_a_bar_that_was_over_when_it_was_sent():
    limit = {1: lambda s: s.buy(data=s.datas[1], exectype=bt.Order.Limit, price=1.05)}
    result = run(scripted(limit), [bars_of(FLAT), holed()], [eur_usd(), gbp_usd()])
    assert not result.tables["fill"].num_rows  # its own signal bar had touched 1.0


def test_a_bracket_cannot_end_on_the_bar_it_began_while_its_feed_has_no_new_one():
    rows = [(1.1, 1.1, 1.1, 1.1), (1.1, 1.3, 0.9, 1.1), (1.1, 1.1, 1.1, 1.1)]
    bars = bars_of(rows, "GBP_USD")
    starts = bars.start[0] + np.array([0, 1, 5]) * np.timedelta64(60_000_000, "us")
    ends = starts + np.timedelta64(60_000_000, "us")
    sparse = Bars(**{**vars(bars), "start": starts, "end": ends})

    def bracket(s):
        s.buy_bracket(s.datas[1], exectype=bt.Order.Market, stopprice=1.0, limitprice=1.2)

    result = run(scripted({1: bracket}), [bars_of(FLAT), sparse], [eur_usd(), gbp_usd()])
    assert column(result, "fill", "role") == ["entry"]


def test_an_order_is_never_filled_on_a_bar_that_began_before_it_was_sent():
    day = bars_of([(1.1, 1.2, 1.0, 1.1)] * 2, "GBP_USD", granularity="D", step=DAY)
    minutes = bars_of([(1.1, 1.1, 1.1, 1.1)] * 1500)
    send = {1445: lambda s: s.buy(data=s.datas[1], exectype=bt.Order.Limit, price=1.05)}
    result = run(scripted(send), [minutes, day], [eur_usd(), gbp_usd()])
    assert not result.tables["fill"].num_rows


def test_an_order_on_a_feed_without_a_bar_yet_is_rejected_not_priced_from_the_future():
    late = bars_of(FLAT, "GBP_USD", start="2024-01-02T00:03")
    send = scripted({1: lambda s: s.buy(data=s.datas[1])})
    result = run(send, [bars_of(FLAT), late], [eur_usd(), gbp_usd()])
    assert column(result, "order_event", "reason") == ["no_price_yet"]
    assert not result.tables["fill"].num_rows


def test_an_order_sent_on_the_daily_feed_trades_on_the_minutes_of_its_instrument():
    minutes = walk(2 * 1440, seed=9)
    daily = bars_of([(1.1, 1.1, 1.1, 1.1)] * 2, granularity="D", step=DAY)
    send = scripted({1440: lambda s: s.buy(data=s.datas[0])})
    result = run(send, [daily, minutes])
    assert floats(result, "fill", "price") == [pytest.approx(minutes.mid.open[1440], abs=1e-9)]
    assert column(result, "fill", "time")[0].isoformat() == "2024-01-03T00:00:00+00:00"


def test_strategies_share_the_money_and_keep_their_positions_apart():
    seen = {}

    class First(scripted({1: lambda s: s.buy(size=2000), 4: lambda s: s.close()})):
        def stop(self):
            seen["first"] = self.position.size

    class Second(scripted({2: lambda s: s.sell(size=500)})):
        def stop(self):
            seen["second"] = self.position.size

    rows = [(1.0, 1.0, 1.0, 1.0)] * 3 + [(1.1, 1.1, 1.1, 1.1)] * 3
    result = run([loaded(First), loaded(Second)], bars_of(rows))
    assert seen == {"first": 0, "second": -500}
    assert result.run["strategy"] == "First+Second"
    assert column(result, "trade", "strategy") == ["First"]
    assert floats(result, "trade", "pnl") == pytest.approx([200.0])
    assert column(result, "position", "strategy") == ["Second"]
    assert floats(result, "equity", "net_asset_value")[-1] == pytest.approx(100_000 + 200 - 50)


def test_a_lapsed_order_and_a_cancelled_one_say_why():
    def send(s):
        s.buy(exectype=bt.Order.Limit, price=1.0, valid=timedelta(minutes=1))
        s.kept = s.buy(exectype=bt.Order.Limit, price=1.0)

    actions = {1: send, 3: lambda s: s.cancel(s.kept)}
    result = run(scripted(actions), bars_of(FLAT))
    ends = {
        (event, reason)
        for event, reason in zip(
            column(result, "order_event", "event"),
            column(result, "order_event", "reason"),
            strict=True,
        )
        if reason
    }
    assert ends == {("expired", "expired"), ("canceled", "client_request")}
