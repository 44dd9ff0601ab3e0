"""OANDA's v20 JSON, both ways: its transactions into ours, our intents into its order bodies.

Names and meanings are those of OANDA's OpenAPI description of v20 and of recorded answers. A
transaction of an unknown type is a remark, which people hear of: the log must stay contiguous.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from mbats.errors import ConfigError, DataError
from mbats.live.orders.ports import AccountState, OpenOrder, OpenTrade
from mbats.live.orders.transactions import (
    BalanceChanged,
    CancelRejected,
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    Remark,
    TradePart,
    Transaction,
)
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent, OrderType, Role, leg_key

Json = Mapping[str, Any]

_ORDERS = {
    "MARKET_ORDER": OrderType.MARKET,
    "FIXED_PRICE_ORDER": OrderType.MARKET,
    "LIMIT_ORDER": OrderType.LIMIT,
    "STOP_ORDER": OrderType.STOP,
    "MARKET_IF_TOUCHED_ORDER": "market_if_touched",
}
_LEGS = {
    "TAKE_PROFIT_ORDER": (OrderType.LIMIT, Role.TAKE_PROFIT),
    "STOP_LOSS_ORDER": (OrderType.STOP, Role.STOP_LOSS),
    "GUARANTEED_STOP_LOSS_ORDER": (OrderType.STOP, Role.STOP_LOSS),
    "TRAILING_STOP_LOSS_ORDER": (OrderType.TRAILING_STOP, Role.TRAILING_STOP),
}
_CLOSING_REASONS = {
    "TRADE_CLOSE",
    "POSITION_CLOSEOUT",
    "MARGIN_CLOSEOUT",
    "DELAYED_TRADE_CLOSE",
    "TRADE_CLOSE_ADMINISTRATIVE_ACTION",
    "TRADE_CLOSE_DIVISION_ACCOUNT_MIGRATION",
}
_AMOUNTS = {
    "DAILY_FINANCING": "financing",
    "TRANSFER_FUNDS": "amount",
    "DIVIDEND_ADJUSTMENT": "dividendAdjustment",
}
_REMARKS = {
    "CLOSE": ("critical", "the account was closed"),
    "REOPEN": ("warning", "the account was opened again"),
    "CLIENT_CONFIGURE": ("warning", "the account's alias or margin rate was set"),
    "MARGIN_CALL_ENTER": ("critical", "a margin call began: a closeout is near"),
    "MARGIN_CALL_EXTEND": ("critical", "the margin call goes on"),
    "MARGIN_CALL_EXIT": ("info", "the margin call is over"),
    "DELAYED_TRADE_CLOSURE": ("error", "trades are to be closed once their market opens"),
    "ORDER_CLIENT_EXTENSIONS_MODIFY": ("warning", "somebody renamed an order: mbats never does"),
    "TRADE_CLIENT_EXTENSIONS_MODIFY": ("warning", "somebody renamed a trade: mbats never does"),
}
_WITHOUT_EFFECT = {
    "CREATE",
    "CLIENT_CONFIGURE_REJECT",
    "TRANSFER_FUNDS_REJECT",
    "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT",
    "TRADE_CLIENT_EXTENSIONS_MODIFY_REJECT",
    "RESET_RESETTABLE_PL",
}
_UNKNOWN = ("error", "a kind of transaction that mbats does not know: look at the account")
_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time of up to nine decimals as aware UTC; nanoseconds are cut off."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    return moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))


def format_time(moment: datetime) -> str:
    """Return an aware time as OANDA writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def transaction(wire: Json) -> Transaction:
    """Return one entry of OANDA's log in our words. Raises :class:`DataError`."""
    try:
        return _transaction(wire)
    except _MALFORMED as error:
        raise DataError(
            f"A transaction of OANDA's log cannot be read: {error!r}.",
            tried=[f"{wire!r:.300}"],
            mend="`mbats halt`, then look at the account's history on OANDA's own site",
        ) from error


