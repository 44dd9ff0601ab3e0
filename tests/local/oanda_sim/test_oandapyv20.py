"""oandapyV20, unchanged, over a real socket: every request class it has."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from oandapyV20 import V20Error
from oandapyV20.endpoints import (
    accounts,
    forexlabs,
    instruments,
    orders,
    positions,
    pricing,
    trades,
    transactions,
)
from oandapyV20.endpoints.apirequest import APIRequest

DEAD = {
    name: "forexlabs was part of OANDA's v1 API, which was closed; it has no v20 path"
    for name, made in vars(forexlabs).items()
    if inspect.isclass(made) and made.__module__ == forexlabs.__name__ and name != "ForexLabs"
}
MODULES = (accounts, instruments, orders, positions, pricing, trades, transactions)
# Each class's arguments after the account id (or instead of it), and the key of its answer.
A = "account"
CALLS: dict[str, tuple[Any, ...]] = {
    "AccountList": ("accounts",),
    "AccountDetails": ("account", A),
    "AccountSummary": ("account", A),
    "AccountInstruments": ("instruments", A, {"instruments": "EUR_USD"}),
    "AccountConfiguration": ("clientConfigureTransaction", A, {"marginRate": "0.05"}),
    "AccountChanges": ("changes", A, {"sinceTransactionID": 5}),
    "InstrumentsCandles": ("candles", "EUR_USD", {"granularity": "H1", "count": 5}),
    "InstrumentsOrderBook": ("orderBook", "EUR_USD", {}),
    "InstrumentsPositionBook": ("positionBook", "EUR_USD", {}),
    "OrderCreate": ("orderCreateTransaction", A, {"order": {
        "type": "LIMIT", "instrument": "EUR_USD", "units": "-100", "price": "1.2",
        "stopLossOnFill": {"price": "1.22", "timeInForce": "GTC"}, "timeInForce": "GTC"}}),
    "OrderList": ("orders", A),
    "OrdersPending": ("orders", A),
    "OrderDetails": ("order", A, "@pending"),
    "OrderReplace": ("orderCreateTransaction", A, "@pending", {"order": {
        "type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "1.05"}}),
    "OrderCancel": ("orderCancelTransaction", A, "@pending"),
    "OrderClientExtensions": ("orderClientExtensionsModifyTransaction", A, "@pending",
                              {"clientExtensions": {"id": "myID", "comment": "noted"}}),
    "PositionList": ("positions", A),
    "OpenPositions": ("positions", A),
    "PositionDetails": ("position", A, "EUR_USD"),
    "PositionClose": ("longOrderFillTransaction", A, "EUR_USD", {"longUnits": "ALL"}),
    "PricingInfo": ("prices", A, {"instruments": "EUR_USD,EUR_JPY"}),
    "PricingStream": ("type", A, {"instruments": "EUR_USD"}),
    "TradesList": ("trades", A, {"instrument": "EUR_USD"}),
    "OpenTrades": ("trades", A),
    "TradeDetails": ("trade", A, "@trade"),
    "TradeClose": ("orderFillTransaction", A, "@trade", {"units": "40"}),
    "TradeClientExtensions": ("tradeClientExtensionsModifyTransaction", A, "@trade",
                              {"clientExtensions": {"id": "myID2315", "comment": "myComment"}}),
    "TradeCRCDO": ("takeProfitOrderTransaction", A, "@trade",
                   {"takeProfit": {"price": "1.5", "timeInForce": "GTC"},
                    "stopLoss": {"price": "1.0", "timeInForce": "GTC"}}),
    "TransactionList": ("pages", A, {"pageSize": 200}),
    "TransactionDetails": ("transaction", A, "4"),
    "TransactionIDRange": ("transactions", A, {"from": 1, "to": 4}),
    "TransactionsSinceID": ("transactions", A, {"id": 2}),
    "TransactionsStream": ("type", A),
}  # fmt: skip


def _request_classes() -> dict[str, type[APIRequest]]:
    found = {}
    for module in MODULES:
        for name, made in vars(module).items():
            ours = inspect.isclass(made) and made.__module__ == module.__name__
            if ours and issubclass(made, APIRequest) and getattr(made, "ENDPOINT", ""):
                found[name] = made
    return found


def test_no_request_class_is_forgotten():
    assert set(_request_classes()) == set(CALLS)
    assert DEAD


@pytest.fixture
def traded(stepped, client):
    """An account with an open trade @trade and a pending order @pending, and its client."""
    api = client(stepped)
    for order in (
        {"type": "MARKET", "instrument": "EUR_USD", "units": "100",
         "tradeClientExtensions": {"id": "trade"}},
        {"type": "LIMIT", "instrument": "EUR_USD", "units": "10", "price": "1.0",
         "clientExtensions": {"id": "pending", "comment": "waiting"}},
    ):  # fmt: skip
        api.request(orders.OrderCreate(stepped.account_id, {"order": order}))
    return stepped, api


def _call(name, account_id):
    made = _request_classes()[name]
    arguments = [account_id if part is A else part for part in CALLS[name][1:]]
    if name == "AccountList":
        return made()
    keyword = {}
    if arguments and isinstance(arguments[-1], dict):
        parameters = inspect.signature(made.__init__).parameters
        keyword["data" if "data" in parameters else "params"] = arguments.pop()
    return made(*arguments, **keyword)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_request_class_gets_the_answer_it_expects(traded, name):
    running, api = traded
    request = _call(name, running.account_id)
    answer = api.request(request)
    if inspect.isgenerator(answer):
        with ThreadPoolExecutor(1) as reader:
            line = reader.submit(next, answer)
            running.wait_for_streams(1)
            running.advance(6)
            answer = line.result()
    assert CALLS[name][0] in answer
    if not getattr(request, "STREAM", False):
        expected = getattr(request, "_expected_status", None) or request.expected_status
        assert request.status_code == expected


# What oandapyV20's examples have and today's API does not: recorded answers lack them too.
OLD_KEYS = {"quoteHomeConversionFactors"}
ORACLE = {
    "AccountDetails": "_v3_account_by_accountID",
    "AccountSummary": "_v3_account_by_accountID_summary",
    "AccountInstruments": "_v3_account_by_accountID_instruments",
    "AccountConfiguration": "_v3_accounts_accountID_account_config",
    "AccountChanges": "_v3_accounts_accountID_account_changes",
    "OrderCreate": "_v3_accounts_accountID_orders_create",
    "OrdersPending": "_v3_accounts_accountID_orders_pending",
    "OrderList": "_v3_accounts_accountID_orders_list",
    "OrderDetails": "_v3_accounts_accountID_order_details",
    "OrderCancel": "_v3_accounts_accountID_order_cancel",
    "OrderReplace": "_v3_accounts_accountID_order_replace",
    "OrderClientExtensions": "_v3_accounts_accountID_order_clientextensions",
    "PositionList": "_v3_accounts_accountID_positions",
    "OpenPositions": "_v3_accounts_accountID_openpositions",
    "PositionDetails": "_v3_accounts_accountID_positiondetails",
    "PositionClose": "_v3_accounts_accountID_position_close",
    "PricingInfo": "_v3_accounts_accountID_pricing",
    "TradesList": "_v3_accounts_accountID_trades",
    "OpenTrades": "_v3_accounts_accountID_opentrades",
    "TradeDetails": "_v3_account_accountID_trades_details",
    "TradeClose": "_v3_account_accountID_trades_close",
    "TradeClientExtensions": "_v3_account_accountID_trades_cltext",
    "TransactionDetails": "_v3_accounts_transaction_details",
    "InstrumentsOrderBook": "_v3_instruments_instrument_orderbook",
    "InstrumentsPositionBook": "_v3_instruments_instrument_positionbook",
}
# Keys that depend on what was traded and not on the kind of answer.
SITUATIONAL = {
    "trades", "orders", "positions", "tradeIDs", "averagePrice", "stopLossOnFill",
    "clientExtensions", "replacesOrderID", "tradesClosed",
}  # fmt: skip


def _example(key):
    import importlib

    for module in MODULES:
        name = module.__name__.rsplit(".", 1)[1]
        responses = importlib.import_module(f"oandapyV20.endpoints.responses.{name}").responses
        if key in responses:
            return responses[key]["response"]
    raise LookupError(key)


def _differences(example, got, path=""):
    """Yield what the example has and ours has not, or has as another type."""
    if isinstance(example, dict):
        if not isinstance(got, dict):
            yield f"{path}: not an object"
            return
        for key, value in example.items():
            if key in got:
                yield from _differences(value, got[key], f"{path}.{key}")
            elif key not in SITUATIONAL:
                yield f"{path}.{key} is missing"
    elif isinstance(example, list):
        if not isinstance(got, list):
            yield f"{path}: not a list"
        elif example and got and not isinstance(example[0], str):
            yield from _differences(example[0], got[0], f"{path}[0]")
    elif type(example) is not type(got) and not path.endswith("userID"):
        yield f"{path}: {type(got).__name__} is not {type(example).__name__}"


@pytest.mark.parametrize("name", sorted(ORACLE))
def test_shapes_are_those_of_oandapyv20s_examples(traded, name):
    running, api = traded
    got = api.request(_call(name, running.account_id))
    example = _example(ORACLE[name])
    if name == "TransactionDetails":  # ours is a market order, the example's a limit order
        del example["transaction"]["price"]
        del example["transaction"]["triggerCondition"]
    assert list(_differences(json.loads(json.dumps(example)), got)) == []


def test_wrong_account_token_and_path(stepped, client):
    api = client(stepped)
    with pytest.raises(V20Error) as caught:
        api.request(accounts.AccountSummary("101-001-9-001"))
    assert caught.value.code == 401  # where OANDA's site files it
    api.client.headers["Authorization"] = "Basic x"
    with pytest.raises(V20Error) as caught:
        api.request(accounts.AccountSummary(stepped.account_id))
    assert (caught.value.code, "Insufficient authorization" in caught.value.msg) == (401, True)


def test_dead_classes_get_a_404(stepped, client):
    with pytest.raises(V20Error) as caught:
        client(stepped).request(forexlabs.Calendar(params={"instrument": "EUR_USD"}))
    assert caught.value.code == 404


def test_orders_answer_exactly_201_with_a_location_and_request_id(stepped, client):
    import requests

    answer = requests.post(
        f"{stepped.url}/v3/accounts/{stepped.account_id}/orders",
        json={"order": {"type": "MARKET", "instrument": "EUR_USD", "units": 1}},
        headers={"Authorization": "Bearer t"},
        timeout=60,
    )
    assert answer.status_code == 201
    made = answer.json()["orderCreateTransaction"]
    assert answer.headers["RequestID"] == made["requestID"]
    assert answer.headers["Location"].endswith(f"/orders/{made['id']}")
    assert answer.headers["Content-Type"] == "application/json"


def test_unix_times_where_the_client_wants_them(stepped, client):
    api = client(stepped, **{"Accept-Datetime-Format": "UNIX"})
    answer = api.request(accounts.AccountSummary(stepped.account_id))
    assert answer["account"]["createdTime"] == "1790172000.000000000"
    api.request(transactions.TransactionsSinceID(stepped.account_id, {"id": 0}))
    candles = instruments.InstrumentsCandles("EUR_USD", {"granularity": "D", "count": 1})
    assert api.request(candles)["candles"][0]["time"] == "1790110800.000000000"


def test_encoded_at_sign_and_both_spellings_of_true(traded):
    import requests

    running, _ = traded
    base = f"{running.url}/v3/accounts/{running.account_id}"
    headers = {"Authorization": "Bearer t"}
    for path in ("orders/%40pending", "orders/@pending"):
        assert requests.get(f"{base}/{path}", headers=headers, timeout=60).status_code == 200
    for value, candles in (("True", 2), ("true", 2), ("False", 1), ("false", 1)):
        url = f"{running.url}/v3/instruments/EUR_USD/candles?granularity=H1&includeFirst={value}"
        got = requests.get(f"{url}&from=2026-09-23T12:00:00Z", headers=headers, timeout=60)
        assert len(got.json()["candles"]) == candles + 1
