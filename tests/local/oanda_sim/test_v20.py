"""OANDA's own client, the `v20` package, unchanged, over a real socket: every call it has."""

import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its `is` comparisons with literals
    import v20

UNLISTED = "OANDA's site no longer lists unscoped prices and users; the simulator has them not"
DEAD = {
    ("instrument", "price"): UNLISTED,
    ("instrument", "prices"): UNLISTED,
    ("pricing", "base_prices"): UNLISTED,
    ("pricing", "get_price_range"): UNLISTED,
    ("pricing", "candles"): "the client leaves {accountID} in the path: it cannot work",
    ("user", "get_info"): UNLISTED,
    ("user", "get_external_info"): UNLISTED,
}
ROOMS = (
    "account", "instrument", "order", "position", "pricing", "trade", "transaction", "user",
)  # fmt: skip
LIMIT = {"instrument": "EUR_USD", "units": 10, "price": "1.00000"}
STOP = {"instrument": "EUR_USD", "units": 10, "price": "1.30000"}
# room, call, arguments after the account id, keywords, status, a field of the answer
CALLS = [
    ("account", "list", (), {}, 200, "accounts"),
    ("account", "get", ("A",), {}, 200, "account"),
    ("account", "summary", ("A",), {}, 200, "account"),
    ("account", "instruments", ("A",), {"instruments": "EUR_USD,USD_JPY"}, 200, "instruments"),
    ("account", "configure", ("A",), {"alias": "Mine"}, 200, "clientConfigureTransaction"),
    ("account", "changes", ("A",), {"sinceTransactionID": 2}, 200, "changes"),
    ("instrument", "candles", ("EUR_USD",), {"granularity": "M5", "count": 3}, 200, "candles"),
    ("instrument", "order_book", ("EUR_USD",), {}, 200, "orderBook"),
    ("instrument", "position_book", ("EUR_USD",), {}, 200, "positionBook"),
    ("order", "create", ("A",), {"order": {"type": "LIMIT", **LIMIT}}, 201,
     "orderCreateTransaction"),
    ("order", "market", ("A",), {"instrument": "EUR_USD", "units": 5}, 201, "orderFillTransaction"),
    ("order", "limit", ("A",), LIMIT, 201, "orderCreateTransaction"),
    ("order", "stop", ("A",), STOP, 201, "orderCreateTransaction"),
    ("order", "market_if_touched", ("A",), STOP, 201, "orderCreateTransaction"),
    ("order", "take_profit", ("A",), {"tradeID": "5", "price": "1.3"}, 201,
     "orderCreateTransaction"),
    ("order", "stop_loss", ("A",), {"tradeID": "5", "price": "1.0"}, 201, "orderCreateTransaction"),
    ("order", "trailing_stop_loss", ("A",), {"tradeID": "5", "distance": "0.05"}, 201,
     "orderCreateTransaction"),
    ("order", "limit_replace", ("A", "@limit"), LIMIT, 201, "orderCancelTransaction"),
    ("order", "replace", ("A", "@limit"), {"order": {"type": "LIMIT", **LIMIT}}, 201,
     "orderCreateTransaction"),
    ("order", "stop_replace", ("A", "@stop"), STOP, 201, "orderCancelTransaction"),
    ("order", "market_if_touched_replace", ("A", "@mit"), STOP, 201, "orderCancelTransaction"),
    ("order", "take_profit_replace", ("A", "@tp"), {"tradeID": "9", "price": "1.31"}, 201,
     "orderCancelTransaction"),
    ("order", "stop_loss_replace", ("A", "@sl"), {"tradeID": "9", "price": "1.01"}, 201,
     "orderCancelTransaction"),
    ("order", "trailing_stop_loss_replace", ("A", "@tsl"), {"tradeID": "9", "distance": "0.06"},
     201, "orderCancelTransaction"),
    ("order", "list", ("A",), {}, 200, "orders"),
    ("order", "list_pending", ("A",), {}, 200, "orders"),
    ("order", "get", ("A", "@limit"), {}, 200, "order"),
    ("order", "cancel", ("A", "@limit"), {}, 200, "orderCancelTransaction"),
    ("order", "set_client_extensions", ("A", "@limit"), {"clientExtensions": {"tag": "x"}}, 200,
     "orderClientExtensionsModifyTransaction"),
    ("position", "list", ("A",), {}, 200, "positions"),
    ("position", "list_open", ("A",), {}, 200, "positions"),
    ("position", "get", ("A", "EUR_USD"), {}, 200, "position"),
    ("position", "close", ("A", "EUR_USD"), {"longUnits": "ALL"}, 200, "longOrderFillTransaction"),
    ("pricing", "get", ("A",), {"instruments": "EUR_USD", "includeHomeConversions": True}, 200,
     "homeConversions"),
    ("pricing", "stream", ("A",), {"instruments": "EUR_USD"}, 200, None),
    ("trade", "list", ("A",), {"state": "ALL"}, 200, "trades"),
    ("trade", "list_open", ("A",), {}, 200, "trades"),
    ("trade", "get", ("A", "5"), {}, 200, "trade"),
    ("trade", "close", ("A", "5"), {"units": "ALL"}, 200, "orderFillTransaction"),
    ("trade", "set_client_extensions", ("A", "5"), {"clientExtensions": {"id": "mine"}}, 200,
     "tradeClientExtensionsModifyTransaction"),
    ("trade", "set_dependent_orders", ("A", "5"), {"stopLoss": {"price": "1.02"}}, 200,
     "stopLossOrderTransaction"),
    ("transaction", "list", ("A",), {}, 200, "pages"),
    ("transaction", "get", ("A", "5"), {}, 200, "transaction"),
    ("transaction", "range", ("A",), {"fromID": 1, "toID": 3}, 200, "transactions"),
    ("transaction", "since", ("A",), {"id": 1}, 200, "transactions"),
    ("transaction", "stream", ("A",), {}, 200, None),
]  # fmt: skip


