from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.trading.money import Money, minor_units

amounts = st.decimals(-(10**12), 10**12, places=4)
rates = st.decimals("0.00001", 100_000, places=9)


@pytest.mark.parametrize(("currency", "places"), [("USD", 2), ("JPY", 0), ("KWD", 3)])
def test_amounts_round_half_to_even_at_the_minor_unit(currency, places):
    assert minor_units(currency) == places
    half = Decimal(5).scaleb(-places - 1)
    assert Money(half, currency).rounded().amount == 0
    assert Money(3 * half, currency).rounded().amount == 4 * half


def test_two_currencies_do_not_add_subtract_or_compare():
    dollars, yen = Money(Decimal(1), "USD"), Money(Decimal(1), "JPY")
    for operation in (lambda: dollars + yen, lambda: dollars - yen, lambda: dollars < yen):
        with pytest.raises(DataError, match="Cannot mix"):
            operation()


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity"])
def test_a_rate_that_is_not_above_zero_converts_nothing(rate):
    with pytest.raises(DataError, match="above zero"):
        Money(Decimal(1), "USD").converted(Decimal(rate), "EUR")


@given(amounts, rates)
def test_converting_there_and_back_keeps_the_amount(amount, rate):
    there = Money(amount, "EUR").converted(rate, "USD")
    back = there.converted(1 / rate, "EUR")
    assert back.currency == "EUR"
    assert abs(back.amount - amount) <= abs(amount) * Decimal("1e-25")


@given(amounts, amounts, amounts, rates)
def test_conversion_distributes_over_sums_in_any_order(a, b, c, rate):
    x, y, z = (Money(v, "EUR") for v in (a, b, c))
    left, right = (x + y) + z, x + (y + z)
    assert left == right
    split = x.converted(rate, "USD") + y.converted(rate, "USD")
    assert abs(split.amount - (x + y).converted(rate, "USD").amount) <= Decimal("1e-6")
