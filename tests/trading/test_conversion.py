import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.trading.conversion import UNITY, Conversion, StepRate, build, route


def days(*numbers):
    return np.datetime64("2024-01-01", "us") + np.array(numbers) * np.timedelta64(86_400_000_000)


def steps(pair, *values, first=0):
    return StepRate(days(*range(first, first + len(values))), np.array(values), (pair,))


def test_a_rate_is_the_last_one_known_and_never_a_later_one():
    rate = steps("EUR_USD", 1.10, 1.20)
    just_before = days(1) - np.timedelta64(1, "us")
    assert rate.at(np.concatenate([days(0), just_before, days(1), days(9)])).tolist() == [
        1.10, 1.10, 1.20, 1.20,
    ]  # fmt: skip


def test_an_instant_before_the_first_rate_is_an_error_that_names_both():
    with pytest.raises(DataError, match=r"EUR_USD is known before 2024-01-06.*2024-01-01"):
        steps("EUR_USD", 1.1, first=5).at(days(0))


def test_the_fewest_pairs_lead_there_in_either_direction():
    pairs = ["EUR_USD", "USD_JPY", "EUR_JPY", "GBP_USD"]
    assert route("JPY", "USD", pairs) == ("USD_JPY",)
    assert route("GBP", "JPY", pairs) == ("GBP_USD", "USD_JPY")
    assert route("USD", "USD", pairs) == ()
    assert route("SEK", "USD", pairs) is None


def test_a_cross_is_triangulated_and_known_only_when_both_legs_are():
    bars = {"EUR_USD": steps("EUR_USD", 1.0, 1.2), "EUR_JPY": steps("EUR_JPY", 150.0, first=1)}
    rate = build("USD", ["JPY"], bars, bars.get).rate("JPY")
    assert rate.path == ("EUR_JPY", "EUR_USD")
    assert rate.at(days(1)).tolist() == pytest.approx([1.2 / 150])
    with pytest.raises(DataError, match="EUR_JPY and EUR_USD"):
        rate.at(days(0))


def test_a_pair_without_bars_is_gone_around():
    bars = {"EUR_USD": steps("EUR_USD", 1.25), "EUR_GBP": steps("EUR_GBP", 0.8)}
    made = build("USD", ["GBP"], [*bars, "GBP_USD"], bars.get)
    assert made.rate("GBP").at(days(0)).tolist() == pytest.approx([1.25 / 0.8])


def test_a_missing_rate_names_the_pairs_tried_and_the_command_that_loads_it():
    with pytest.raises(DataError) as caught:
        build("USD", ["JPY"], ["USD_JPY", "EUR_USD"], lambda pair: None)
    assert any("USD_JPY" in tried for tried in caught.value.tried)
    assert caught.value.mend == "mbats data load --instruments JPY_USD --granularity D"


def test_the_account_currency_is_one_and_another_must_be_there():
    made = Conversion("USD", {})
    assert made.rate("USD") is UNITY
    with pytest.raises(DataError, match="from JPY to USD"):
        made.rate("JPY")


@given(
    st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=5),
    st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=5),
)
def test_there_and_back_through_any_route_is_one(first, second):
    bars = {"EUR_USD": steps("EUR_USD", *first), "EUR_JPY": steps("EUR_JPY", *second)}
    there = build("USD", ["JPY"], bars, bars.get).rate("JPY")
    back = build("JPY", ["USD"], bars, bars.get).rate("USD")
    product = there.at(days(*range(5))) * back.at(days(*range(5)))
    assert product.tolist() == pytest.approx([1.0] * 5, rel=1e-12)
