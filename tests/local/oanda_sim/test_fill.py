"""What orders do to trades: the rules of filling, on an engine without a socket."""

import copy
from decimal import Decimal

import pytest

from mbats.local.oanda_sim import Behaviour
from mbats.local.oanda_sim.trigger import triggered


def test_market_order_makes_the_transactions_that_were_recorded(desk):
    made = desk.post(units="1", clientExtensions={"id": "key-1"})

    create, fill = made["orderCreateTransaction"], made["orderFillTransaction"]
    assert (create["type"], fill["type"]) == ("MARKET_ORDER", "ORDER_FILL")
    assert fill["id"] == str(int(create["id"]) + 1) == fill["tradeOpened"]["tradeID"]
    assert fill["orderID"] == create["id"] == create["batchID"] == fill["batchID"]
    assert create["requestID"] == fill["requestID"]
    assert create["time"] == fill["time"]
    assert fill["clientOrderID"] == "key-1"
    assert (fill["price"], fill["fullVWAP"]) == ("1.13846", "1.13846")
    assert fill["tradeOpened"]["initialMarginRequired"] == "0.0228"
    assert fill["halfSpreadCost"] == "0.0003"
    assert fill["fullPrice"]["bids"][0] == {"price": "1.13781", "liquidity": "500000"}
    factors = fill["homeConversionFactors"]
    assert factors["gainBaseHome"] == {"factor": "1.1267586"}
    assert factors["lossBaseHome"] == {"factor": "1.1495214"}


def test_yen_profit_is_converted_home_as_recorded(desk):
    desk.price("USD_JPY", 158_302, 158_329)
    desk.post(instrument="USD_JPY", units="-3")
    fill = desk.close_position("USD_JPY", shortUnits="ALL", longUnits="NONE")
    fill = fill["shortOrderFillTransaction"]

    assert (fill["quotePL"], fill["pl"]) == ("-0.081", "-0.0005")
    assert fill["gainQuoteHomeConversionFactor"] == "0.006253335948"
    assert fill["lossQuoteHomeConversionFactor"] == "0.006379665967"
    assert fill["homeConversionFactors"]["gainQuoteHome"] == {"factor": "0.00625333594751"}
    assert fill["homeConversionFactors"]["lossQuoteHome"] == {"factor": "0.00637966596665"}
    assert fill["accountBalance"] == "99999.9995"


def test_opposite_order_closes_oldest_trades_first_reduces_one_then_opens(desk):
    for units in ("100", "200", "300"):
        desk.post(units=units)
    fill = desk.post(units="-250")["orderFillTransaction"]
    assert [(p["tradeID"], p["units"]) for p in fill["tradesClosed"]] == [("5", "-100")]
    assert (fill["tradeReduced"]["tradeID"], fill["tradeReduced"]["units"]) == ("7", "-150")
    assert "tradeOpened" not in fill

    fill = desk.post(units="-400")["orderFillTransaction"]
    assert [p["units"] for p in fill["tradesClosed"]] == ["-50", "-300"]
    assert fill["tradeOpened"]["units"] == "-50"
    assert desk.net() == -50


def test_hedging_account_holds_both_sides(make_desk):
    desk = make_desk(hedging=True)
    desk.post(units="100")
    desk.post(units="-30")
    assert desk.state.net_units("EUR_USD", is_long=True) == 100
    assert desk.state.net_units("EUR_USD", is_long=False) == -30
    desk.post(units="-50", positionFill="REDUCE_FIRST")
    assert desk.state.net_units("EUR_USD", is_long=True) == 50


def test_reduce_only_never_opens(desk):
    desk.post(units="100")
    fill = desk.post(units="-250", positionFill="REDUCE_ONLY")["orderFillTransaction"]
    assert (fill["units"], fill["requestedUnits"]) == ("-100", "-250")
    made = desk.post(units="-1", positionFill="REDUCE_ONLY")
    assert made["orderCancelTransaction"]["reason"] == "POSITION_CLOSEOUT_FAILED"
    assert desk.net() == 0


