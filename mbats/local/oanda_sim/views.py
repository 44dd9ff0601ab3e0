"""The documents that answers are made of: orders, trades, positions, the account."""

from decimal import ROUND_HALF_EVEN, Decimal

from mbats.local.oanda_sim import margin
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.book import Market
from mbats.local.oanda_sim.config import Spec
from mbats.local.oanda_sim.money import (
    ZERO,
    amount_text,
    percent_text,
    plain_text,
    price_text,
    twelve_digits_text,
)
from mbats.local.oanda_sim.state import (
    DEPENDENT,
    PENDING,
    Document,
    Order,
    PositionTotals,
    SideTotals,
    Trade,
)

_ORDER_FIELDS = (
    "instrument", "units", "price", "priceBound", "distance", "tradeID", "clientTradeID",
    "timeInForce", "gtdTime", "triggerCondition", "positionFill", "takeProfitOnFill",
    "stopLossOnFill", "trailingStopLossOnFill", "tradeClientExtensions", "replacesOrderID",
    "initialMarketPrice", "tradeClose", "longPositionCloseout", "shortPositionCloseout",
    "marginCloseout",
)  # fmt: skip
_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def order(account: Account, shown: Order) -> Document:
    """Return an order's document."""
    document: Document = {
        "id": str(shown.id),
        "createTime": shown.create["time"],
        "type": shown.kind,
        **{key: shown.create[key] for key in _ORDER_FIELDS if key in shown.create},
        "state": shown.state,
    }
    if shown.kind not in ("MARKET", *DEPENDENT):
        document["partialFill"] = "DEFAULT_FILL"
    if shown.client:
        document["clientExtensions"] = shown.client
    if shown.id in account.trails and shown.state == PENDING:
        precision = account.spec_of(shown.instrument).precision
        document["trailingStopValue"] = price_text(account.trails[shown.id], precision)
    return {**document, **shown.ended}


def trade(account: Account, shown: Trade, *, linked: bool = True) -> Document:
    """Return a trade's document; with ``linked`` its dependent orders whole, else their ids."""
    spec = account.spec_of(shown.instrument)
    document: Document = {
        "id": str(shown.id),
        "instrument": shown.instrument,
        "price": price_text(shown.price, spec.precision),
        "openTime": shown.open_time,
        "initialUnits": plain_text(shown.initial_units),
        "initialMarginRequired": amount_text(shown.initial_margin),
        "state": "OPEN" if shown.is_open else "CLOSED",
        "currentUnits": plain_text(shown.units),
        "realizedPL": amount_text(shown.realized_pl),
        "financing": amount_text(shown.financing),
        "dividendAdjustment": "0.0000",
    }
    if shown.client:
        document["clientExtensions"] = shown.client
    if shown.closed_units:
        average = shown.closed_value / shown.closed_units
        document["averageClosePrice"] = price_text(average, spec.precision)
        document["closingTransactionIDs"] = list(shown.closing_ids)
    if shown.is_open:
        document.update(trade_state(account, shown))
    else:
        document["closeTime"] = shown.close_time
    for kind, order_id in sorted(shown.dependents.items()):
        if linked:
            name = _camel(kind) + "Order"
            document[name] = order(account, account.state.orders[order_id])
        else:
            document[_camel(kind) + "OrderID"] = str(order_id)
    return document


def trade_state(account: Account, shown: Trade) -> Document:
    """Return the price-dependent fields of an open trade."""
    state, market = account.state, account.market
    return {
        "unrealizedPL": amount_text(margin.unrealized(state, market, shown)),
        "marginUsed": amount_text(margin.required(state, market, shown.instrument, shown.units)),
    }


