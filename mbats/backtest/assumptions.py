"""What a run assumes about costs and rules, and the terms that follow from it.

Everything here is printed in the header of a report, so nothing is assumed in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from mbats.market.bars import Bars
from mbats.market.instrument import Instrument
from mbats.trading.conversion import Conversion
from mbats.trading.costs import CLOSEOUT_FRACTION, Terms

DEFAULT_SLIPPAGE_PIPS = 0.2
_YEAR = np.timedelta64(366, "D")


@dataclass(frozen=True)
class Costs:
    """Which costs a run has. ``enabled=False`` is the ideal market: mid prices and no charges.

    ``slippage_pips`` worsens market and stop fills. Commissions are account currency per side,
    for a million of notional in account currency and for one unit of base.
    """

    enabled: bool = True
    slippage_pips: float = DEFAULT_SLIPPAGE_PIPS
    commission_per_million: float = 0.0
    commission_per_unit: float = 0.0


def terms_of(instrument: Instrument, costs: Costs) -> Terms:
    """Return the terms an instrument is traded at under ``costs``; margin is always asked for."""
    margin: dict[str, Any] = {
        "margin_rate": float(instrument.margin_rate),
        "units_precision": instrument.units_precision,
        "minimum_units": float(instrument.minimum_trade_units),
        "maximum_units": float(instrument.maximum_order_units),
    }
    if not costs.enabled:
        return Terms(instrument.name, **margin)
    pip = float(instrument.pip)
    return Terms(
        instrument.name,
        half_spread=float(instrument.typical_spread_pips * instrument.pip) / 2,
        slippage=costs.slippage_pips * pip,
        commission_per_million=costs.commission_per_million,
        commission_per_unit=costs.commission_per_unit,
        long_rate=float(instrument.financing_long_rate),
        short_rate=float(instrument.financing_short_rate),
        **margin,
    )


def describe(
    bars: Sequence[Bars],
    instruments: Mapping[str, Instrument],
    costs: Costs,
    conversion: Conversion,
    sizer: str,
) -> dict[str, Any]:
    """Return the assumptions of a run, with the source of each, as plain JSON values."""
    names = sorted({b.instrument for b in bars})
    sided = {name: _sided(name, bars) for name in names}
    document: dict[str, Any] = {
        "costs": "on" if costs.enabled else "OFF (--no-costs): mid prices, nothing charged",
        "spread": {n: _spread(instruments[n], sided[n], costs) for n in names},
        "slippage": _slippage(costs),
        "commission": _commission(costs),
        "financing": {n: _financing(instruments[n], costs) for n in names},
        "conversion": {
            q: _conversion(q, conversion) for q in sorted({instruments[n].quote for n in names})
        },
        "margin": {n: _percent(instruments[n].margin_rate) for n in names},
        "closeout": f"below {CLOSEOUT_FRACTION:.0%} of margin used, at the bar's closing prices",
        "sizer": sizer,
        "execution": "market orders at the next open; stops before limits on a bar that has both; "
        "bracket exits from the bar after the entry; buys on ask, sells on bid",
        "warnings": _warnings(bars, costs, sided),
    }
    return document


def _sided(name: str, bars: Sequence[Bars]) -> bool:
    return all(b.bid is not None and b.ask is not None for b in bars if b.instrument == name)


def _spread(instrument: Instrument, sided: bool, costs: Costs) -> str:
    if not costs.enabled:
        return "none"
    if sided:
        return "from bid and ask bars"
    return f"typical {instrument.typical_spread_pips} pips around mid bars"


def _slippage(costs: Costs) -> str:
    if not costs.enabled or not costs.slippage_pips:
        return "none"
    return f"{costs.slippage_pips} pips on market and stop fills, none on limits"


def _commission(costs: Costs) -> str:
    parts = [
        f"{costs.commission_per_million} per million of notional and side"
        if costs.commission_per_million
        else "",
        f"{costs.commission_per_unit} per unit and side" if costs.commission_per_unit else "",
    ]
    said = ", ".join(part for part in parts if part)
    return (said or "none") if costs.enabled else "none"


def _financing(instrument: Instrument, costs: Costs) -> str:
    if not costs.enabled:
        return "none"
    long, short = instrument.financing_long_rate, instrument.financing_short_rate
    return (
        f"long {_percent(long)}, short {_percent(short)} a year, "
        "at 17:00 New York, three days on Wednesday"
    )


def _conversion(quote: str, conversion: Conversion) -> str:
    path = conversion.rate(quote).path
    if not path:
        return "account currency"
    return f"last known daily close of {' x '.join(path)}"


def _percent(fraction: Decimal) -> str:
    return f"{float(fraction) * 100:.4g} %"


def _no_wicks(bars: Bars) -> bool:
    mid = bars.mid
    top, bottom = np.maximum(mid.open, mid.close), np.minimum(mid.open, mid.close)
    return bool(np.all(mid.high == top) and np.all(mid.low == bottom))


def _warnings(bars: Sequence[Bars], costs: Costs, sided: Mapping[str, bool]) -> list[str]:
    found = []
    if not costs.enabled:
        found.append("Costs are off: no result of this run can be traded.")
    mid_only = [name for name, known in sided.items() if not known]
    if costs.enabled and mid_only:
        found.append(
            f"{', '.join(mid_only)}: only mid prices, so the spread is a constant; "
            "real spreads widen at news and at the daily close."
        )
    crossed = {
        b.instrument: count
        for b in bars
        if b.bid is not None
        and b.ask is not None
        and (count := int(np.sum((b.bid.open > b.ask.open) | (b.bid.close > b.ask.close))))
    }
    found += [f"{name}: {n} bars with bid above ask." for name, n in crossed.items()]
    if costs.enabled and max(b.end[-1] for b in bars) - min(b.start[0] for b in bars) > _YEAR:
        found.append("Financing rates are one constant for the whole span; they changed in truth.")
    bodies = [b.instrument for b in bars if _no_wicks(b)]
    if bodies:
        found.append(
            f"{', '.join(bodies)}: bars whose high and low are only open and close (reference "
            "rates); in truth more stops and limits would have been reached within them."
        )
    if any(b.granularity in ("D", "W", "M") for b in bars):
        found.append(
            "Daily or longer bars: where a bar touches both stop and limit, the stop is taken; "
            "the margin close-out sees closing prices only."
        )
    return found
