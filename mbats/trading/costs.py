"""What trading costs, and the terms an instrument is traded at. Amounts in account currency.

``rate`` is always account currency for one unit of the instrument's quote currency.
"""

from dataclasses import dataclass

MILLION = 1_000_000.0
DAYS_A_YEAR = 365.0
# OANDA closes every position once the net asset value falls below half of the margin used
# (marginCloseoutPercent = 0.5 * marginUsed / NAV reaches 1).
CLOSEOUT_FRACTION = 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms one instrument is traded at.

    ``half_spread`` and ``slippage`` are in quote currency: the first stands in where a vendor
    has mid prices only, the second worsens market and stop fills, never limits.
    ``commission_per_million`` is account currency for a million of notional in account currency,
    ``commission_per_unit`` account currency for one unit of base; both are charged per side.
    Financing rates are annual fractions; negative is paid. Sizes are units of the base currency.
    """

    instrument: str
    half_spread: float = 0.0
    slippage: float = 0.0
    commission_per_million: float = 0.0
    commission_per_unit: float = 0.0
    long_rate: float = 0.0
    short_rate: float = 0.0
    margin_rate: float = 0.05
    units_precision: int = 0
    minimum_units: float = 1.0
    maximum_units: float = float("inf")

    def commission(self, units: float, price: float, rate: float) -> float:
        """Return the commission of one fill; never negative."""
        size = abs(units)
        notional = size * price * rate
        per_million = notional / MILLION * self.commission_per_million
        return per_million + size * self.commission_per_unit

    def margin(self, units: float, price: float, rate: float) -> float:
        """Return the margin a position holds."""
        return abs(units) * price * rate * self.margin_rate

    def financing(self, units: float, price: float, rate: float, days: int) -> float:
        """Return what ``days`` days of holding ``units`` earn; negative is paid."""
        annual = self.long_rate if units > 0 else self.short_rate
        return abs(units) * price * rate * annual * days / DAYS_A_YEAR