def _transaction(wire: Json) -> Transaction:
    kind = wire["type"]
    base = {"id": int(wire["id"]), "time": parse_time(wire["time"]), "type": kind}
    if kind in _ORDERS:
        return _order(wire, base)
    if kind in _LEGS:
        return _leg(wire, base)
    if kind.endswith("_ORDER_REJECT"):
        return OrderRejected(
            **base,
            client_key=_client_id(wire),
            instrument=wire.get("instrument"),
            reason=wire.get("rejectReason", ""),
            order_type=_refused_type(kind.removesuffix("_REJECT")),
            units=_decimal(wire.get("units")),
            tag=_client(wire, "tag"),
        )
    if kind == "ORDER_FILL":
        return _fill(wire, base)
    if kind == "ORDER_CANCEL":
        return OrderCancelled(
            **base,
            order_id=int(wire["orderID"]),
            client_key=wire.get("clientOrderID"),
            reason=wire.get("reason", ""),
            replaced_by=_integer(wire.get("replacedByOrderID")),
        )
    if kind == "ORDER_CANCEL_REJECT":
        return CancelRejected(
            **base,
            order_id=_integer(wire.get("orderID")),
            client_key=wire.get("clientOrderID"),
            reason=wire.get("rejectReason", ""),
        )
    if kind in _AMOUNTS and "accountBalance" in wire:
        return BalanceChanged(
            **base,
            amount=_decimal(wire.get(_AMOUNTS[kind])),
            balance=Decimal(wire["accountBalance"]),
            by_instrument=tuple(
                (part["instrument"], _decimal(part.get("financing")))
                for part in wire.get("positionFinancings", ())
            ),
        )
    if kind in _WITHOUT_EFFECT:
        return Transaction(**base)
    severity, detail = _REMARKS.get(kind, _UNKNOWN)
    balance = _optional(wire.get("accountBalance"))
    return Remark(**base, severity=severity, detail=detail, balance=balance)


def account_state(account: Json) -> AccountState:
    """Return the ``account`` of OANDA's account details."""
    return AccountState(
        account=account["id"],
        currency=account["currency"],
        hedging=bool(account["hedgingEnabled"]),
        balance=Decimal(account["balance"]),
        net_asset_value=Decimal(account["NAV"]),
        margin_used=_decimal(account.get("marginUsed")),
        margin_available=_decimal(account.get("marginAvailable")),
        last_id=int(account["lastTransactionID"]),
        positions={p["instrument"]: _net(p) for p in account["positions"] if _net(p)},
        orders=tuple(
            OpenOrder(
                order_id=int(order["id"]),
                client_key=_client_id(order),
                instrument=order.get("instrument"),
                units=Decimal(order["units"]) if "units" in order else None,
                trade_id=_integer(order.get("tradeID")),
            )
            for order in account["orders"]
        ),
        trades=tuple(
            OpenTrade(
                trade_id=int(trade["id"]),
                client_key=_client_id(trade),
                instrument=trade["instrument"],
                units=Decimal(trade["currentUnits"]),
                price=Decimal(trade["price"]),
            )
            for trade in account["trades"]
        ),
    )


def order_body(intent: OrderIntent, instrument: Instrument, comment: str) -> dict[str, Any]:
    """Return the ``order`` of a POST or PUT.

    A market order with a bound and an expiry is sent as a limit order at the bound, good till then:
    should it arrive late, OANDA refuses it, where a market order would fill.
    """
    bounded = intent.type is OrderType.MARKET and intent.price_bound and intent.expires_at
    kind = "LIMIT" if bounded else _WIRE_TYPES.get(intent.type)
    if kind is None:
        raise ConfigError(
            f"OANDA has no stand-alone {intent.type} order without a trade.",
            mend="use it as a leg of an entry",
        )
    body: dict[str, Any] = {
        "type": kind,
        "instrument": intent.instrument,
        "units": _units(intent, instrument),
        "timeInForce": _time_in_force(kind, intent),
        "positionFill": "REDUCE_ONLY" if intent.reduce_only else "DEFAULT",
        "clientExtensions": _extensions(intent.key, intent.strategy, comment),
        "tradeClientExtensions": _extensions(intent.key, intent.strategy, comment),
    }
    price = intent.price_bound if bounded else intent.price
    if price is not None and kind != "MARKET":
        body["price"] = _price(price, instrument)
    if intent.price_bound is not None and kind in ("MARKET", "STOP"):
        body["priceBound"] = _price(intent.price_bound, instrument)
    if intent.expires_at is not None and kind != "MARKET":
        body["gtdTime"] = format_time(intent.expires_at)
    return body | _legs(intent, instrument, comment)


_WIRE_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.STOP: "STOP"}


def _legs(intent: OrderIntent, instrument: Instrument, comment: str) -> dict[str, Any]:
    wanted = (
        ("takeProfitOnFill", "price", intent.take_profit, Role.TAKE_PROFIT),
        ("stopLossOnFill", "price", intent.stop_loss, Role.STOP_LOSS),
        ("trailingStopLossOnFill", "distance", intent.trailing_distance, Role.TRAILING_STOP),
    )
    until = intent.legs_expire_at
    expiry = {"timeInForce": "GTC" if until is None else "GTD"}
    if until is not None:
        expiry["gtdTime"] = format_time(until)
    return {
        name: {
            field: _price(value, instrument),
            "clientExtensions": _extensions(leg_key(intent.key, role), intent.strategy, comment),
            **expiry,
        }
        for name, field, value, role in wanted
        if value is not None
    }


