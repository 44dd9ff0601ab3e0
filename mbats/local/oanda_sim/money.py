"""Decimals as OANDA rounds and writes them, and the conversion of one currency into another."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
_CENT_OF_CENT = Decimal("0.0001")
_FIVE_PLACES = Decimal("0.00001")
_TWELVE_DIGITS = Context(prec=12, rounding=ROUND_DOWN)
_TEN_DIGITS = Context(prec=10, rounding=ROUND_HALF_EVEN)
_LONGEST_ID = 18


def account_amount(value: Decimal) -> Decimal:
    """Return an amount of account currency at its four decimal places."""
    return value.quantize(_CENT_OF_CENT, rounding=ROUND_HALF_EVEN) + ZERO


def amount_text(value: Decimal) -> str:
    """Write an amount of account currency: ``100000.0000``; never ``-0.0000``."""
    return f"{account_amount(value):f}"


def percent_text(value: Decimal) -> str:
    """Write a ratio as OANDA does margin percentages: ``0.14923``."""
    return f"{value.quantize(_FIVE_PLACES, rounding=ROUND_HALF_EVEN) + ZERO:f}"


def plain_text(value: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros: ``1``, ``0.5``."""
    normal = value.normalize()
    return f"{normal + ZERO:f}" if normal else "0"


def price_text(value: Decimal, precision: int) -> str:
    """Write a price with ``precision`` decimal places."""
    return f"{value:.{precision}f}"


def is_id(text: str) -> bool:
    """Tell whether a text is the number of a transaction, order or trade: ASCII digits, few."""
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID


@dataclass(frozen=True)
class Conversion:
    """What one unit of a currency is worth in account currency.

    ``middle`` values positions and margin; ``gain`` and ``loss`` settle P&L and carry the fee;
    ``bid`` and ``ask`` value unrealised gains and losses, without fee.
    """

    middle: Decimal
    gain: Decimal
    loss: Decimal
    bid: Decimal
    ask: Decimal

    def settle(self, amount: Decimal) -> Decimal:
        """Return a realised amount in account currency, at four places."""
        return account_amount(amount * (self.gain if amount > 0 else self.loss))

    def value(self, amount: Decimal) -> Decimal:
        """Return an unrealised amount in account currency, at four places."""
        return account_amount(amount * (self.bid if amount > 0 else self.ask))


SAME_CURRENCY = Conversion(ONE, ONE, ONE, ONE, ONE)


def conversion_through(middle: Decimal, bid: Decimal, ask: Decimal, fee: Decimal) -> Conversion:
    """Return a conversion at ``middle``, the fee taken off gains and put on losses."""
    return Conversion(middle, middle * (ONE - fee), middle * (ONE + fee), bid, ask)


def twelve_digits_text(value: Decimal) -> str:
    """Write a home conversion factor: twelve significant digits, cut off, as recorded."""
    return plain_text(_TWELVE_DIGITS.plus(value))


def ten_digits_text(value: Decimal) -> str:
    """Write an older conversion field: ten significant digits, rounded, as recorded."""
    return plain_text(_TEN_DIGITS.plus(value))
