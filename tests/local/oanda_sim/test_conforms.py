"""Small print of OANDA's description and of recorded answers: one row a thing a client may read."""

import json
import re

import pytest

from mbats.local.oanda_sim import Behaviour, orders, rest, rest_prices, trades
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.times import SECOND, rfc3339

LONG = {"units": "100"}
HEDGED = [{"units": "100"}, {"units": "-40"}]
INVALID = "oanda::rest::core::InvalidParameterException"


def ask(resource, desk, *parts, body=None, **query):
    """Return status and document of a resource asked with a query or a body."""
    query = {name.rstrip("_"): str(value) for name, value in query.items()}
    request = Request("GET", "", query, {}, b"" if body is None else json.dumps(body).encode())
    try:
        answer = resource(desk.engine, desk.account, request, *parts)
    except Refusal as refusal:
        return refusal.status, refusal.body
    return answer.status, json.loads(answer.encoded())


def refused_close(desk, **units):
    with pytest.raises(Refusal) as caught:
        desk.close_position(**units)
    return caught.value


# Closing a position.

CLOSES = {
    "both, where only one is open": (
        [{"units": "-40"}], {"longUnits": "ALL", "shortUnits": "ALL"}, 400,
        {"long": ("CLOSEOUT_POSITION_DOESNT_EXIST", None),
         "short": ("CLOSEOUT_POSITION_REJECT", "40")},
    ),
    "both, one by more than there is": (
        HEDGED, {"longUnits": "ALL", "shortUnits": "41"}, 400,
        {"long": ("CLOSEOUT_POSITION_REJECT", "-100"),
         "short": ("CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE", None)},
    ),
    "one, where the other is open": (
        [{"units": "-40"}], {"longUnits": "5"}, 400,
        {"long": ("CLOSEOUT_POSITION_DOESNT_EXIST", None)},
    ),
    "both, where nothing is open": (
        [], {"longUnits": "ALL", "shortUnits": "ALL"}, 404,
        {"long": ("CLOSEOUT_POSITION_DOESNT_EXIST", None),
         "short": ("CLOSEOUT_POSITION_DOESNT_EXIST", None)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLOSES)
def test_a_side_that_cannot_close_takes_the_other_with_it_in_one_batch(make_desk, case):
    opened, asked, status, expected = CLOSES[case]
    desk = make_desk(hedging=True)
    for order in opened:
        desk.post(**order)
    refusal = refused_close(desk, **asked)
    rejects = {
        side: refusal.body[f"{side}OrderRejectTransaction"]
        for side in ("long", "short")
        if f"{side}OrderRejectTransaction" in refusal.body
    }
    assert refusal.status == status
    assert {s: (r["rejectReason"], r.get("units")) for s, r in rejects.items()} == expected
    assert refusal.body["relatedTransactionIDs"] == [r["id"] for r in rejects.values()]
    assert len({r["batchID"] for r in rejects.values()}) == 1


# What a query may say.

QUERIES = [
    (rest.order_list, {"ids": "4,x"}, "ids"),
    (rest.trade_list, {"ids": ""}, "ids"),
    (rest.order_list, {"instrument": "EUR_XXX"}, "instrument"),
    (rest.trade_list, {"instrument": "EUR/USD"}, "instrument"),
    (rest.transaction_list, {"type": "ORDER_FILL,FILLS"}, "type"),
    (rest.transaction_range, {"from": 1, "to": 3, "type": "x"}, "type"),
    (rest.transaction_since, {"id": 1, "type": "x"}, "type"),
]


@pytest.mark.parametrize(("resource", "query", "parameter"), QUERIES)
def test_a_query_that_means_nothing_is_refused(desk, resource, query, parameter):
    status, answer = ask(resource, desk, **query)
    message = f"Invalid value specified for '{parameter}'"
    assert (status, answer) == (400, {"errorMessage": message, "errorCode": INVALID})


@pytest.mark.parametrize("type_", ["ORDER_FILL", "ORDER,FUNDING", "DIVIDEND_ADJUSTMENT", "ADMIN"])
def test_every_filter_of_transactions_is_taken(desk, type_):
    status, answer = ask(rest.transaction_list, desk, type=type_)
    assert (status, answer["type"]) == (200, type_.split(","))


@pytest.mark.parametrize("name", ["from", "to"])
def test_candles_of_the_future_are_refused(desk, name):
    at = rfc3339(desk.engine.now_ns + SECOND)
    status, answer = ask(rest_prices.account_candles, desk, "EUR_USD", **{name: at})
    message = f"Invalid value specified for '{name}'. Time is in the future"
    assert (status, answer["errorMessage"]) == (400, message)


def test_the_pages_of_a_filter_that_matches_little_can_all_be_fetched(make_desk):
    desk = make_desk(Behaviour(idrange_page=10))
    for _ in range(3):
        desk.post(**LONG)
        for _ in range(15):
            desk.refused(units="0")
    _, listed = ask(rest.transaction_list, desk, type="ORDER_FILL")
    found = []
    for page in listed["pages"]:
        first, last = re.search(r"from=(\d+)&to=(\d+)&type=ORDER_FILL$", page).groups()
        status, answer = ask(rest.transaction_range, desk, from_=first, to=last, type="ORDER_FILL")
        assert status == 200
        found += answer["transactions"]
    assert [tx["type"] for tx in found] == ["ORDER_FILL"] * listed["count"] == ["ORDER_FILL"] * 3


# How transactions name trades and orders.


def trade_of(desk, **order):
    filled = desk.post(**{**LONG, **order})["orderFillTransaction"]
    return filled["tradeOpened"]["tradeID"]


def test_a_close_by_client_id_names_the_trade_by_both_ids(desk):
    trade = trade_of(desk, tradeClientExtensions={"id": "mine"})
    made = desk.close_trade("@mine", "40")["orderCreateTransaction"]
    assert made["tradeClose"] == {"units": "40", "tradeID": trade, "clientTradeID": "mine"}


@pytest.mark.parametrize(
    ("specifier", "named"), [("@gone", {"clientTradeID": "gone"}), ("99", {"tradeID": "99"})]
)
def test_a_reject_names_a_missing_trade_as_it_was_asked_for(desk, specifier, named):
    with pytest.raises(Refusal) as caught:
        desk.close_trade(specifier)
    made = caught.value.body["orderRejectTransaction"]
    assert made["tradeClose"] == {"units": "ALL", **named}
    body = {"clientExtensions": {"id": "new"}}
    with pytest.raises(Refusal) as caught:
        trades.modify_client(desk.account, desk.engine.now_ns, specifier, body)
    made = caught.value.body["tradeClientExtensionsModifyRejectTransaction"]
    assert {name: made[name] for name in ("tradeID", "clientTradeID") if name in made} == named


def test_a_trade_that_gets_another_client_id_is_named_by_the_one_it_had(desk):
    trade = trade_of(desk, tradeClientExtensions={"id": "old"})
    body = {"clientExtensions": {"id": "new"}}
    made = trades.modify_client(desk.account, desk.engine.now_ns, trade, body)
    made = made["tradeClientExtensionsModifyTransaction"]
    assert (made["tradeID"], made["clientTradeID"]) == (trade, "old")


NAMED = {"type": "TAKE_PROFIT", "price": "1.20000", "instrument": None}
IDENTIFIERS = [
    ({}, "TRADE_ID_UNSPECIFIED", {}),
    ({"tradeID": "99"}, "TRADE_DOESNT_EXIST", {"tradeID": "99"}),
    ({"clientTradeID": "gone"}, "TRADE_DOESNT_EXIST", {"clientTradeID": "gone"}),
    ({"tradeID": "5", "clientTradeID": "gone"}, "TRADE_IDENTIFIER_INCONSISTENCY",
     {"tradeID": "5", "clientTradeID": "gone"}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "reason", "named"), IDENTIFIERS)
def test_a_dependent_order_that_is_rejected_names_its_trade_as_it_was_given(
    desk, given, reason, named
):
    assert trade_of(desk, tradeClientExtensions={"id": "mine"}) == "5"
    made = desk.refused(**NAMED, **given).body["orderRejectTransaction"]
    shown = {name: made[name] for name in ("tradeID", "clientTradeID") if name in made}
    assert (made["rejectReason"], shown) == (reason, named)


def test_a_take_profit_has_a_distance_only_on_fill(desk):
    trade = trade_of(desk, takeProfitOnFill={"distance": "0.01000"})
    (made,) = desk.log("TAKE_PROFIT_ORDER")
    assert made["price"] == "1.14846"
    desk.cancel(made["id"])
    alone = {"type": "TAKE_PROFIT", "tradeID": trade, "distance": "0.01000"}
    assert desk.refused(**alone).body["errorCode"] == "PRICE_MISSING"
    made = desk.post(**alone, price="1.20000")["orderCreateTransaction"]
    assert (made["price"], "distance" in made) == ("1.20000", False)


@pytest.mark.parametrize("trade_id", ["1.5", "x", True, ""])
def test_a_trade_id_that_is_no_number_is_refused_without_a_transaction(desk, trade_id):
    before = desk.account.ledger.last_id
    assert desk.refused(**NAMED, tradeID=trade_id).body["errorCode"] == INVALID
    assert desk.account.ledger.last_id == before


def test_a_fill_carries_the_client_id_that_its_order_has_by_then(desk):
    desk.post(type="LIMIT", units="1", price="1.13000", clientExtensions={"id": "old"})
    body = {"clientExtensions": {"id": "new"}}
    orders.modify_client(desk.account, desk.engine.now_ns, "@old", body)
    desk.price("EUR_USD", 112_900, 112_950)
    assert desk.log("ORDER_FILL")[0]["clientOrderID"] == "new"


@pytest.mark.parametrize(
    "units", ["1_000", "1e3", " 5", "٣", "5\n", "0x5", "ALL", "1,000", "", "."]
)
def test_units_that_only_python_reads_are_no_number(desk, units):
    assert desk.refused(units=units).body["errorCode"] == INVALID
    assert desk.account.ledger.last_id == 3


@pytest.mark.parametrize("units", ["5", "+5", "5.", "5.0", 5, 5.0])
def test_units_may_be_written_as_any_decimal_number(desk, units):
    assert desk.post(units=units)["orderCreateTransaction"]["units"] == "5"


# Replacing.


def test_what_replaces_an_order_names_the_cancel_that_made_room(desk):
    first = desk.post(type="LIMIT", units="1", price="1.13000")["orderCreateTransaction"]["id"]
    made = desk.replace(first, units="2", price="1.12000")
    cancelled = made["orderCancelTransaction"]
    assert made["orderCreateTransaction"]["cancellingTransactionID"] == cancelled["id"]
    trade = trade_of(desk, stopLossOnFill={"price": "1.10000"})
    made = desk.set_dependents(trade, stopLoss={"price": "1.11000"})
    cancelled = made["stopLossOrderCancelTransaction"]
    assert made["stopLossOrderTransaction"]["cancellingTransactionID"] == cancelled["id"]


def with_id(name, price):
    return {"price": price, "clientExtensions": {"id": name}}


TAKEN = [
    {"takeProfit": with_id("resting", "1.20000")},
    {"takeProfit": with_id("a", "1.20000"), "stopLoss": with_id("a", "1.10000")},
]


@pytest.mark.parametrize("body", TAKEN)
def test_a_client_id_of_another_pending_order_is_taken_for_dependents_too(desk, body):
    desk.post(type="LIMIT", units="1", price="1.13000", clientExtensions={"id": "resting"})
    trade = trade_of(desk)
    with pytest.raises(Refusal) as caught:
        desk.set_dependents(trade, **body)
    assert caught.value.body["errorCode"] == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    assert len(desk.state.pending) == 1


def test_a_dependent_order_may_keep_its_client_id_when_it_is_replaced(desk):
    trade = trade_of(desk, takeProfitOnFill=with_id("mine", "1.20000"))
    made = desk.set_dependents(trade, takeProfit=with_id("mine", "1.21000"))
    assert made["takeProfitOrderTransaction"]["clientExtensions"] == {"id": "mine"}


# The account.


def test_an_account_in_a_margin_call_says_since_when(desk):
    desk.post(units="3800000")
    names = ("marginCallEnterTime", "marginCallExtensionCount")
    assert not set(names) & ask(rest.account_summary, desk)[1]["account"].keys()
    desk.advance(60)
    desk.price("EUR_USD", 112_800, 112_860)
    called = desk.log("MARGIN_CALL_ENTER")[0]
    shown = ask(rest.account_summary, desk)[1]["account"]
    assert [shown[name] for name in names] == [called["time"], 0]
    desk.close_position(longUnits="ALL")
    desk.price("EUR_USD", 112_801, 112_861)
    assert not set(names) & ask(rest.account_summary, desk)[1]["account"].keys()


@pytest.mark.parametrize(
    ("units", "value", "distance"), [("1", "1.13600", "0.00181"), ("-1", "1.13981", "0.00135")]
)
def test_changes_tell_how_far_a_trailing_stop_is_from_the_price(desk, units, value, distance):
    made = desk.post(units=units, trailingStopLossOnFill={"distance": "0.00200"})
    stop = made["relatedTransactionIDs"][-1]
    for bid in (113_800, 113_781) if units == "1" else (113_716, 113_781):
        desk.price("EUR_USD", bid, bid + 65)
    _, answer = ask(rest.account_changes, desk)
    assert answer["state"]["orders"] == [
        {"id": stop, "trailingStopValue": value, "triggerDistance": distance,
         "isTriggerDistanceExact": True}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "reason"),
    [("0.5", "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"),
     ("0.15", "MARGIN_RATE_WOULD_TRIGGER_MARGIN_CALL"), ("0.05", None)],
)  # fmt: skip
def test_a_margin_rate_that_open_trades_cannot_bear_is_refused(desk, rate, reason):
    desk.post(units="700000")
    status, answer = ask(rest.account_configuration, desk, body={"marginRate": rate})
    assert (status, answer.get("errorCode")) == ((200, None) if reason is None else (400, reason))
    assert f"{desk.state.margin_rate}" == (rate if reason is None else "0.02")


def test_an_alias_is_a_text(desk):
    status, answer = ask(rest.account_configuration, desk, body={"alias": 7})
    assert (status, answer["errorCode"]) == (400, INVALID)


# On fill.


@pytest.mark.parametrize("condition", [{}, {"triggerCondition": "MID"}])
def test_what_hangs_on_a_fill_is_written_as_recorded(desk, condition):
    asked = {"price": "1.20000", **condition}
    made = desk.post(units="1", takeProfitOnFill=asked)["orderCreateTransaction"]
    assert made["takeProfitOnFill"] == {"timeInForce": "GTC", **asked}
    (created,) = desk.log("TAKE_PROFIT_ORDER")
    assert created["triggerCondition"] == condition.get("triggerCondition", "DEFAULT")