@pytest.fixture
def traded(stepped):
    """An account with trades and orders of every kind, and OANDA's client."""
    context = v20.Context("127.0.0.1", stepped.port, ssl=False, token="any", poll_timeout=60)
    account, order = stepped.account_id, context.order
    order.market(account, instrument="EUR_USD", units=100)
    order.limit(account, **LIMIT, clientExtensions={"id": "limit"})
    order.stop(account, **STOP, clientExtensions={"id": "stop"})
    order.market(
        account, instrument="EUR_USD", units=7,
        takeProfitOnFill={"price": "1.3", "clientExtensions": {"id": "tp"}},
        stopLossOnFill={"price": "1.0", "clientExtensions": {"id": "sl"}},
        trailingStopLossOnFill={"distance": "0.05", "clientExtensions": {"id": "tsl"}},
    )  # fmt: skip
    order.market_if_touched(account, **STOP, clientExtensions={"id": "mit"})
    return stepped, context


def test_no_call_is_forgotten():
    context = v20.Context("127.0.0.1", 1, ssl=False)
    calls = {
        (room, name)
        for room in ROOMS
        for name, made in inspect.getmembers(getattr(context, room), inspect.ismethod)
        if not name.startswith("_")
    }
    assert calls == {call[:2] for call in CALLS} | set(DEAD)


@pytest.mark.parametrize("call", CALLS, ids=[f"{call[0]}.{call[1]}" for call in CALLS])
def test_every_call_is_answered_as_the_client_expects(traded, call):
    running, context = traded
    room, name, arguments, keywords, status, key = call
    arguments = [running.account_id if part == "A" else part for part in arguments]
    answer = getattr(getattr(context, room), name)(*arguments, **keywords)
    assert answer.status == status
    if key is None:
        with ThreadPoolExecutor(1) as reader:
            part = reader.submit(next, iter(answer.parts()))
            running.wait_for_streams(1)
            running.advance(6)
            kind, value = part.result()
        assert kind in ("pricing.ClientPrice", "transaction.TransactionHeartbeat")
        assert value.time.endswith("Z")
    else:
        assert answer.get(key, status) is not None


def test_it_reads_a_reject_as_its_own_class(traded):
    running, context = traded
    answer = context.order.market(running.account_id, instrument="EUR_USD", units=0)
    assert answer.status == 400
    reject = answer.get("orderRejectTransaction", 400)
    assert (reject.type, reject.rejectReason) == ("MARKET_ORDER_REJECT", "UNITS_INVALID")


def test_it_reads_unix_times(traded):
    running, context = traded
    context.set_datetime_format_unix()
    trade = context.trade.get(running.account_id, "5").get("trade", 200)
    assert trade.openTime == "1790172000.000000000"


@pytest.mark.parametrize(("room", "name"), sorted(DEAD))
def test_dead_calls_are_refused(traded, room, name):
    _, context = traded
    keywords = {} if room != "pricing" or name == "candles" else {"instruments": "EUR_USD"}
    arguments = ("EUR_USD",) if room in ("instrument", "pricing") else ("@",)
    if name == "base_prices":
        arguments = ()
    assert getattr(getattr(context, room), name)(*arguments, **keywords).status in (401, 404)