def test_open_only_never_closes_on_a_netting_account(desk):
    desk.post(units="100")
    made = desk.post(units="-10", positionFill="OPEN_ONLY")
    assert "orderCancelTransaction" in made
    assert desk.net() == 100


def test_big_market_order_pays_its_way_through_the_ladder(desk):
    fill = desk.post(units="2000000")["orderFillTransaction"]
    # 500,000 at 1.13846, then 1,500,000 two points higher
    assert fill["price"] == "1.13848"
    fill = desk.post(units="-600000")["orderFillTransaction"]
    assert fill["price"] == "1.13781"


def test_liquidity_that_a_fill_took_is_gone_until_the_next_price(desk):
    desk.post(units="500000")
    assert desk.post(units="100")["orderFillTransaction"]["price"] == "1.13848"
    desk.price("EUR_USD", 113_781, 113_846)
    assert desk.post(units="100")["orderFillTransaction"]["price"] == "1.13846"


def test_fill_or_kill_dies_where_the_ladder_is_too_shallow(desk):
    desk.price("EUR_USD", 113_781, 113_846, ask_steps=((0, 1000),))
    made = desk.post(units="1001")
    assert made["orderCancelTransaction"]["reason"] == "INSUFFICIENT_LIQUIDITY"
    assert desk.net() == 0


def test_immediate_or_cancel_takes_what_there_is(desk):
    desk.price("EUR_USD", 113_781, 113_846, ask_steps=((0, 1000),))
    fill = desk.post(units="1001", timeInForce="IOC")["orderFillTransaction"]
    assert (fill["units"], fill["requestedUnits"]) == ("1000", "1001")
    made = desk.post(units="1", timeInForce="IOC")
    assert made["orderCancelTransaction"]["reason"] == "INSUFFICIENT_LIQUIDITY"


@pytest.mark.parametrize(("bound", "price"), [("1.13846", "1.13846"), ("1.13845", None)])
def test_price_bound_is_never_passed(desk, bound, price):
    made = desk.post(units="10", priceBound=bound)
    if price is None:
        assert made["orderCancelTransaction"]["reason"] == "BOUNDS_VIOLATION"
        assert desk.net() == 0
    else:
        assert made["orderFillTransaction"]["price"] == price


def test_price_bound_with_immediate_or_cancel_takes_levels_within_it(desk):
    made = desk.post(units="600000", priceBound="1.13846", timeInForce="IOC")
    assert made["orderFillTransaction"]["units"] == "500000"


def test_halted_market_cancels_a_market_order_after_201(desk):
    desk.engine.halt("EUR_USD", halted=True)
    made = desk.post(units="1")
    assert made["orderCancelTransaction"]["reason"] == "MARKET_HALTED"
    desk.engine.halt("EUR_USD", halted=False)
    assert "orderFillTransaction" in desk.post(units="1")


def test_empty_book_fills_nothing(desk):
    desk.price("EUR_USD", 113_781, 0, ask_steps=())
    made = desk.post(units="1")
    assert made["orderCancelTransaction"]["reason"] == "INSUFFICIENT_LIQUIDITY"


def test_order_beyond_the_margin_is_cancelled(desk):
    made = desk.post(units="5000000")  # 5.7 million dollars at 2 % is more than 100,000
    assert made["orderCancelTransaction"]["reason"] == "INSUFFICIENT_MARGIN"
    assert desk.net() == 0


def test_turning_a_position_round_needs_margin_only_for_the_new_side(make_desk):
    desk = make_desk(balance=Decimal(2000))
    desk.post(units="80000")  # 1821 of 2000 dollars
    made = desk.post(units="-160000")
    assert "orderFillTransaction" in made
    assert desk.net() == -80_000


