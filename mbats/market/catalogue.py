"""What is known of every FX pair before a vendor describes it: defaults, dated and conservative.

A vendor's own record (OANDA's instruments endpoint) always replaces these. They exist for history
that has no such record (the ECB's reference rates, files) and for tests.

* **Spread**: :data:`SPREADS` for the pairs traded most; for every other pair each currency adds
  its own cost in basis points, as if it were bought through the dollar.
* **Financing**: from one table of central-bank policy rates: a long position earns base minus
  quote minus :data:`FINANCING_MARKUP`, a short one quote minus base minus the markup. The rates are
  those of :data:`RATES_AS_OF` and constant: over older history the charge is an approximation.
* **Margin**: the larger of the two currencies' rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import combinations

from mbats.errors import DataError
from mbats.market.instrument import Instrument, parse_name

# Broker's margin on financing, an annual fraction. Two recorded OANDA practice accounts had EUR_USD
# at -0.0323 long and 0.0120 short: they sum to two points, so each side pays one.
FINANCING_MARKUP = Decimal("0.01")
# Policy rates below; those of currencies that no longer exist are zero.
RATES_AS_OF = date(2025, 6, 30)

# Bid/ask spreads in pips, in busy hours at a retail FX broker, rounded up. Set by hand on
# SPREADS_AS_OF as prudent defaults, not quotes: measure your own with bid/ask bars.
SPREADS_AS_OF = date(2026, 11, 23)
SPREADS = {
    "EUR_USD": "1.4",
    "USD_JPY": "1.6",
    "GBP_USD": "2.0",
    "AUD_USD": "1.5",
    "NZD_USD": "1.8",
    "USD_CAD": "2.0",
    "USD_CHF": "1.8",
    "EUR_GBP": "1.6",
    "EUR_JPY": "2.2",
    "EUR_CHF": "2.2",
    "EUR_AUD": "2.8",
    "EUR_CAD": "2.8",
    "EUR_NZD": "4.0",
    "GBP_JPY": "3.4",
    "GBP_CHF": "3.6",
    "GBP_AUD": "3.6",
    "GBP_CAD": "3.8",
    "GBP_NZD": "5.0",
    "AUD_JPY": "2.2",
    "AUD_NZD": "2.8",
    "AUD_CAD": "2.6",
    "AUD_CHF": "2.6",
    "NZD_JPY": "2.6",
    "NZD_CAD": "3.0",
    "NZD_CHF": "3.0",
    "CAD_JPY": "2.6",
    "CAD_CHF": "2.8",
    "CHF_JPY": "3.0",
}

SEED_SEVEN = ("AUD_USD", "USD_JPY", "EUR_USD", "GBP_USD", "EUR_JPY", "GBP_JPY", "NZD_USD")


@dataclass(frozen=True, slots=True)
class _Currency:
    """``per_euro``: units to a euro, ECB 2026-10-30 or its last fixing. ``shift``: pip places."""

    per_euro: str
    cost_bp: str  # of the spread against the dollar
    margin: str
    policy_rate: str = "0"
    shift: int = 0
    name: str = ""


# In the order in which a pair is quoted: the earlier currency is the base.
# Margins of EUR, USD and JPY were recorded on a practice account; the others are prudent defaults.
_CURRENCIES = {
    "EUR": _Currency("1", "1.3", "0.02", "0.0200", name="Euro"),
    "GBP": _Currency("0.834", "1.6", "0.05", "0.0425", name="British pound"),
    "AUD": _Currency("1.59", "2.2", "0.03", "0.0385", name="Australian dollar"),
    "NZD": _Currency("1.98", "3.0", "0.03", "0.0325", name="New Zealand dollar"),
    "USD": _Currency("1.117", "0", "0.02", "0.0438", name="US dollar"),
    "CAD": _Currency("1.56", "1.5", "0.02", "0.0275", name="Canadian dollar"),
    "CHF": _Currency("0.919", "2.2", "0.04", "0.0000", name="Swiss franc"),
    "SGD": _Currency("1.43", "3", "0.05", "0.0200", name="Singapore dollar"),
    "HKD": _Currency("8.77", "1", "0.05", "0.0475", name="Hong Kong dollar"),
    "CNH": _Currency("7.43", "4", "0.05", "0.0160", name="Offshore yuan"),
    "CNY": _Currency("7.43", "4", "0.05", "0.0140", name="Chinese yuan"),
    "DKK": _Currency("7.47", "3", "0.02", "0.0160", name="Danish krone"),
    "SEK": _Currency("10.98", "6", "0.03", "0.0200", name="Swedish krona"),
    "NOK": _Currency("10.31", "6", "0.03", "0.0425", name="Norwegian krone"),
    "PLN": _Currency("4.40", "7", "0.05", "0.0525", name="Polish zloty"),
    "CZK": _Currency("24.35", "8", "0.05", "0.0350", name="Czech koruna"),
    "RON": _Currency("5.34", "12", "0.05", "0.0650", name="Romanian leu"),
    "BGN": _Currency("1.956", "10", "0.05", name="Bulgarian lev"),
    "ILS": _Currency("3.50", "12", "0.05", "0.0450", name="Israeli shekel"),
    "TRY": _Currency("55.8", "30", "0.25", "0.4600", name="Turkish lira"),
    "ZAR": _Currency("18.65", "12", "0.07", "0.0725", name="South African rand"),
    "MXN": _Currency("21.12", "8", "0.08", "0.0800", name="Mexican peso"),
    "BRL": _Currency("6.07", "15", "0.10", "0.1500", name="Brazilian real"),
    "MYR": _Currency("4.53", "15", "0.10", "0.0300", name="Malaysian ringgit"),
    "THB": _Currency("37.7", "10", "0.05", "0.0175", 2, "Thai baht"),
    "PHP": _Currency("71.1", "15", "0.10", "0.0525", 2, "Philippine peso"),
    "INR": _Currency("106", "8", "0.05", "0.0550", 2, "Indian rupee"),
    "ISK": _Currency("136", "25", "0.10", "0.0750", 2, "Icelandic krona"),
    "HUF": _Currency("366", "9", "0.05", "0.0650", 2, "Hungarian forint"),
    "JPY": _Currency("175.7", "1.1", "0.05", "0.0050", 2, "Japanese yen"),
    "KRW": _Currency("1492", "15", "0.10", "0.0250", 3, "South Korean won"),
    "IDR": _Currency("20275", "20", "0.10", "0.0550", 4, "Indonesian rupiah"),
    # Gone into the euro, redenominated, or no longer fixed by the ECB.
    "CYP": _Currency("0.585", "20", "0.05", name="Cypriot pound"),
    "MTL": _Currency("0.429", "20", "0.05", name="Maltese lira"),
    "LVL": _Currency("0.703", "20", "0.05", name="Latvian lats"),
    "LTL": _Currency("3.45", "20", "0.05", name="Lithuanian litas"),
    "HRK": _Currency("7.54", "20", "0.05", name="Croatian kuna"),
    "EEK": _Currency("15.65", "20", "0.05", name="Estonian kroon"),
    "SKK": _Currency("30.1", "20", "0.05", name="Slovak koruna"),
    "RUB": _Currency("117", "30", "0.20", "0", 2, "Russian rouble"),
    "SIT": _Currency("240", "20", "0.05", "0", 2, "Slovenian tolar"),
    "ROL": _Currency("36030", "40", "0.10", "0", 4, "Old Romanian leu"),
    "TRL": _Currency("1836200", "60", "0.25", "0", 4, "Old Turkish lira"),
}
_ORDER = {code: place for place, code in enumerate(_CURRENCIES)}


def currencies() -> Sequence[str]:
    """Return the ISO 4217 codes there are, in the order in which pairs are quoted."""
    return tuple(_CURRENCIES)


def names() -> Sequence[str]:
    """Return every pair, quoted the usual way round: EUR_USD, not USD_EUR."""
    return tuple(f"{base}_{quote}" for base, quote in combinations(_CURRENCIES, 2))


def usual_name(first: str, second: str) -> str:
    """Return the name of the pair of two currencies as the market quotes it."""
    for code in (first, second):
        _currency(code)
    base, quote = sorted((first, second), key=_ORDER.__getitem__)
    return f"{base}_{quote}"


@lru_cache(maxsize=4096)
def instrument(name: str) -> Instrument:
    """Return the pair called ``name`` (EURUSD and eur/usd will do), quoted either way round.

    Raises :class:`~mbats.errors.DataError` for what is no pair of two known currencies.
    """
    pair = parse_name(name)
    base, quote = pair.rsplit("_", 1)
    if base == quote:
        raise DataError(f"{pair} is one currency, not a pair.", mend="name two different ones")
    first, second = _currency(base), _currency(quote)
    # A low-valued quote moves the point to the right (USD_JPY 156.123), a low-valued base to the
    # left (JPY_USD 0.0064012); a price always has one digit more than a pip.
    pip_location = max(-8, min(0, -4 + second.shift - first.shift))
    carry = Decimal(first.policy_rate) - Decimal(second.policy_rate)
    return Instrument(
        name=pair,
        pip_location=pip_location,
        price_precision=1 - pip_location,
        margin_rate=max(Decimal(first.margin), Decimal(second.margin)),
        typical_spread_pips=_spread_pips(pair, pip_location),
        financing_long_rate=carry - FINANCING_MARKUP,
        financing_short_rate=-carry - FINANCING_MARKUP,
        display_name=f"{first.name} / {second.name}",
    )


def _currency(code: str) -> _Currency:
    if code not in _CURRENCIES:
        raise DataError(
            f"{code} is not a currency of the catalogue.",
            tried=[", ".join(_CURRENCIES)],
            mend="check the spelling; a vendor's own instruments need no catalogue",
        )
    return _CURRENCIES[code]


def _spread_pips(pair: str, pip_location: int) -> Decimal:
    if pair in SPREADS:
        return Decimal(SPREADS[pair])
    base, quote = (_CURRENCIES[code] for code in pair.rsplit("_", 1))
    price = Decimal(quote.per_euro) / Decimal(base.per_euro)
    share = (Decimal(base.cost_bp) + Decimal(quote.cost_bp)) / 10_000
    pips = price * share / Decimal(1).scaleb(pip_location)
    return max(pips, Decimal(1)).quantize(Decimal("0.1"))
