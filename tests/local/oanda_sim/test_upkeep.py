"""What happens without a client: financing, margin calls and closeouts, weekends, halts."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mbats.local.oanda_sim import Behaviour
from mbats.local.oanda_sim.times import from_datetime


def test_financing_is_charged_at_17_new_york(desk):
    desk.post(units="10000")
    desk.advance(7 * 3600 - 1)
    assert desk.log("DAILY_FINANCING") == []
    desk.advance(1)
    (charge,) = desk.log("DAILY_FINANCING")
    assert charge["time"] == "2026-09-23T21:00:00.000000000Z"
    # Wednesday: three days. 10,000 × 1.138135 × −2.47 % × 3 / 365, a loss in dollars.
    assert charge["financing"] == "-2.3106"
    (position,) = charge["positionFinancings"]
    assert position["openTradeFinancings"] == [{"tradeID": "5", "financing": "-2.3106"}]
    assert desk.state.balance == Decimal("99997.6894")
    assert desk.state.trades[5].financing == Decimal("-2.3106")


@pytest.mark.parametrize(
    ("day", "days"), [(21, 1), (22, 1), (23, 3), (24, 1), (25, 1), (26, 0), (27, 0)]
)
def test_a_week_charges_seven_days_wednesday_three(desk, day, days):
    desk.post(units="10000")
    desk.engine.advance(from_datetime(datetime(2026, 9, 28, 20, tzinfo=UTC)))
    by_day = {tx["time"][8:10]: Decimal(tx["financing"]) for tx in desk.log("DAILY_FINANCING")}
    if day < 23:  # the desk starts on Wednesday the 23rd; Monday and Tuesday come next week
        desk.engine.advance(from_datetime(datetime(2026, 9, 30, 20, tzinfo=UTC)))
        by_day = {tx["time"][8:10]: Decimal(tx["financing"]) for tx in desk.log("DAILY_FINANCING")}
        day += 7
    charged = by_day.get(f"{day}", Decimal(0))
    assert charged == (Decimal(0) if not days else Decimal("-0.7701902") * days).quantize(
        Decimal("0.0001")
    )


def test_a_short_may_earn_financing_less_the_conversion_fee(desk):
    desk.post(instrument="EUR_JPY", units="-10000")
    desk.advance(7 * 3600)
    (charge,) = desk.log("DAILY_FINANCING")
    assert Decimal(charge["financing"]) > 0


def test_no_financing_where_the_account_has_none(make_desk):
    desk = make_desk(Behaviour(financing="NO_FINANCING"))
    desk.post(units="10000")
    desk.advance(3 * 86_400)
    assert desk.log("DAILY_FINANCING") == []


def test_margin_call_then_closeout_then_nothing_is_open(make_desk):
    desk = make_desk(balance=Decimal(2500))
    desk.post(units="100000")  # 2,276 of margin
    desk.price("EUR_USD", 113_500, 113_520)
    (enter,) = desk.log("MARGIN_CALL_ENTER")
    desk.price("EUR_USD", 112_400, 112_420)
    fill = desk.log("ORDER_FILL")[-1]
    assert fill["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT"
    create = desk.log("MARKET_ORDER")[-1]
    assert (create["reason"], create["marginCloseout"]) == (
        "MARGIN_CLOSEOUT",
        {"reason": "MARGIN_CHECK_VIOLATION"},
    )
    assert desk.net() == 0
    assert desk.log()[-1]["type"] == "MARGIN_CALL_EXIT"
    assert int(enter["id"]) < int(fill["id"])


def test_margin_call_ends_when_the_trade_is_closed_by_hand(make_desk):
    desk = make_desk(balance=Decimal(2500))
    desk.post(units="100000")
    desk.price("EUR_USD", 113_500, 113_520)
    desk.close_position(longUnits="ALL")
    assert desk.log("MARGIN_CALL_EXIT") == []
    desk.price("USD_JPY", 158_302, 158_329)
    assert len(desk.log("MARGIN_CALL_EXIT")) == 1


def test_margin_closeout_waits_for_a_halted_market(make_desk):
    desk = make_desk(balance=Decimal(2500))
    desk.post(units="100000")
    desk.engine.halt("EUR_USD", halted=True)
    desk.price("EUR_USD", 112_000, 112_020)
    assert desk.net() == 100_000
    desk.engine.halt("EUR_USD", halted=False)
    assert desk.net() == 0


def test_margin_closeout_cancels_what_hung_on_the_trades(make_desk):
    desk = make_desk(balance=Decimal(2500))
    desk.post(units="100000", takeProfitOnFill={"price": "1.2"})
    desk.price("EUR_USD", 112_000, 112_020)
    assert desk.log("ORDER_CANCEL")[-1]["reason"] == "LINKED_TRADE_CLOSED"


def test_pending_orders_sleep_while_the_market_is_halted(desk):
    desk.post(type="LIMIT", units="10", price="1.13000")
    desk.engine.halt("EUR_USD", halted=True)
    desk.price("EUR_USD", 112_000, 112_020)
    assert desk.net() == 0
    desk.engine.halt("EUR_USD", halted=False)
    assert desk.net() == 10


def test_stale_weekend_price_fills_nothing(desk):
    desk.post(type="LIMIT", units="10", price="1.13000")
    desk.price("EUR_USD", 112_000, 112_020, tradeable=False)
    assert desk.net() == 0
    assert desk.post(units="1")["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