def test_limit_order_rests_then_fills_at_its_price_or_better(desk):
    made = desk.post(type="LIMIT", units="100", price="1.13800")
    assert set(made) == {"orderCreateTransaction", "relatedTransactionIDs", "lastTransactionID"}
    desk.price("EUR_USD", 113_760, 113_801)
    assert desk.net() == 0
    desk.price("EUR_USD", 113_740, 113_790)
    (fill,) = desk.log("ORDER_FILL")
    assert (fill["price"], fill["reason"]) == ("1.13790", "LIMIT_ORDER")


def test_marketable_limit_fills_at_once_in_its_batch(desk):
    made = desk.post(type="LIMIT", units="100", price="1.14000")
    assert made["orderFillTransaction"]["price"] == "1.13846"
    assert made["orderFillTransaction"]["batchID"] == made["orderCreateTransaction"]["id"]


def test_limit_waits_for_the_depth_it_needs_within_its_price(desk):
    desk.post(type="LIMIT", units="600000", price="1.13790")
    desk.price("EUR_USD", 113_700, 113_790, ask_steps=((0, 500_000), (5, 500_000)))
    assert desk.net() == 0
    desk.price("EUR_USD", 113_700, 113_785, ask_steps=((0, 500_000), (5, 500_000)))
    assert desk.net() == 600_000


def test_stop_order_fills_at_its_price_or_worse(desk):
    desk.post(type="STOP", units="-100", price="1.13700")
    desk.price("EUR_USD", 113_701, 113_720)
    assert desk.net() == 0
    desk.price("EUR_USD", 113_600, 113_620)
    (fill,) = desk.log("ORDER_FILL")
    assert (fill["price"], fill["reason"]) == ("1.13600", "STOP_ORDER")


def test_stop_order_with_a_bound_is_cancelled_by_a_gap(desk):
    desk.post(type="STOP", units="-100", price="1.13700", priceBound="1.13650")
    desk.price("EUR_USD", 113_600, 113_620)
    assert desk.log("ORDER_CANCEL")[-1]["reason"] == "BOUNDS_VIOLATION"


@pytest.mark.parametrize(
    ("price", "waits", "fills"),
    [("1.13700", (113_720, 113_740), (113_680, 113_700)),
     ("1.14000", (113_900, 113_920), (114_000, 114_020))],
)  # fmt: skip
def test_market_if_touched_waits_on_either_side(desk, price, waits, fills):
    desk.post(type="MARKET_IF_TOUCHED", units="100", price=price)
    desk.price("EUR_USD", *waits)
    assert desk.net() == 0
    desk.price("EUR_USD", *fills)
    assert desk.net() == 100


@pytest.mark.parametrize(
    ("condition", "triggers"),
    [("DEFAULT", False), ("ASK", False), ("BID", True), ("INVERSE", True), ("MID", True)],
)
def test_trigger_condition_says_which_side_is_watched(desk, condition, triggers):
    # The limit lies between bid and ask: the ask has not come down to it, the bid and middle have.
    desk.post(type="LIMIT", units="100", price="1.13820", triggerCondition=condition)
    (order,) = desk.state.pending.values()
    assert triggered(desk.account, order) == triggers
    assert desk.net() == 0  # a fill is always on the natural side, and the ask is above the limit


def test_brackets_attach_to_the_trade_and_cancel_each_other(desk):
    made = desk.post(
        units="100",
        takeProfitOnFill={"price": "1.14500"},
        stopLossOnFill={"price": "1.13000", "clientExtensions": {"id": "sl-1"}},
        tradeClientExtensions={"id": "trade-1"},
    )
    assert made["relatedTransactionIDs"] == ["4", "5", "6", "7"]
    trade = desk.state.trade_by_client_id("trade-1")
    assert set(trade.dependents) == {"TAKE_PROFIT", "STOP_LOSS"}
    desk.price("EUR_USD", 114_510, 114_530)
    fill, cancel = desk.log()[-2:]
    assert (fill["reason"], fill["price"]) == ("TAKE_PROFIT_ORDER", "1.14510")
    assert (cancel["reason"], cancel["clientOrderID"]) == ("LINKED_TRADE_CLOSED", "sl-1")
    assert fill["batchID"] == cancel["batchID"]
    assert not desk.state.pending


