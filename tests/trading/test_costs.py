import pytest

from mbats.trading.costs import Terms

TERMS = Terms(
    "USD_JPY",
    commission_per_million=30.0,
    commission_per_unit=0.001,
    long_rate=0.0365,
    short_rate=-0.073,
    margin_rate=0.04,
)


def test_commission_is_per_million_of_notional_and_per_unit_whatever_the_side():
    for units in (10_000, -10_000):
        assert TERMS.commission(units, 150.0, 0.0066) == pytest.approx(0.297 + 10)


def test_margin_is_a_share_of_the_notional():
    assert TERMS.margin(-10_000, 150.0, 0.0066) == pytest.approx(9_900 * 0.04)


def test_each_side_has_its_own_financing_rate_and_a_negative_one_is_paid():
    assert TERMS.financing(10_000, 150.0, 0.0066, 3) == pytest.approx(9_900 * 0.0365 * 3 / 365)
    assert TERMS.financing(-10_000, 150.0, 0.0066, 1) == pytest.approx(-9_900 * 0.073 / 365)
