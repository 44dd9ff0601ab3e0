"""The pre-trade rules, each one class: a reason code, a sentence for the docs, one check.

A rule returns why it denies, or None. A rule that is not ``always`` is not asked about orders that
can only bring a position nearer to flat: closing a position must stay possible when a limit
is breached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent, Side
from mbats.trading.risk import exposure
from mbats.trading.risk.context import Quote, RiskContext, TradingState

MINUTE = timedelta(minutes=1)


class Rule(Protocol):
    """One reason not to send an order."""

    code: str
    description: str
    always: bool

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Return why ``intent`` is denied, with the figures, or None."""
        ...


class KillSwitch:
    """The kill switch."""

    code = "KILL_SWITCH"
    description = "The desk is halted, or is only reducing and the order would not reduce."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny everything when halted, and what does not reduce when reducing."""
        if context.state is TradingState.HALTED:
            return "the desk is halted"
        if context.state is TradingState.REDUCING and not context.reduces(intent):
            return "the desk is only reducing positions"
        return None


class UnknownInstrument:
    """Instruments the broker does not list."""

    code = "UNKNOWN_INSTRUMENT"
    description = "The broker does not list the instrument."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny what is not among the instruments."""
        known = intent.instrument in context.instruments
        return None if known else f"{intent.instrument} is not listed"


class Session:
    """Market hours."""

    code = "SESSION_CLOSED"
    description = "The FX week is closed: Friday 17:00 to Sunday 17:00 New York."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny outside the trading session."""
        return None if context.session_open else "the market is closed"


class StalePrice:
    """The age of the newest price."""

    code = "STALE_PRICE"
    description = "There is no price, it is too old, it is from the future, or not tradeable."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny without a fresh, tradeable price; a price from the future is a clock that jumped."""
        quote = context.quotes.get(intent.instrument)
        if quote is None:
            return "no price yet"
        age = context.now - quote.time
        if abs(age) > context.limits.price_age:
            return f"the price is {age.total_seconds():.1f} s old"
        return None if quote.tradeable else "the price is marked not tradeable"


class CrossedPrice:
    """Prices that cannot be."""

    code = "BAD_PRICE"
    description = "Bid above ask, or a price that is not a positive number."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny on a price no market can have."""
        quote = context.quotes.get(intent.instrument)
        if quote is None:
            return None
        numbers = quote.bid.is_finite() and quote.ask.is_finite()
        if not numbers or quote.bid <= 0 or quote.spread < 0:
            return f"bid {quote.bid}, ask {quote.ask}"
        return None


class SpreadCap:
    """Wide spreads."""

    code = "SPREAD_TOO_WIDE"
    description = "The spread is above the cap."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the spread in pips is above the limit."""
        market = _market(intent, context)
        cap = context.limits.spread_pips
        if market is None or cap is None:
            return None
        quote, instrument = market
        pips = quote.spread / instrument.pip
        return f"{pips:.1f} pips, cap {cap}" if pips > cap else None


class PriceCollar:
    """Prices far from the market."""

    code = "PRICE_COLLAR"
    description = "The order's price or bound is too far from the market."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when a price of the order is further from the mid than the collar allows."""
        market = _market(intent, context)
        collar = context.limits.collar_pips
        if market is None or collar is None:
            return None
        quote, instrument = market
        asked = (intent.price, intent.price_bound)
        for price in (p for p in asked if p is not None):
            pips = abs(price - quote.mid) / instrument.pip
            if pips > collar:
                return f"{price} is {pips:.1f} pips from {quote.mid}, collar {collar}"
        return None


class WrongSideLegs:
    """Stops and targets that would fill at once."""

    code = "WRONG_SIDE_LEG"
    description = "A stop loss or take profit lies on the wrong side of the market."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny a buy with a stop above or a target below its entry, and the mirror image."""
        quote = context.quotes.get(intent.instrument)
        if quote is None:
            return None
        entry = intent.price or (quote.ask if intent.side is Side.BUY else quote.bid)
        sign = intent.side.sign
        if intent.stop_loss is not None and (entry - intent.stop_loss) * sign <= 0:
            return f"stop loss {intent.stop_loss} for an entry at {entry}"
        if intent.take_profit is not None and (intent.take_profit - entry) * sign <= 0:
            return f"take profit {intent.take_profit} for an entry at {entry}"
        return None


class UnitsCap:
    """The size of one order."""

    code = "UNITS_CAP"
    description = "The order is larger than the desk or the broker allows, or below its minimum."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny sizes outside the instrument's range, above the cap, or of too many decimals."""
        instrument = context.instruments.get(intent.instrument)
        if instrument is None:
            return None
        step = Decimal(1).scaleb(-instrument.units_precision)
        if intent.units % step:
            return f"{intent.units} units, in steps of {step}"
        if intent.units < instrument.minimum_trade_units:
            return f"{intent.units} units, minimum {instrument.minimum_trade_units}"
        cap = min(
            c for c in (context.limits.units, instrument.maximum_order_units) if c is not None
        )
        if intent.units > cap and not context.reduces(intent):
            return f"{intent.units} units, cap {cap}"
        return None