def test_stop_loss_fills_beyond_its_price_after_a_gap(desk):
    desk.post(units="100", stopLossOnFill={"distance": "0.00500"})
    assert desk.log("STOP_LOSS_ORDER")[0]["price"] == "1.13346"
    desk.price("EUR_USD", 113_000, 113_020)
    fill = desk.log("ORDER_FILL")[-1]
    assert (fill["reason"], fill["price"]) == ("STOP_LOSS_ORDER", "1.13000")
    assert desk.net() == 0


def test_trailing_stop_follows_only_the_good_way(desk):
    desk.post(units="100", trailingStopLossOnFill={"distance": "0.00200"})
    (order_id,) = desk.account.trails
    assert desk.account.trails[order_id] == Decimal("1.13581")
    desk.price("EUR_USD", 114_000, 114_020)
    assert desk.account.trails[order_id] == Decimal("1.13800")
    desk.price("EUR_USD", 113_850, 113_870)
    assert desk.account.trails[order_id] == Decimal("1.13800")
    desk.price("EUR_USD", 113_790, 113_810)
    assert desk.log("ORDER_FILL")[-1]["reason"] == "TRAILING_STOP_LOSS_ORDER"
    assert desk.net() == 0


def test_dependents_do_not_attach_where_an_order_only_reduces(desk):
    desk.post(units="100")
    made = desk.post(units="-40", stopLossOnFill={"price": "1.15000"})
    assert "tradeReduced" in made["orderFillTransaction"]
    assert not desk.state.pending


