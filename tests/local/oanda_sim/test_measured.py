"""What was measured on OANDA's practice account holds by default, and each switch switches it."""

import json
from decimal import Decimal

import pytest

from mbats.local.oanda_sim import Behaviour, orders
from mbats.local.oanda_sim.answers import Refusal, message_of
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.rest import (
    order_list,
    position_details,
    position_list,
    position_open,
    transaction_range,
    transaction_since,
)

KEY = {"clientExtensions": {"id": "key"}}
LIMIT = {"type": "LIMIT", "units": "1", "price": "1.0"}


def _get(resource, desk, *parts, **query):
    request = Request("GET", "", {k.rstrip("_"): str(v) for k, v in query.items()}, {}, b"")
    answer = resource(desk.engine, desk.account, request, *parts)
    return json.loads(answer.encoded())


def test_a_client_id_may_be_used_again_after_a_fill_and_fills_again(desk):
    desk.post(units="1", **KEY)
    desk.post(units="1", **KEY)
    assert desk.net() == 2


def test_a_client_id_is_taken_for_ever_where_the_switch_says_so(make_desk):
    desk = make_desk(Behaviour(client_id_free_after_end=False))
    desk.post(units="1", **KEY)
    assert desk.refused(units="1", **KEY).body["errorCode"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"


def test_a_client_id_finds_pending_orders_only(desk):
    desk.post(**LIMIT, **KEY)
    assert orders.find_order(desk.account, "@key").state == "PENDING"
    desk.cancel("@key")
    with pytest.raises(Refusal) as caught:
        orders.find_order(desk.account, "@key")
    assert caught.value.status == 404
    assert caught.value.body == {
        "lastTransactionID": "5",
        "errorMessage": "The order ID specified does not exist",
        "errorCode": "NO_SUCH_ORDER",
    }


def test_a_client_id_finds_finished_orders_where_the_switch_says_so(make_desk):
    desk = make_desk(Behaviour(client_id_finds_finished=True))
    desk.post(units="1", **KEY)
    assert orders.find_order(desk.account, "@key").state == "FILLED"


@pytest.mark.parametrize("found", [True, False])
def test_a_number_finds_finished_orders_by_switch(make_desk, found):
    desk = make_desk(Behaviour(numeric_id_finds_finished=found))
    desk.post(units="1")
    assert bool(_get(order_list, desk, state="ALL")["orders"]) == found
    if found:
        assert orders.find_order(desk.account, "4").state == "FILLED"
    else:
        with pytest.raises(Refusal):
            orders.find_order(desk.account, "4")


def test_an_unknown_instrument_leaves_no_transaction_unless_the_switch_says_so(desk, make_desk):
    assert desk.refused(instrument="AAA_BBB", units="1").body["errorCode"].startswith("oanda::")
    assert desk.account.ledger.last_id == 3
    other = make_desk(Behaviour(unknown_instrument_logged=True))
    body = other.refused(instrument="AAA_BBB", units="1").body
    assert (body["errorCode"], other.account.ledger.last_id) == ("INSTRUMENT_UNKNOWN", 4)


def test_a_flat_position_is_found_once_traded(desk, make_desk):
    with pytest.raises(Refusal) as caught:
        _get(position_details, desk, "EUR_USD")
    assert (caught.value.status, caught.value.body["errorCode"]) == (404, "NO_SUCH_POSITION")
    assert caught.value.body["errorMessage"] == message_of("NO_SUCH_POSITION")
    desk.post(units="1")
    desk.post(units="-1")
    position = _get(position_details, desk, "EUR_USD")["position"]
    assert (position["long"]["units"], position["short"]["units"]) == ("0", "0")
    assert position["pl"] == "-0.0006"
    assert len(_get(position_list, desk)["positions"]) == 1
    assert _get(position_open, desk)["positions"] == []

    other = make_desk(Behaviour(flat_position_found=False))
    other.post(units="1")
    other.post(units="-1")
    with pytest.raises(Refusal):
        _get(position_details, other, "EUR_USD")


def test_closing_all_of_an_absent_side(desk, make_desk):
    desk.post(units="1")
    with pytest.raises(Refusal) as caught:
        desk.close_position(longUnits="ALL", shortUnits="ALL")
    assert caught.value.status == 400
    assert desk.net() == 1
    other = make_desk(Behaviour(close_absent_side_rejects=False))
    other.post(units="1")
    made = other.close_position(longUnits="ALL", shortUnits="ALL")
    assert set(made) >= {"longOrderFillTransaction", "lastTransactionID"}
    assert other.net() == 0


def test_a_side_left_out_of_a_close(desk, make_desk):
    desk.post(units="1")
    assert "longOrderFillTransaction" in desk.close_position(longUnits="ALL")
    other = make_desk(Behaviour(omitted_side_closes=True))
    other.post(units="1")
    with pytest.raises(Refusal):
        other.close_position(longUnits="ALL")


def test_a_position_closeout_is_what_was_recorded(desk):
    for _ in range(2):
        desk.post(units="7")
    made = desk.close_position(longUnits="ALL", shortUnits="NONE")
    create, fill = made["longOrderCreateTransaction"], made["longOrderFillTransaction"]
    assert create["longPositionCloseout"] == {"instrument": "EUR_USD", "units": "ALL"}
    assert (create["reason"], create["positionFill"], create["units"]) == (
        "POSITION_CLOSEOUT",
        "REDUCE_ONLY",
        "-14",
    )
    assert fill["reason"] == "MARKET_ORDER_POSITION_CLOSEOUT"
    parts = fill["tradesClosed"]
    assert [part["units"] for part in parts] == ["-7", "-7"]
    assert Decimal(fill["pl"]) == sum(Decimal(part["realizedPL"]) for part in parts)
    assert fill["quotePL"] == "-0.0091"


def test_a_resting_limit_is_what_was_recorded(desk):
    made = desk.post(type="LIMIT", units="1", price="0.5", clientExtensions={"id": "l"})
    create = made["orderCreateTransaction"]
    assert {key: create[key] for key in ("price", "triggerCondition", "partialFill")} == {
        "price": "0.50000",
        "triggerCondition": "DEFAULT",
        "partialFill": "DEFAULT",
    }
    (shown,) = _get(order_list, desk)["orders"]
    assert (shown["partialFill"], shown["state"]) == ("DEFAULT_FILL", "PENDING")


def test_sinceid_comes_in_pages_and_idrange_has_a_span(make_desk):
    desk = make_desk(Behaviour(sinceid_page=2, idrange_page=2))
    desk.post(units="1")
    page = _get(transaction_since, desk, id=1)
    assert [tx["id"] for tx in page["transactions"]] == ["2", "3"]
    assert page["lastTransactionID"] == "5"
    with pytest.raises(Refusal) as caught:
        _get(transaction_range, desk, from_=1, to=3)
    assert caught.value.status == 416
    assert len(_get(transaction_range, desk, from_=4, to=5, type="ORDER_FILL")["transactions"]) == 1


@pytest.mark.parametrize(("first", "last"), [(0, 2), (2, 99), (3, 2)])
def test_ids_there_are_not_get_a_416(desk, first, last):
    with pytest.raises(Refusal) as caught:
        _get(transaction_range, desk, from_=first, to=last)
    assert caught.value.status == 416


def test_ids_roll_from_999_to_1000(make_desk):
    desk = make_desk(first_id=995)
    for _ in range(3):
        desk.post(units="1")
    ids = [tx["id"] for tx in desk.log()]
    assert ids == [str(i) for i in range(995, 1004)]
    assert [tx["id"] for tx in _get(transaction_since, desk, id=998)["transactions"]] == ids[4:]


def test_price_decimals_by_switch(make_desk):
    plain, five = make_desk(), make_desk(Behaviour(price_decimals=5))
    for desk, text in ((plain, "158.302"), (five, "158.30200")):
        decimals = desk.account.behaviour.price_decimals
        assert desk.engine.market.price_document("USD_JPY", decimals)["bids"][0]["price"] == text


def test_conversion_without_fee(make_desk):
    desk = make_desk(Behaviour(conversion_fee=Decimal(0)))
    desk.post(instrument="USD_JPY", units="1000")
    fill = desk.post(instrument="USD_JPY", units="-1000")["orderFillTransaction"]
    assert fill["gainQuoteHomeConversionFactor"] == fill["lossQuoteHomeConversionFactor"]


def test_orders_leave_the_ladder_alone_by_switch(make_desk):
    desk = make_desk(Behaviour(orders_consume_liquidity=False))
    desk.post(units="500000")
    assert desk.post(units="100")["orderFillTransaction"]["price"] == "1.13846"
