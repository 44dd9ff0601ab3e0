"""Instruments: what is traded, and the precision its prices and sizes have."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from mbats.errors import DataError

_NAME = re.compile(r"[A-Z0-9]{2,12}_[A-Z]{3}")
_SEPARATORS = str.maketrans({"/": "_", "-": "_", ".": "_", " ": "_"})


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable instrument, as its vendor describes it.

    ``name`` is BASE_QUOTE. A pip is ``10 ** pip_location`` of the quote currency. Sizes are in
    units of the base currency. Rates are annual fractions; a negative financing rate is paid.
    """

    name: str
    pip_location: int
    price_precision: int
    units_precision: int = 0
    minimum_trade_units: Decimal = Decimal(1)
    maximum_order_units: Decimal = Decimal(100_000_000)
    margin_rate: Decimal = Decimal("0.05")
    typical_spread_pips: Decimal = Decimal(2)
    financing_long_rate: Decimal = Decimal(0)
    financing_short_rate: Decimal = Decimal(0)
    kind: str = "FX"
    display_name: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DataError(
                f"{self.name!r} is not an instrument name.",
                tried=["BASE_QUOTE in capitals, for example EUR_USD"],
                mend="write it as BASE_QUOTE",
            )

    @property
    def base(self) -> str:
        """Currency (or metal, index) that one unit is of."""
        return self.name.rsplit("_", 1)[0]

    @property
    def quote(self) -> str:
        """Currency that prices and profits are in."""
        return self.name.rsplit("_", 1)[1]

    @property
    def pip(self) -> Decimal:
        """One pip, in quote currency."""
        return Decimal(1).scaleb(self.pip_location)

    @property
    def tick(self) -> Decimal:
        """Smallest price step, in quote currency."""
        return Decimal(1).scaleb(-self.price_precision)

    def round_price(self, price: Decimal) -> Decimal:
        """Return ``price`` at the instrument's precision, ties to even."""
        return price.quantize(self.tick, rounding=ROUND_HALF_EVEN)


def parse_name(text: str) -> str:
    """Return the BASE_QUOTE name that ``text`` means: EURUSD, eur/usd and EUR_USD are one.

    Raises :class:`DataError` where the text means no instrument.
    """
    name = text.strip().upper().translate(_SEPARATORS)
    if re.fullmatch(r"[A-Z]{6}", name):
        name = f"{name[:3]}_{name[3:]}"
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{text!r} is not an instrument name.",
            tried=["BASE_QUOTE (EUR_USD)", "BASE/QUOTE (EUR/USD)", "six letters (EURUSD)"],
            mend="write it in one of these forms",
        )
    return name