class NotionalCap:
    """The value of one order."""

    code = "NOTIONAL_CAP"
    description = "The order's value in account currency is above the cap, or cannot be told."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when units times price, in account currency, is above the limit."""
        cap = context.limits.notional
        if cap is None:
            return None
        value = context.notional(intent.instrument, intent.units)
        if value is None:
            return "no conversion rate to value it"
        return f"{value:.2f}, cap {cap}" if value > cap else None


class GrossExposure:
    """The value of everything held."""

    code = "GROSS_EXPOSURE"
    description = "All positions together would be worth more than the cap."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the sum of absolute notionals after the fill is above the limit."""
        return exposure.over_gross(context, context.after(intent))


class NetCurrencyExposure:
    """The value held in one currency."""

    code = "NET_CURRENCY_EXPOSURE"
    description = "One currency would be held, or owed, for more than the cap."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the net value in any currency after the fill is above the limit."""
        return exposure.over_net(context, context.after(intent))


class OpenOrders:
    """The number of waiting orders."""

    code = "OPEN_ORDERS"
    description = "Too many orders wait at the broker."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the account has as many waiting orders as the limit."""
        cap = context.limits.open_orders
        reached = cap is not None and context.waiting >= cap
        return f"{context.waiting} wait, cap {cap}" if reached else None


class OrderRate:
    """How fast orders go out."""

    code = "ORDER_RATE"
    description = "Too many orders in the last minute: a strategy may have run away."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the last minute already has as many orders as the limit."""
        cap = context.limits.orders_per_minute
        count = sum(context.now - sent.time < MINUTE for sent in context.recent)
        return f"{count} in a minute, cap {cap}" if cap is not None and count >= cap else None


class DuplicateWindow:
    """The same order again."""

    code = "DUPLICATE"
    description = "The same strategy sent the same units of the same instrument a moment ago."
    always = True

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny an order equal to one sent within the window."""
        for sent in context.recent:
            # A reversal is an exit and an entry of the same units: two orders, not one twice.
            same = (sent.strategy, sent.instrument, sent.signed_units, sent.reduce_only) == (
                intent.strategy,
                intent.instrument,
                intent.signed_units,
                intent.reduce_only,
            )
            age = context.now - sent.time
            if same and age < context.limits.duplicate_window:
                return f"an equal order {age.total_seconds():.1f} s ago"
        return None


class DailyLoss:
    """The loss of the day."""

    code = "DAILY_LOSS"
    description = "The loss since 17:00 New York has reached the limit."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the net asset value has fallen by the limit since the day began."""
        return exposure.over_daily_loss(context)


class Drawdown:
    """The fall from the peak."""

    code = "DRAWDOWN"
    description = "The net asset value has fallen too far from its peak."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the fall from the peak, as a fraction of it, has reached the limit."""
        return exposure.over_drawdown(context)


class Margin:
    """Margin for the order."""

    code = "MARGIN"
    description = "The account has not the margin for the order."
    always = False

    def check(self, intent: OrderIntent, context: RiskContext) -> str | None:
        """Deny when the margin the order needs is not available, or cannot be told."""
        instrument = context.instruments.get(intent.instrument)
        if instrument is None:
            return None
        value = context.notional(intent.instrument, intent.units)
        if value is None:
            return "no conversion rate to value it"
        needed = value * instrument.margin_rate
        available = context.margin_available
        return f"needs {needed:.2f}, available {available:.2f}" if needed > available else None


RULES: Sequence[Rule] = (
    KillSwitch(),
    UnknownInstrument(),
    Session(),
    CrossedPrice(),
    StalePrice(),
    SpreadCap(),
    PriceCollar(),
    WrongSideLegs(),
    UnitsCap(),
    NotionalCap(),
    GrossExposure(),
    NetCurrencyExposure(),
    OpenOrders(),
    OrderRate(),
    DuplicateWindow(),
    DailyLoss(),
    Drawdown(),
    Margin(),
)
"""Every rule, in the order they are asked."""


@dataclass(frozen=True)
class Denial:
    """Why an order was not sent: the rule's code, and its figures for a person."""

    code: str
    detail: str


def check(
    intent: OrderIntent, context: RiskContext, rules: Sequence[Rule] = RULES
) -> Denial | None:
    """Return the first rule's denial of ``intent``, or None when every rule lets it pass."""
    reduces = context.reduces(intent)
    for rule in rules:
        if reduces and not rule.always:
            continue
        detail = rule.check(intent, context)
        if detail is not None:
            return Denial(rule.code, detail)
    return None


def _market(intent: OrderIntent, context: RiskContext) -> tuple[Quote, Instrument] | None:
    quote = context.quotes.get(intent.instrument)
    instrument = context.instruments.get(intent.instrument)
    return (quote, instrument) if quote and instrument else None