def _camel(kind: str) -> str:
    first, *rest = kind.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def position(account: Account, instrument: str) -> Document:
    """Return a position's document; the instrument was traded before."""
    totals = account.state.positions.get(instrument, PositionTotals())
    sides = {
        "long": _side(account, instrument, True, totals.long),
        "short": _side(account, instrument, False, totals.short),
    }
    unrealized = sum((Decimal(side["unrealizedPL"]) for side in sides.values()), ZERO)
    pl = amount_text(totals.long.pl + totals.short.pl)
    document: Document = {
        "instrument": instrument,
        **sides,
        "pl": pl,
        "resettablePL": pl,
        "financing": amount_text(totals.long.financing + totals.short.financing),
        "commission": amount_text(totals.commission),
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": amount_text(unrealized),
    }
    units = account.state.net_units(instrument)
    if any(True for _ in account.state.position_trades(instrument)):
        needed = _position_margin(account, instrument, units)
        document["marginUsed"] = amount_text(needed)
    return document


def _position_margin(account: Account, instrument: str, net: Decimal) -> Decimal:
    units = abs(net)
    if account.spec.hedging:
        long = account.state.net_units(instrument, is_long=True)
        units = max(long, long - net)
    return margin.required(account.state, account.market, instrument, units)


def _side(account: Account, instrument: str, is_long: bool, totals: SideTotals) -> Document:
    trades = list(account.state.position_trades(instrument, is_long))
    units = sum((t.units for t in trades), ZERO)
    unrealized = sum((margin.unrealized(account.state, account.market, t) for t in trades), ZERO)
    document: Document = {"units": plain_text(units)}
    if trades:
        value = sum((t.units * t.price for t in trades), ZERO)
        tick = account.spec_of(instrument).instrument.tick
        average = (value / units).quantize(tick, rounding=ROUND_HALF_EVEN)
        document["averagePrice"] = f"{average}"
        document["tradeIDs"] = [str(t.id) for t in trades]
    pl = amount_text(totals.pl)
    return {
        **document,
        "pl": pl,
        "resettablePL": pl,
        "financing": amount_text(totals.financing),
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": amount_text(unrealized),
    }


def open_instruments(account: Account) -> list[str]:
    """Return the instruments with open trades, in the order of their first trade."""
    return list(dict.fromkeys(t.instrument for t in account.state.open_trades.values()))


def figures(account: Account) -> Document:
    """Return the price-dependent figures of the account, as summary and changes show them."""
    made = margin.figures(account.state, account.spec, account.market)
    return {
        "unrealizedPL": amount_text(made.unrealized_pl),
        "NAV": amount_text(made.nav),
        "marginUsed": amount_text(made.margin_used),
        "marginAvailable": amount_text(made.margin_available),
        "positionValue": amount_text(made.position_value),
        "marginCloseoutUnrealizedPL": amount_text(made.closeout_unrealized_pl),
        "marginCloseoutNAV": amount_text(made.closeout_nav),
        "marginCloseoutMarginUsed": amount_text(made.margin_used),
        "marginCloseoutPositionValue": amount_text(made.position_value),
        "marginCloseoutPercent": percent_text(made.closeout_percent),
        "withdrawalLimit": amount_text(max(min(state_limit(account, made), made.nav), ZERO)),
        "marginCallMarginUsed": amount_text(made.margin_used),
        "marginCallPercent": percent_text(made.call_percent),
    }


def state_limit(account: Account, made: margin.Figures) -> Decimal:
    """Return what could be withdrawn: the margin available, at most the balance."""
    return min(made.margin_available, account.state.balance)


def summary(account: Account) -> Document:
    """Return the account without its orders, trades and positions."""
    state = account.state
    pl = amount_text(state.pl)
    return {
        "guaranteedStopLossOrderMode": "DISABLED",
        "hedgingEnabled": account.spec.hedging,
        "id": account.spec.id,
        "createdTime": state.created,
        "currency": state.currency,
        "createdByUserID": account.ledger.user_id,
        "alias": state.alias,
        "marginRate": plain_text(state.margin_rate),
        "lastTransactionID": str(account.ledger.last_id),
        "balance": amount_text(state.balance),
        "openTradeCount": len(state.open_trades),
        "openPositionCount": len(open_instruments(account)),
        "pendingOrderCount": len(state.pending),
        "pl": pl,
        "resettablePL": pl,
        "resettablePLTime": "0",
        "financing": amount_text(state.financing),
        "commission": amount_text(state.commission),
        "dividendAdjustment": "0",
        "guaranteedExecutionFees": "0.0000",
        **_margin_call(account),
        **figures(account),
    }