@pytest.mark.parametrize(
    ("dependent", "reason"),
    [
        ({"takeProfitOnFill": {"price": "1.13700"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ({"stopLossOnFill": {"price": "1.13800"}}, "STOP_LOSS_ON_FILL_LOSS"),
        (
            {"stopLossOnFill": {"distance": "2"}},
            "STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED",
        ),
    ],
)
def test_dependent_that_would_fill_at_once_cancels_the_order(desk, dependent, reason):
    made = desk.post(units="100", **dependent)
    assert made["orderCancelTransaction"]["reason"] == reason
    assert desk.net() == 0


def test_second_open_trade_with_one_client_id_is_cancelled(desk):
    desk.post(units="100", tradeClientExtensions={"id": "t"})
    made = desk.post(units="100", tradeClientExtensions={"id": "t"})
    assert made["orderCancelTransaction"]["reason"] == "CLIENT_TRADE_ID_ALREADY_EXISTS"
    desk.close_trade("@t")
    assert "orderFillTransaction" in desk.post(units="100", tradeClientExtensions={"id": "t"})


def test_gtd_order_expires_at_its_time_and_gfd_at_17_new_york(desk):
    desk.post(
        type="LIMIT", units="1", price="1.1", timeInForce="GTD", gtdTime="2026-09-23T14:01:00Z"
    )
    desk.post(type="LIMIT", units="1", price="1.1", timeInForce="GFD")
    desk.advance(59)
    assert len(desk.state.pending) == 2
    desk.advance(1)
    cancel = desk.log()[-1]
    assert (cancel["reason"], cancel["time"]) == (
        "TIME_IN_FORCE_EXPIRED",
        "2026-09-23T14:01:00.000000000Z",
    )
    desk.advance(24 * 3600)
    assert desk.log("ORDER_CANCEL")[-1]["time"] == "2026-09-23T21:00:00.000000000Z"


def test_limit_that_must_fill_now_is_cancelled(desk):
    made = desk.post(type="LIMIT", units="1", price="1.1", timeInForce="FOK")
    assert "orderCancelTransaction" in made
    assert not desk.state.pending


def test_replacing_an_order_cancels_it_and_keeps_its_client_id(desk):
    desk.post(type="LIMIT", units="1", price="1.1", clientExtensions={"id": "a"})
    made = desk.replace("@a", units="2", price="1.05")
    cancel, create = made["orderCancelTransaction"], made["orderCreateTransaction"]
    assert (cancel["reason"], cancel["replacedByOrderID"]) == (
        "CLIENT_REQUEST_REPLACED",
        create["id"],
    )
    assert (create["reason"], create["replacesOrderID"]) == ("REPLACEMENT", cancel["orderID"])
    assert create["clientExtensions"] == {"id": "a"}
    assert desk.state.order_by_client_id("a").id == int(create["id"])


def test_part_of_a_trade_closes(desk):
    desk.post(units="100")
    made = desk.close_trade("5", "40")
    assert made["orderCreateTransaction"]["tradeClose"] == {"units": "40", "tradeID": "5"}
    assert made["orderFillTransaction"]["tradeReduced"]["units"] == "-40"
    assert desk.close_trade("5")["orderFillTransaction"]["tradesClosed"][0]["units"] == "-60"


def test_dependents_are_set_replaced_and_removed_on_an_open_trade(desk):
    desk.post(units="100")
    made = desk.set_dependents("5", takeProfit={"price": "1.15"}, stopLoss={"price": "1.13"})
    assert made["takeProfitOrderTransaction"]["price"] == "1.15000"
    made = desk.set_dependents("5", stopLoss={"distance": "0.01"}, takeProfit=None)
    assert made["stopLossOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST_REPLACED"
    assert made["takeProfitOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    assert made["stopLossOrderTransaction"]["price"] == "1.12781"  # from the current bid
    assert len(desk.state.pending) == 1


def test_fifo_account_closes_the_oldest_of_a_size_first(make_desk):
    desk = make_desk(fifo=True)
    desk.post(units="100")
    desk.post(units="100")
    assert desk.close_trade("7")["orderCancelTransaction"]["reason"] == "FIFO_VIOLATION"
    assert "orderFillTransaction" in desk.close_trade("5")


def test_fifo_account_wants_unique_sizes_where_trades_have_exits(make_desk):
    desk = make_desk(fifo=True)
    desk.post(units="100", stopLossOnFill={"price": "1.12"})
    assert desk.post(units="100")["orderCancelTransaction"]["reason"] == "FIFO_VIOLATION"
    assert "orderFillTransaction" in desk.post(units="101")


def test_commission_leaves_the_balance(make_desk):
    desk = make_desk(commission_per_million=Decimal(50))
    fill = desk.post(units="100000")["orderFillTransaction"]
    assert (fill["commission"], fill["accountBalance"]) == ("5.0000", "99995.0000")


def test_a_failure_inside_a_batch_leaves_no_trace(desk, monkeypatch):
    before, last = copy.deepcopy(desk.state), desk.account.ledger.last_id
    monkeypatch.setattr("mbats.local.oanda_sim.fill._after", _fail)
    with pytest.raises(ZeroDivisionError):
        desk.post(units="100")
    assert desk.account.ledger.last_id == last
    assert desk.state == before
    assert desk.net() == 0


def _fail(*_):
    raise ZeroDivisionError


def test_stops_wait_for_depth_where_the_switch_says_so(make_desk):
    desk = make_desk(Behaviour(stops_fill_beyond_depth=False))
    desk.post(units="2000", stopLossOnFill={"price": "1.13000"})
    desk.price("EUR_USD", 112_900, 112_920, bid_steps=((0, 1000),))
    assert desk.net() == 2000
    desk.price("EUR_USD", 112_900, 112_920)
    assert desk.net() == 0
