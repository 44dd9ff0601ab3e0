"""Margin, unrealised P&L and the figures of an account summary, from state and prices."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from mbats.local.oanda_sim.book import Market
from mbats.local.oanda_sim.config import AccountSpec
from mbats.local.oanda_sim.money import ZERO, account_amount
from mbats.local.oanda_sim.state import State, Trade

_HALF = Decimal("0.5")


@dataclass(frozen=True)
class Figures:
    """The price-dependent figures of an account, in account currency."""

    unrealized_pl: Decimal
    nav: Decimal
    margin_used: Decimal
    margin_available: Decimal
    position_value: Decimal
    closeout_unrealized_pl: Decimal
    closeout_nav: Decimal
    closeout_percent: Decimal
    call_percent: Decimal


def rate(state: State, market: Market, instrument: str) -> Decimal:
    """Return the margin rate: the instrument's or the account's, whichever is larger."""
    return max(state.margin_rate, market.specs[instrument].instrument.margin_rate)


def unit_value(state: State, market: Market, instrument: str) -> Decimal:
    """Return what one unit of ``instrument`` is worth in account currency, at the middle."""
    base = market.specs[instrument].instrument.base
    try:
        return market.conversion(base, state.currency).middle
    except KeyError:  # the base is no currency that converts: price it through the quote
        quote = market.specs[instrument].instrument.quote
        conversion = market.conversion(quote, state.currency)
        return market.tops[instrument].middle * conversion.middle


def required(state: State, market: Market, instrument: str, units: Decimal) -> Decimal:
    """Return the margin that ``units`` need."""
    value = unit_value(state, market, instrument)
    return account_amount(abs(units) * value * rate(state, market, instrument))


def used(
    state: State, spec: AccountSpec, market: Market, extra: tuple[str, Decimal] | None = None
) -> Decimal:
    """Return the margin in use; with ``extra`` (instrument, units) as it would be after a fill.

    A netting account's position needs margin for its net units; a hedging account's for the
    larger side.
    """
    sides: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for trade in state.open_trades.values():
        sides[trade.instrument][trade.is_long] += trade.units
    if extra is not None:
        sides[extra[0]][extra[1] > 0] += extra[1]
    total = ZERO
    for instrument, (short, long) in sides.items():
        units = max(long, -short) if spec.hedging else abs(long + short)
        if units:
            total += required(state, market, instrument, units)
    return total


def unrealized(state: State, market: Market, trade: Trade) -> Decimal:
    """Return a trade's unrealised P&L at the price it would close at, in account currency."""
    top = market.tops[trade.instrument]
    price = top.best_bid if trade.is_long else top.best_ask
    quote = market.specs[trade.instrument].instrument.quote
    return market.conversion(quote, state.currency).value(trade.units * (price - trade.price))


def _unrealized_at_middle(state: State, market: Market, trade: Trade) -> Decimal:
    quote = market.specs[trade.instrument].instrument.quote
    conversion = market.conversion(quote, state.currency).middle
    gain = trade.units * (market.tops[trade.instrument].middle - trade.price)
    return account_amount(gain * conversion)


def figures(state: State, spec: AccountSpec, market: Market) -> Figures:
    """Return the account's figures at the newest prices.

    NAV = balance + unrealised P&L; closeout percent = margin used / (2 × closeout NAV), call
    percent = margin used / closeout NAV, where closeout figures value trades at the middle.
    """
    trades = state.open_trades.values()
    pl = sum((unrealized(state, market, trade) for trade in trades), ZERO)
    closeout_pl = sum((_unrealized_at_middle(state, market, trade) for trade in trades), ZERO)
    margin_used = used(state, spec, market)
    value = sum(
        (
            account_amount(abs(trade.units) * unit_value(state, market, trade.instrument))
            for trade in trades
        ),
        ZERO,
    )
    nav = state.balance + pl
    closeout_nav = state.balance + closeout_pl
    return Figures(
        unrealized_pl=pl,
        nav=nav,
        margin_used=margin_used,
        margin_available=max(nav - margin_used, ZERO),
        position_value=value,
        closeout_unrealized_pl=closeout_pl,
        closeout_nav=closeout_nav,
        closeout_percent=_ratio(margin_used, closeout_nav, _HALF),
        call_percent=_ratio(margin_used, closeout_nav, Decimal(1)),
    )


def _ratio(margin_used: Decimal, nav: Decimal, weight: Decimal) -> Decimal:
    if not margin_used:
        return ZERO
    # With nothing left the ratio has no value; any number above 1 says closeout.
    return margin_used * weight / nav if nav > 0 else Decimal(1000)