def _margin_call(account: Account) -> Document:
    """Return since when the account is in a margin call; no call is ever extended here."""
    since = account.state.margin_call_since
    if since is None:
        return {}
    return {"marginCallEnterTime": since, "marginCallExtensionCount": 0}


def full(account: Account) -> Document:
    """Return the account with its pending orders, open trades and positions."""
    state = account.state
    return {
        **summary(account),
        "orders": [order(account, shown) for shown in state.pending.values()],
        "trades": [trade(account, t, linked=False) for t in state.open_trades.values()],
        "positions": [position(account, name) for name in state.positions],
    }


def instrument(spec: Spec) -> Document:
    """Return an instrument's document."""
    shown = spec.instrument
    return {
        "name": shown.name,
        "type": "METAL" if shown.base in ("XAU", "XAG") else "CURRENCY",
        "displayName": shown.display_name or shown.name.replace("_", "/"),
        "pipLocation": shown.pip_location,
        "displayPrecision": shown.price_precision,
        "tradeUnitsPrecision": shown.units_precision,
        "minimumTradeSize": plain_text(shown.minimum_trade_units),
        "maximumTrailingStopDistance": price_text(
            spec.maximum_trail_pips * shown.pip, shown.price_precision
        ),
        "minimumTrailingStopDistance": price_text(
            spec.minimum_trail_pips * shown.pip, shown.price_precision
        ),
        "maximumPositionSize": plain_text(spec.maximum_position_units),
        "maximumOrderUnits": plain_text(shown.maximum_order_units),
        "marginRate": plain_text(shown.margin_rate),
        "guaranteedStopLossOrderMode": "DISABLED",
        "tags": [{"type": "ASSET_CLASS", "name": "CURRENCY"}],
        "financing": {
            "longRate": plain_text(shown.financing_long_rate),
            "shortRate": plain_text(shown.financing_short_rate),
            "financingDaysOfWeek": [
                {"dayOfWeek": day, "daysCharged": charged}
                for day, charged in zip(_DAYS, spec.financing_days, strict=True)
            ],
        },
    }


def home_conversions(market: Market, currencies: set[str], home: str) -> list[Document]:
    """Return the homeConversions of a pricing answer."""
    made = []
    for currency in sorted(currencies | {home}):
        try:
            conversion = market.conversion(currency, home)
        except KeyError:
            continue
        made.append(
            {
                "currency": currency,
                "accountGain": twelve_digits_text(conversion.gain),
                "accountLoss": twelve_digits_text(conversion.loss),
                "positionValue": twelve_digits_text(conversion.middle),
                "unrealizedAccountGain": twelve_digits_text(conversion.bid),
                "unrealizedAccountLoss": twelve_digits_text(conversion.ask),
            }
        )
    return made


def units_available(account: Account, instrument: str) -> Document:
    """Return how many units margin allows of each side, by position fill."""
    state, market = account.state, account.market
    made = margin.figures(state, account.spec, market)
    each = margin.unit_value(state, market, instrument) * margin.rate(state, market, instrument)
    opens = (made.margin_available / each).to_integral_value(rounding="ROUND_DOWN")
    long = state.net_units(instrument, is_long=True)
    short = -state.net_units(instrument, is_long=False)
    both = {"long": plain_text(opens + 2 * short), "short": plain_text(opens + 2 * long)}
    only = {"long": plain_text(opens), "short": plain_text(opens)}
    return {
        "default": only if account.spec.hedging else both,
        "reduceFirst": both,
        "reduceOnly": {"long": plain_text(short), "short": plain_text(long)},
        "openOnly": only,
    }
