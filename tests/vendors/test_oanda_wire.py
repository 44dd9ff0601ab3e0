"""OANDA's log in our words: every type and reason that its description has, and those it lacks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mbats.errors import DataError
from mbats.live.orders.transactions import (
    BalanceChanged,
    CancelRejected,
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    Remark,
    Transaction,
)
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderType, Role
from mbats.vendors import oanda_wire as wire
from tests.live.fakes import intent
from tests.local.oanda_sim.described import example, unknown, words

D = Decimal
EUR_USD = Instrument("EUR_USD", -4, 5)
UNTIL = datetime(2026, 11, 23, 13, tzinfo=UTC)
BASE = {"id": "7", "time": "2026-11-23T12:00:00.123456789Z", "accountID": "A"}

# Every type of transaction, and what it is to the order protocol.
MEANINGS = {
    OrderCreated: (
        "MARKET_ORDER", "FIXED_PRICE_ORDER", "LIMIT_ORDER", "STOP_ORDER",
        "MARKET_IF_TOUCHED_ORDER", "TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER",
        "TRAILING_STOP_LOSS_ORDER",
    ),
    OrderRejected: (
        "MARKET_ORDER_REJECT", "LIMIT_ORDER_REJECT", "STOP_ORDER_REJECT",
        "MARKET_IF_TOUCHED_ORDER_REJECT", "TAKE_PROFIT_ORDER_REJECT", "STOP_LOSS_ORDER_REJECT",
        "TRAILING_STOP_LOSS_ORDER_REJECT",
    ),
    OrderFilled: ("ORDER_FILL",),
    OrderCancelled: ("ORDER_CANCEL",),
    CancelRejected: ("ORDER_CANCEL_REJECT",),
    BalanceChanged: ("DAILY_FINANCING", "TRANSFER_FUNDS"),
    Remark: (
        "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "MARGIN_CALL_ENTER", "MARGIN_CALL_EXTEND",
        "MARGIN_CALL_EXIT", "DELAYED_TRADE_CLOSURE", "ORDER_CLIENT_EXTENSIONS_MODIFY",
        "TRADE_CLIENT_EXTENSIONS_MODIFY",
    ),
    Transaction: (
        "CREATE", "RESET_RESETTABLE_PL", "CLIENT_CONFIGURE_REJECT", "TRANSFER_FUNDS_REJECT",
        "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT", "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT",
    ),
}  # fmt: skip
MEANING = {kind: meaning for meaning, kinds in MEANINGS.items() for kind in kinds}

# The fields without which a transaction of that meaning says nothing; all others may be missing.
NEEDED = {
    OrderCreated: {"instrument": "EUR_USD", "units": "1"},
    OrderFilled: {"orderID": "6", "instrument": "EUR_USD", "units": "1", "price": "1.1",
                  "accountBalance": "1000.0000"},
    OrderCancelled: {"orderID": "6"},
    BalanceChanged: {"accountBalance": "1000.0000"},
}  # fmt: skip


def described(kind):
    """Return a transaction of ``kind`` with every field of the description."""
    name = "".join("PL" if word == "PL" else word.capitalize() for word in kind.split("_"))
    return {**example(f"transaction.{name}Transaction"), "type": kind}


def understood(kind, **fields):
    return wire.transaction({**BASE, **NEEDED.get(MEANING.get(kind), {}), "type": kind, **fields})


def test_every_type_of_the_description_has_a_meaning():
    assert words("transaction.TransactionType") <= set(MEANING)


@pytest.mark.parametrize("kind", MEANING)
def test_each_type_is_what_it_means_full_and_bare(kind):
    full = wire.transaction(described(kind))
    assert type(full) is MEANING[kind]
    assert (full.id, full.time, full.type) == (7, wire.parse_time(BASE["time"]), kind)
    assert type(understood(kind)) is MEANING[kind]


GSLO = "GUARANTEED_STOP_LOSS_ORDER"
LATER = [
    (GSLO, {"tradeID": "5", "price": "1.1"}, OrderCreated),
    (f"{GSLO}_REJECT", {"rejectReason": "GUARANTEED_STOP_LOSS_ORDER_REQUIRED"}, OrderRejected),
    ("DIVIDEND_ADJUSTMENT", {"accountBalance": "1000.0"}, BalanceChanged),
    ("SOMETHING_NEW", {}, Remark),
]


@pytest.mark.parametrize(("kind", "fields", "meaning"), LATER)
def test_types_that_the_description_lacks_have_a_meaning_too(kind, fields, meaning):
    assert type(understood(kind, **fields)) is meaning


REMARKS = {
    "CLOSE": "critical",
    "MARGIN_CALL_ENTER": "critical",
    "MARGIN_CALL_EXTEND": "critical",
    "MARGIN_CALL_EXIT": "info",
    "DELAYED_TRADE_CLOSURE": "error",
    "ONE_CANCELS_ALL_ORDER": "error",
}


@pytest.mark.parametrize("kind", REMARKS)
def test_what_moves_no_order_is_told_as_badly_as_it_is(kind):
    assert understood(kind).severity == REMARKS[kind]


def test_an_unknown_type_that_moves_money_gives_the_balance():
    assert understood("SOMETHING_NEW", accountBalance="999.5000").balance == D("999.5")
    assert understood("SOMETHING_NEW").balance is None


# Reasons.


@pytest.mark.parametrize("kind", MEANINGS[OrderRejected])
def test_every_reject_reason_comes_through(kind):
    for reason in words("transaction.TransactionRejectReason"):
        key = {"clientExtensions": {"id": "m1-key"}}
        made = understood(kind, rejectReason=reason, **key)
        assert (made.reason, made.client_key) == (reason, "m1-key")


def test_every_cancel_reason_ends_the_order():
    for reason in words("transaction.OrderCancelReason") | {"DIVIDEND_ADJUSTMENT_REPLACED"}:
        made = understood("ORDER_CANCEL", reason=reason, clientOrderID="m1-key")
        assert (made.order_id, made.reason, made.replaced_by) == (6, reason, None)
        assert understood("ORDER_CANCEL", reason=reason, replacedByOrderID="9").replaced_by == 9


def test_a_fill_is_a_fill_whatever_filled_it():
    part = {"tradeID": "5", "units": "-1", "realizedPL": "2.0000", "price": "1.2"}
    for reason in words("transaction.OrderFillReason") | {"FIXED_PRICE_ORDER", GSLO}:
        made = understood("ORDER_FILL", reason=reason, tradesClosed=[part], tradeReduced=part)
        assert (made.order_id, made.reason, made.over) == (6, reason, True)
        assert [p.realised_pnl for p in (*made.closed, made.reduced)] == [2, 2]


EXITS = {
    "MARKET_ORDER": words("transaction.MarketOrderReason") - {"CLIENT_ORDER"},
    "FIXED_PRICE_ORDER": {
        "TRADE_CLOSE_ADMINISTRATIVE_ACTION", "TRADE_CLOSE_DIVISION_ACCOUNT_MIGRATION",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", EXITS)
def test_an_order_of_the_brokers_own_that_closes_is_an_exit(kind):
    assert {understood(kind, reason=r).role for r in EXITS[kind]} == {Role.EXIT}
    assert understood(kind, reason="CLIENT_ORDER").role is Role.ENTRY
    assert understood(kind, reason="PLATFORM_ACCOUNT_MIGRATION").role is Role.ENTRY


# What cannot be read.

UNREADABLE = [
    {}, {"type": "ORDER_FILL"}, {**BASE, "type": "ORDER_CANCEL"}, {**BASE, "type": None, "id": "x"},
    {**BASE, "type": "MARKET_ORDER", "instrument": "EUR_USD", "units": "many"},
    {**BASE, "type": "ORDER_FILL", **NEEDED[OrderFilled], "tradeOpened": "5"}, None,
]  # fmt: skip


@pytest.mark.parametrize("document", UNREADABLE)
def test_what_cannot_be_read_is_named_and_stops(document):
    with pytest.raises(DataError) as caught:
        wire.transaction(document)
    assert "cannot be read" in caught.value.cause
    assert repr(document)[:60] in caught.value.tried[0]


def test_no_extensions_at_all_are_none():
    made = understood("MARKET_ORDER", clientExtensions=None)
    assert (made.client_key, made.tag, made.comment) == (None, None, None)
    assert understood("MARKET_ORDER_REJECT", clientExtensions=None).tag is None


# What we send.

LEGS = {"stop_loss": D("1.09"), "take_profit": D("1.2"), "trailing_distance": D("0.01")}
SENT = [
    ("Market", OrderType.MARKET, {}),
    ("Market", OrderType.MARKET, {"price_bound": D("1.11"), **LEGS}),
    ("Market", OrderType.MARKET, {"price": D("1.1"), "reduce_only": True}),
    ("Limit", OrderType.MARKET, {"price_bound": D("1.11"), "expires_at": UNTIL, **LEGS}),
    ("Limit", OrderType.LIMIT, {"price_bound": D("1.11"), "legs_expire_at": UNTIL, **LEGS}),
    ("Limit", OrderType.LIMIT, {"expires_at": UNTIL + timedelta(microseconds=7)}),
    ("Stop", OrderType.STOP, {"price_bound": D("1.11"), "expires_at": UNTIL, **LEGS}),
]


@pytest.mark.parametrize(("kind", "type_", "changes"), SENT)
def test_what_we_send_is_what_the_description_takes(kind, type_, changes):
    body = wire.order_body(replace(intent(kind=type_), **changes), EUR_USD, "fence=1")
    assert body["type"] == kind.upper()
    assert unknown(f"order.{kind}OrderRequest", body, "order") == []
    legs = {name: leg for name, leg in body.items() if name.endswith("OnFill")}
    assert len(legs) == sum(name in changes for name in LEGS)
