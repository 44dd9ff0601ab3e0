"""Exposure and loss of the whole account, and whether they are over their limits.

Amounts are in account currency. Each ``over_`` function returns a sentence with the figures, or
None while the limit holds; a position that cannot be valued is over every limit.
"""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from mbats.trading.risk.context import RiskContext


def gross(context: RiskContext, positions: Mapping[str, Decimal]) -> Decimal | None:
    """Return the sum of absolute notionals; None if one of them cannot be valued."""
    values = [context.notional(name, units) for name, units in positions.items() if units]
    return None if None in values else sum((v for v in values if v is not None), Decimal(0))


def net_by_currency(
    context: RiskContext, positions: Mapping[str, Decimal]
) -> dict[str, Decimal] | None:
    """Return the signed value held in each currency; None if one cannot be valued.

    A long EUR_USD holds euros and owes dollars of the same value.
    """
    held: dict[str, Decimal] = defaultdict(Decimal)
    for name, units in positions.items():
        if not units:
            continue
        value = context.notional(name, units)
        if value is None:
            return None
        base, quote = name.rsplit("_", 1)
        signed = value if units > 0 else -value
        held[base] += signed
        held[quote] -= signed
    return dict(held)


def over_gross(context: RiskContext, positions: Mapping[str, Decimal]) -> str | None:
    """Compare the gross exposure of ``positions`` with its cap."""
    cap = context.limits.gross_exposure
    if cap is None:
        return None
    value = gross(context, positions)
    if value is None:
        return "a position cannot be valued"
    return f"{value:.2f} in all positions, cap {cap}" if value > cap else None


def over_net(context: RiskContext, positions: Mapping[str, Decimal]) -> str | None:
    """Compare the largest net exposure to one currency with its cap."""
    cap = context.limits.net_currency_exposure
    if cap is None:
        return None
    held = net_by_currency(context, positions)
    if held is None:
        return "a position cannot be valued"
    currency = max(held, key=lambda name: abs(held[name]), default=None)
    if currency is None or abs(held[currency]) <= cap:
        return None
    return f"{held[currency]:.2f} in {currency}, cap {cap}"


def over_daily_loss(context: RiskContext) -> str | None:
    """Compare the fall in net asset value since 17:00 New York with its limit."""
    cap = context.limits.daily_loss
    loss = context.day_start_value - context.net_asset_value
    return f"{loss:.2f} today, limit {cap}" if cap is not None and loss >= cap else None


def over_drawdown(context: RiskContext) -> str | None:
    """Compare the fall from the highest net asset value, as a fraction of it, with its limit."""
    cap = context.limits.drawdown
    if cap is None or context.peak_value <= 0:
        return None
    fall = 1 - context.net_asset_value / context.peak_value
    return f"{fall:.1%} below the peak, limit {cap:.1%}" if fall >= cap else None
