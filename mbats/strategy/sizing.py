"""How large an order is: fixed units, a share of equity, or a risk per trade.

Each is a normal backtrader sizer: a plain strategy's ``buy()`` and ``buy_bracket()`` get their
size from it, per instrument. Sizes are rounded down to the instrument's units precision; one that
ends below its smallest trade is no order, and ``refusal`` says why.
"""

import math
from typing import Any

import backtrader as bt

from mbats.errors import ConfigError

BELOW_MINIMUM = "size_below_minimum"
NO_STOP = "size_needs_a_stop"
NO_EQUITY = "size_without_equity"


class DeskSizer(bt.Sizer):  # type: ignore[misc]
    """The part that all sizers share. ``stop_distance`` is in quote currency, set per order."""

    stop_distance: float | None = None
    refusal: str | None = None

    def units(self, info: Any, data: Any, equity: float) -> float:
        """Return the wished size in units of base currency, before rounding."""
        raise TypeError(f"{type(self).__name__} does not say how large an order is")

    def _getsizing(self, comminfo: Any, cash: float, data: Any, isbuy: bool) -> float:
        terms = comminfo.terms
        equity = self.broker.getvalue()
        if equity <= 0:
            self.refusal = NO_EQUITY
            return 0.0
        wished = min(self.units(comminfo, data, equity), terms.maximum_units)
        size = floored(wished, terms.units_precision)
        if size < terms.minimum_units:
            self.refusal = self.refusal or BELOW_MINIMUM
            return 0.0
        return size


class FixedUnits(DeskSizer):
    """The same number of units each time."""

    params = (("units", 1000.0),)

    def units(self, info: Any, data: Any, equity: float) -> float:
        """Return the fixed size."""
        return float(self.p.units)


class PercentOfEquity(DeskSizer):
    """A notional of ``percent`` of the net asset value, converted at today's rate."""

    params = (("percent", 10.0),)

    def units(self, info: Any, data: Any, equity: float) -> float:
        """Return equity * percent / 100 over the account value of one unit."""
        return float(equity * self.p.percent / 100 / (data.close[0] * info.rate))


class RiskPerTrade(DeskSizer):
    """A size that loses ``percent`` of the net asset value where the stop is hit at its price.

    units = equity * risk / (stop distance * conversion rate). An order without a stop is refused.
    """

    params = (("percent", 1.0),)

    def units(self, info: Any, data: Any, equity: float) -> float:
        """Return the size whose loss at the stop is the risk; 0 without a stop."""
        if not self.stop_distance or not math.isfinite(self.stop_distance):
            self.refusal = NO_STOP
            return 0.0
        return float(equity * self.p.percent / 100 / (self.stop_distance * info.rate))


def floored(units: float, precision: int) -> float:
    """Return ``units`` rounded down to ``precision`` decimal places; 0 for what is not finite."""
    if not math.isfinite(units) or units <= 0:
        return 0.0
    scale = 10.0**precision
    return math.floor(units * scale * (1 + 1e-12)) / scale


SIZERS: dict[str, tuple[type[DeskSizer], str, str]] = {
    "units": (FixedUnits, "units", "units:1000, the same size each time"),
    "equity": (PercentOfEquity, "percent", "equity:10, notional of 10 % of the account"),
    "risk": (RiskPerTrade, "percent", "risk:1, lose 1 % of the account at the stop"),
}


def parse_sizer(text: str) -> tuple[type[DeskSizer], dict[str, float]]:
    """Return the sizer class and parameters that ``text`` names, such as units:1000 or risk:0.5.

    Raises :class:`ConfigError` that lists the forms there are.
    """
    name, _, value = text.partition(":")
    if name.strip() in SIZERS and (number := _positive(value)):
        made, parameter, _ = SIZERS[name.strip()]
        return made, {parameter: number}
    raise ConfigError(
        f"{text!r} is not a sizer.",
        tried=[form for _, _, form in SIZERS.values()],
        mend="write one of these forms, with a number above zero",
    )


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