def _time_in_force(kind: str, intent: OrderIntent) -> str:
    if kind == "MARKET":
        return "FOK"
    return "GTC" if intent.expires_at is None else "GTD"


def _units(intent: OrderIntent, instrument: Instrument) -> str:
    return f"{intent.signed_units:.{instrument.units_precision}f}"


def _price(price: Decimal, instrument: Instrument) -> str:
    return f"{instrument.round_price(price):.{instrument.price_precision}f}"


def _extensions(key: str, strategy: str, comment: str) -> dict[str, str]:
    return {"id": key, "tag": strategy, "comment": comment}


def _order(wire: Json, base: dict[str, Any]) -> OrderCreated:
    return OrderCreated(
        **base,
        client_key=_client_id(wire),
        order_type=_ORDERS[wire["type"]],
        instrument=wire["instrument"],
        units=Decimal(wire["units"]),
        price=_optional(wire.get("price")),
        role=Role.EXIT if wire.get("reason") in _CLOSING_REASONS else Role.ENTRY,
        tag=_client(wire, "tag"),
        comment=_client(wire, "comment"),
        replaces=_integer(wire.get("replacesOrderID")),
    )


def _leg(wire: Json, base: dict[str, Any]) -> OrderCreated:
    order_type, role = _LEGS[wire["type"]]
    return OrderCreated(
        **base,
        client_key=_client_id(wire),
        order_type=order_type,
        instrument=None,
        units=None,
        price=_optional(wire.get("price")),
        role=role,
        trade_id=_integer(wire.get("tradeID")),
        tag=_client(wire, "tag"),
        comment=_client(wire, "comment"),
        replaces=_integer(wire.get("replacesOrderID")),
    )


def _fill(wire: Json, base: dict[str, Any]) -> OrderFilled:
    opened, reduced = wire.get("tradeOpened"), wire.get("tradeReduced")
    realised = _decimal(wire.get("pl"))
    return OrderFilled(
        **base,
        order_id=int(wire["orderID"]),
        client_key=wire.get("clientOrderID"),
        instrument=wire["instrument"],
        units=Decimal(wire["units"]),
        price=Decimal(wire.get("fullVWAP") or wire["price"]),
        realised_pnl=realised,
        financing=_decimal(wire.get("financing")),
        commission=_decimal(wire.get("commission")),
        half_spread_cost=_decimal(wire.get("halfSpreadCost")),
        balance=Decimal(wire["accountBalance"]),
        reason=wire.get("reason", ""),
        opened=_part(opened, wire) if opened else None,
        closed=tuple(_part(part, wire) for part in wire.get("tradesClosed") or ()),
        reduced=_part(reduced, wire) if reduced else None,
        conversion_rate=_conversion_rate(wire, realised),
        mid_price=_mid_price(wire.get("fullPrice") or {}),
        over=True,  # an OANDA order has one fillingTransactionID: a fill ends it
    )


def _part(part: Json, fill: Json) -> TradePart:
    return TradePart(
        trade_id=int(part["tradeID"]),
        units=Decimal(part["units"]),
        price=Decimal(part.get("price") or fill["price"]),
        realised_pnl=_decimal(part.get("realizedPL")),
        financing=_decimal(part.get("financing")),
        client_key=_client_id(part),
    )


def _conversion_rate(wire: Json, realised: Decimal) -> Decimal | None:
    side = "gain" if realised >= 0 else "loss"
    factors = wire.get("homeConversionFactors") or {}
    nested = (factors.get(f"{side}QuoteHome") or {}).get("factor")
    return _optional(nested or wire.get(f"{side}QuoteHomeConversionFactor"))


def _mid_price(full: Json) -> Decimal | None:
    """Return the middle of the best bid and ask; None where a side is empty."""
    bids, asks = full.get("bids"), full.get("asks")
    if not bids or not asks:
        return None
    return (Decimal(bids[0]["price"]) + Decimal(asks[0]["price"])) / 2


def _net(position: Json) -> Decimal:
    return _decimal(position.get("long", {}).get("units")) + _decimal(
        position.get("short", {}).get("units")
    )


def _refused_type(kind: str) -> OrderType | str:
    return _ORDERS.get(kind) or _LEGS.get(kind, (kind.lower(),))[0]


def _client_id(wire: Json) -> str | None:
    return _client(wire, "id")


def _client(wire: Json, part: str) -> str | None:
    return (wire.get("clientExtensions") or {}).get(part)


def _integer(text: Any) -> int | None:
    return None if text in (None, "") else int(text)


def _optional(text: Any) -> Decimal | None:
    return None if text in (None, "") else Decimal(text)


def _decimal(text: Any) -> Decimal:
    return Decimal(text) if text not in (None, "") else Decimal(0)
