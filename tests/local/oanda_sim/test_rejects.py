"""Every reason the simulator rejects an order for: its code, status, message and transaction."""

import pytest

from mbats.local.oanda_sim import AccountSpec, Behaviour, Replay, SimConfig, orders, spec_of
from mbats.local.oanda_sim.answers import INVALID_PARAMETER, Refusal, message_of, reject_reasons
from mbats.local.oanda_sim.engine import Engine

LIMIT = {"type": "LIMIT", "units": "100", "price": "1.10000"}
STOP_LOSS = {"type": "STOP_LOSS", "tradeID": "5", "price": "1.10000"}
PAST = "2026-09-23T13:59:59Z"


def _on_fill(key, **what):
    return {"units": "100", key: what}


# An order, and the reason it is rejected for. Trade 5 is open and long; order "taken" is pending.
REJECTS = [
    ({}, "UNITS_MISSING"),
    ({"units": "0"}, "UNITS_INVALID"),
    ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
    ({"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
    ({"units": "0.5"}, "UNITS_PRECISION_EXCEEDED"),
    ({"type": "LIMIT", "units": "1"}, "PRICE_MISSING"),
    ({**LIMIT, "price": "-1"}, "PRICE_INVALID"),
    ({**LIMIT, "price": "1.100001"}, "PRICE_PRECISION_EXCEEDED"),
    ({"units": "1", "priceBound": "0"}, "PRICE_BOUND_INVALID"),
    ({"units": "1", "priceBound": "1.123456"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
    ({"units": "1", "timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
    ({**LIMIT, "type": "MARKET_IF_TOUCHED", "timeInForce": "FOK"}, "TIME_IN_FORCE_INVALID"),
    ({**LIMIT, "timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
    (
        {**LIMIT, "timeInForce": "GTD", "gtdTime": PAST},
        "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
    ),
    ({"units": "1", "clientExtensions": {"id": "x" * 129}}, "CLIENT_ORDER_ID_INVALID"),
    ({"units": "1", "clientExtensions": {"tag": "x" * 129}}, "CLIENT_ORDER_TAG_INVALID"),
    ({"units": "1", "clientExtensions": {"comment": "x" * 129}}, "CLIENT_ORDER_COMMENT_INVALID"),
    ({"units": "1", "tradeClientExtensions": {"id": "x" * 129}}, "CLIENT_TRADE_ID_INVALID"),
    ({"units": "1", "tradeClientExtensions": {"tag": "x" * 129}}, "CLIENT_TRADE_TAG_INVALID"),
    (
        {"units": "1", "tradeClientExtensions": {"comment": "x" * 129}},
        "CLIENT_TRADE_COMMENT_INVALID",
    ),
    ({"units": "1", "clientExtensions": {"id": "taken"}}, "CLIENT_ORDER_ID_ALREADY_EXISTS"),
    (
        {
            "units": "1",
            "clientExtensions": {"id": "a"},
            "stopLossOnFill": {"price": "1.1", "clientExtensions": {"id": "a"}},
        },
        "ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS",
    ),
    (_on_fill("takeProfitOnFill"), "TAKE_PROFIT_ON_FILL_PRICE_MISSING"),
    (_on_fill("takeProfitOnFill", price="-1"), "TAKE_PROFIT_ON_FILL_PRICE_INVALID"),
    (
        _on_fill("takeProfitOnFill", price="1.234567"),
        "TAKE_PROFIT_ON_FILL_PRICE_PRECISION_EXCEEDED",
    ),
    (
        _on_fill("takeProfitOnFill", price="1.2", timeInForce="FOK"),
        "TAKE_PROFIT_ON_FILL_TIME_IN_FORCE_INVALID",
    ),
    (
        _on_fill("takeProfitOnFill", price="1.2", timeInForce="GTD"),
        "TAKE_PROFIT_ON_FILL_GTD_TIMESTAMP_MISSING",
    ),
    (
        _on_fill("takeProfitOnFill", price="1.2", timeInForce="GTD", gtdTime=PAST),
        "TAKE_PROFIT_ON_FILL_GTD_TIMESTAMP_IN_PAST",
    ),
    (
        _on_fill("takeProfitOnFill", price="1.2", clientExtensions={"id": "x" * 129}),
        "TAKE_PROFIT_ON_FILL_CLIENT_ORDER_ID_INVALID",
    ),
    (_on_fill("stopLossOnFill"), "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
    (
        _on_fill("stopLossOnFill", price="1.1", distance="0.01"),
        "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
    ),
    (_on_fill("stopLossOnFill", price="0"), "STOP_LOSS_ON_FILL_PRICE_INVALID"),
    (_on_fill("stopLossOnFill", distance="0"), "STOP_LOSS_ON_FILL_DISTANCE_INVALID"),
    (
        _on_fill("stopLossOnFill", distance="0.000001"),
        "STOP_LOSS_ON_FILL_DISTANCE_PRECISION_EXCEEDED",
    ),
    (
        _on_fill("stopLossOnFill", price="1.1", guaranteed=True),
        "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED",
    ),
    (_on_fill("guaranteedStopLossOnFill", price="1.1"), "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED"),
    (_on_fill("trailingStopLossOnFill"), "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MISSING"),
    (
        _on_fill("trailingStopLossOnFill", distance="-1"),
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_INVALID",
    ),
    (
        _on_fill("trailingStopLossOnFill", distance="0.00049"),
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
    (
        _on_fill("trailingStopLossOnFill", distance="1.00001"),
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED",
    ),
    (
        _on_fill("trailingStopLossOnFill", distance="0.000501"),
        "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_PRECISION_EXCEEDED",
    ),
    ({**STOP_LOSS, "tradeID": "999"}, "TRADE_DOESNT_EXIST"),
    ({"type": "STOP_LOSS", "price": "1.1"}, "TRADE_ID_UNSPECIFIED"),
    ({"type": "TAKE_PROFIT", "tradeID": "5"}, "PRICE_MISSING"),
    ({"type": "TRAILING_STOP_LOSS", "tradeID": "5"}, "PRICE_DISTANCE_MISSING"),
    (
        {"type": "TRAILING_STOP_LOSS", "tradeID": "5", "distance": "0.00010"},
        "PRICE_DISTANCE_MINIMUM_NOT_MET",
    ),
    ({**STOP_LOSS, "guaranteed": True}, "STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED"),
    (
        {"type": "GUARANTEED_STOP_LOSS", "tradeID": "5", "price": "1.1"},
        "STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED",
    ),
    ({"type": "STOP_LOSS", "tradeID": "5"}, "STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_MISSING"),
]


@pytest.mark.parametrize(("order", "reason"), REJECTS, ids=[r for _, r in REJECTS])
def test_reject(desk, order, reason):
    desk.post(units="10")
    desk.post(**LIMIT, clientExtensions={"id": "taken"})
    last = desk.account.ledger.last_id

    refusal = desk.refused(**order)

    assert refusal.status == (404 if reason == "TRADE_DOESNT_EXIST" else 400)
    assert refusal.body["errorCode"] == reason
    assert refusal.body["errorMessage"] == message_of(reason) != reason
    transaction = refusal.body["orderRejectTransaction"]
    assert transaction["rejectReason"] == reason
    assert transaction["type"].endswith("_ORDER_REJECT")
    assert transaction["id"] == str(last + 1) == refusal.body["lastTransactionID"]
    assert refusal.body["relatedTransactionIDs"] == [transaction["id"]]
    assert desk.account.ledger.last_id == last + 1
    assert (desk.net(), len(desk.state.pending)) == (10, 1)


@pytest.mark.parametrize("reason", sorted({r for _, r in REJECTS}))
def test_every_reject_reason_is_one_of_oandas(reason):
    assert reason in reject_reasons()


def test_recorded_messages():
    assert message_of("TIME_IN_FORCE_INVALID") == "The TimeInForce specified is invalid"
    assert message_of("UNITS_INVALID") == "Order units specified are invalid"
    assert message_of("ORDER_DOESNT_EXIST") == "The Order specified does not exist"
    assert message_of("CLOSEOUT_POSITION_DOESNT_EXIST") == (
        "The Position requested to be closed out does not exist"
    )


@pytest.mark.parametrize("kind", ["TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS"])
def test_a_trade_has_one_dependent_of_a_kind(desk, kind):
    what = {"distance": "0.01"} if kind != "TAKE_PROFIT" else {"price": "1.2"}
    desk.post(units="10")
    desk.post(type=kind, tradeID="5", **what)
    refusal = desk.refused(type=kind, tradeID="5", **what)
    assert refusal.body["errorCode"] == f"{kind}_ORDER_ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("order", "parameter"),
    [
        ({"instrument": "XXX_YYY", "units": "1"}, "order.instrument"),
        ({"units": "many"}, "order.units"),
        ({"units": "NaN"}, "order.units"),
        ({"units": True}, "order.units"),
        ({"units": "1", "type": "ICEBERG"}, "order.type"),
        ({"units": "1", "timeInForce": "SOON"}, "order.timeInForce"),
        ({"units": "1", "positionFill": "MAYBE"}, "order.positionFill"),
        ({**LIMIT, "price": "cheap"}, "order.price"),
        ({**LIMIT, "timeInForce": "GTD", "gtdTime": "tomorrow"}, "order.gtdTime"),
    ],
)
def test_what_cannot_be_read_leaves_no_transaction(desk, order, parameter):
    last = desk.account.ledger.last_id
    refusal = desk.refused(**order)
    assert refusal.status == 400
    assert refusal.body == {
        "errorMessage": f"Invalid value specified for '{parameter}'",
        "errorCode": INVALID_PARAMETER,
    }
    assert desk.account.ledger.last_id == last


@pytest.mark.parametrize("units", [1, 1.0, "1", "1.0"])
def test_units_may_be_a_number_or_a_string(desk, units):
    assert desk.post(units=units)["orderFillTransaction"]["units"] == "1"


def test_cancelling_twice_is_a_404_that_consumes_an_id(desk):
    desk.post(**LIMIT, clientExtensions={"id": "a"})
    desk.cancel("@a")
    with pytest.raises(Refusal) as caught:
        desk.cancel("@a")
    assert caught.value.status == 404
    transaction = caught.value.body["orderCancelRejectTransaction"]
    assert (transaction["type"], transaction["clientOrderID"]) == ("ORDER_CANCEL_REJECT", "a")
    assert "orderID" not in transaction
    assert caught.value.body["errorCode"] == "ORDER_DOESNT_EXIST"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"type": "STOP", "units": "1", "price": "1.5"}, "REPLACING_ORDER_INVALID"),
        ({"units": "0", "price": "1.1"}, "UNITS_INVALID"),
    ],
)
def test_a_bad_replacement_leaves_the_order_alone(desk, order, reason):
    desk.post(**LIMIT, clientExtensions={"id": "a"})
    with pytest.raises(Refusal) as caught:
        desk.replace("@a", **order)
    assert caught.value.body["errorCode"] == reason
    assert caught.value.body["orderRejectTransaction"]["intendedReplacesOrderID"] == "4"
    assert desk.state.order_by_client_id("a") is not None


@pytest.mark.parametrize(
    ("specifier", "units", "status", "reason"),
    [
        ("5", "11", 400, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE"),
        ("5", "0", 400, "UNITS_INVALID"),
        ("5", "1.5", 400, "UNITS_PRECISION_EXCEEDED"),
        ("77", "ALL", 404, "TRADE_DOESNT_EXIST"),
    ],
)
def test_closing_a_trade_wrongly(desk, specifier, units, status, reason):
    desk.post(units="10")
    with pytest.raises(Refusal) as caught:
        desk.close_trade(specifier, units)
    assert (caught.value.status, caught.value.body["errorCode"]) == (status, reason)
    assert caught.value.body["orderRejectTransaction"]["type"] == "MARKET_ORDER_REJECT"
    assert desk.net() == 10


@pytest.mark.parametrize(
    ("body", "status", "side", "reason"),
    [
        (
            {"longUnits": "NONE", "shortUnits": "ALL"},
            400,
            "short",
            "CLOSEOUT_POSITION_DOESNT_EXIST",
        ),
        (
            {"longUnits": "11", "shortUnits": "NONE"},
            400,
            "long",
            "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE",
        ),
        (
            {"longUnits": "NONE", "shortUnits": "NONE"},
            400,
            "long",
            "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION",
        ),
    ],
)
def test_closing_a_position_wrongly(desk, body, status, side, reason):
    desk.post(units="10")
    with pytest.raises(Refusal) as caught:
        desk.close_position(**body)
    assert (caught.value.status, caught.value.body["errorCode"]) == (status, reason)
    transaction = caught.value.body[f"{side}OrderRejectTransaction"]
    assert transaction["positionFill"] == "REDUCE_ONLY"
    assert "units" not in transaction
    assert desk.net() == 10


def test_closing_a_flat_position_is_a_404_that_consumes_an_id(desk):
    with pytest.raises(Refusal) as caught:
        desk.close_position("USD_JPY", shortUnits="ALL", longUnits="NONE")
    assert caught.value.status == 404
    assert caught.value.body["shortOrderRejectTransaction"]["id"] == "4"


def test_pending_orders_have_a_limit(make_desk):
    desk = make_desk(Behaviour(pending_orders_allowed=2))
    desk.post(**LIMIT)
    desk.post(**LIMIT)
    assert desk.refused(**LIMIT).body["errorCode"] == "PENDING_ORDERS_ALLOWED_EXCEEDED"


def test_open_trades_have_a_limit(make_desk):
    desk = make_desk(Behaviour(open_trades_allowed=1))
    desk.post(units="1")
    made = desk.post(units="1")
    assert made["orderCancelTransaction"]["reason"] == "OPEN_TRADES_ALLOWED_EXCEEDED"


def test_order_for_an_instrument_without_a_price_is_rejected():
    engine = Engine(SimConfig(speed=0, specs=(spec_of("EUR_USD"),)), Replay([]))
    account = engine.accounts[AccountSpec().id]
    body = {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}}
    with pytest.raises(Refusal) as caught:
        orders.create(account, engine.now_ns, body)
    assert caught.value.body["errorCode"] == "INSTRUMENT_PRICE_UNKNOWN"
