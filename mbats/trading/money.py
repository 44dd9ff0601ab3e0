"""Amounts of money: exact, in one currency, never mixed with another by accident."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from mbats.errors import DataError

# Decimal places of the minor unit where they are not two (ISO 4217).
MINOR_UNITS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"), 0),
        **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    }
)


def minor_units(currency: str) -> int:
    """Return the decimal places that amounts of ``currency`` are settled in (ISO 4217)."""
    return MINOR_UNITS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency. Adding two currencies is a :class:`DataError`."""

    amount: Decimal
    currency: str

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __mul__(self, factor: Decimal | int) -> "Money":
        return Money(self.amount * factor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other)

    def __str__(self) -> str:
        return f"{self.rounded().amount} {self.currency}"

    def rounded(self) -> "Money":
        """Return the amount at the currency's minor unit, ties to even."""
        unit = Decimal(1).scaleb(-minor_units(self.currency))
        return Money(self.amount.quantize(unit, rounding=ROUND_HALF_EVEN), self.currency)

    def converted(self, rate: Decimal, currency: str) -> "Money":
        """Return the same value in ``currency`` at ``rate`` units of it for one of this; unrounded.

        Raises :class:`DataError` for a rate that is not above zero.
        """
        if not rate.is_finite() or rate <= 0:
            raise DataError(f"A conversion rate must be above zero, not {rate}.")
        return Money(self.amount * rate, currency)

    def _same(self, other: "Money") -> Decimal:
        if other.currency != self.currency:
            raise DataError(
                f"Cannot mix {self.currency} with {other.currency}.",
                mend="convert one of them first",
            )
        return other.amount
