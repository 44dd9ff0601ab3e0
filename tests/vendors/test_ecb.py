import csv
import functools
import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market import catalogue
from mbats.market.session import ECB
from mbats.market.target import FRANKFURT
from mbats.vendors.ecb import EcbVendor, packaged_file

ALWAYS = (datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
CROSSED = ("USD", "JPY", "GBP", "CHF", "SEK", "ZAR", "HUF", "KRW", "TRY")


@pytest.fixture(scope="module")
def ecb():
    return EcbVendor()


@pytest.fixture(scope="module")
def raw():
    """The file as the ECB wrote it, read by another reader: date to currency to text."""
    with zipfile.ZipFile(packaged_file()) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return {date.fromisoformat(row["Date"]): row for row in csv.DictReader(io.StringIO(text))}


def bars(vendor, name, start=ALWAYS[0], end=ALWAYS[1]):
    return pa.concat_tables(vendor.candles(name, "D", start, end)).to_pylist()


@functools.cache
def closes(name):
    page = pa.concat_tables(EcbVendor().candles(name, "D", *ALWAYS))
    ends, prices = page.column("end_time").to_pylist(), page.column("mid_close").to_pylist()
    return dict(zip(ends, prices, strict=True))


def test_a_day_bar_joins_two_consecutive_fixings_as_published(ecb, raw):
    found = {bar["end_time"].date(): bar for bar in bars(ecb, "EUR_USD")}
    for day, before in (
        (date(2008, 9, 16), date(2008, 9, 15)),
        (date(2016, 6, 24), date(2016, 6, 23)),
        (date(2020, 3, 9), date(2020, 3, 6)),
        (date(1999, 1, 5), date(1999, 1, 4)),
    ):
        bar, open_, close = found[day], Decimal(raw[before]["USD"]), Decimal(raw[day]["USD"])
        assert (bar["mid_open"], bar["mid_close"]) == (open_, close)
        assert (bar["mid_high"], bar["mid_low"]) == (max(open_, close), min(open_, close))
        assert bar["basis"] == "fixing_to_fixing"
        assert bar["volume"] is bar["bid_open"] is bar["ask_close"] is None


def test_a_cross_is_the_exact_ratio_of_the_two_euro_rates_rounded_half_to_even(ecb, raw):
    tick = Decimal(1).scaleb(-catalogue.instrument("GBP_JPY").price_precision)
    for bar in bars(ecb, "GBP_JPY"):
        row = raw[bar["end_time"].date()]
        exact = Decimal(row["JPY"]) / Decimal(row["GBP"])
        assert bar["mid_close"] == exact.quantize(tick, ROUND_HALF_EVEN)


@settings(max_examples=20, deadline=None)
@given(st.permutations(CROSSED).map(lambda codes: codes[:3]))
def test_going_round_by_a_third_currency_comes_to_the_same_rate_within_rounding(codes):
    first, second, third = codes
    names = (f"{first}_{second}", f"{second}_{third}", f"{first}_{third}")
    legs = [closes(name) for name in names]
    half_ticks = [catalogue.instrument(name).tick / 2 for name in names]
    common = sorted(set(legs[0]) & set(legs[1]) & set(legs[2]))[::100]
    assert common
    for at in common:
        ab, bc, ac = (leg[at] for leg in legs)
        rounding = sum(half / leg[at] for half, leg in zip(half_ticks, legs, strict=True))
        assert abs(ab * bc / ac - 1) <= rounding * Decimal("1.001")


def test_a_bar_ends_when_its_fixing_was_published_and_never_earlier(ecb):
    found = bars(ecb, "EUR_USD")
    instants = [bar[name] for bar in found for name in ("start", "end_time")]
    assert {at.astimezone(FRANKFURT).hour for at in instants} == {16}
    assert {at.hour for at in instants} == {14, 15}  # 16:00 in Frankfurt in summer and in winter


def test_bars_touch_and_a_weekend_lies_inside_one_bar_from_friday_to_monday(ecb):
    found = bars(ecb, "EUR_USD")
    for before, after in pairwise(found):
        assert before["end_time"] == after["start"]
        assert before["mid_close"] == after["mid_open"]
    mondays = [bar for bar in found if bar["end_time"].weekday() == 0]
    assert len(mondays) > 1200
    assert all(bar["start"].weekday() in (2, 3, 4) for bar in mondays)
    assert sum(bar["start"].weekday() == 4 for bar in mondays) > 1200


def test_the_bars_are_those_that_the_ecb_calendar_expects(ecb):
    found = [bar["start"].replace(tzinfo=None) for bar in bars(ecb, "EUR_USD")]
    expected = ECB.expected_starts("D", ALWAYS[0], bars(ecb, "EUR_USD")[-1]["end_time"])
    assert found == expected.tolist()


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("EUR_HRK", date(2022, 12, 30)),
        ("EUR_RUB", date(2022, 3, 1)),
        ("USD_SKK", date(2008, 12, 31)),
    ],
)
def test_a_currency_that_is_no_longer_fixed_ends(ecb, name, last):
    assert bars(ecb, name)[-1]["end_time"].date() == last


def test_no_bar_spans_the_years_without_an_icelandic_fixing(ecb):
    found = bars(ecb, "EUR_ISK")
    assert max(bar["end_time"] - bar["start"] for bar in found) < timedelta(days=6)
    assert not [bar for bar in found if 2009 <= bar["end_time"].year <= 2017]
    assert {2008, 2018} <= {bar["end_time"].year for bar in found}


def test_candles_start_in_the_asked_range_and_outside_it_there_is_no_page(ecb):
    start, end = datetime(2020, 1, 2, 15, tzinfo=UTC), datetime(2020, 1, 10, 15, tzinfo=UTC)
    found = [bar["start"] for bar in bars(ecb, "USD_JPY", start, end)]
    assert found[0] == start
    assert found[-1] == datetime(2020, 1, 9, 15, tzinfo=UTC)
    assert not list(ecb.candles("USD_JPY", "D", end, end))


def test_every_currency_of_the_file_makes_pairs_both_ways_round(ecb, raw):
    codes = {code for code in raw[date(1999, 1, 4)] if code not in ("Date", "")}
    names = {instrument.name for instrument in ecb.instruments()}
    assert {code for name in names for code in name.split("_")} == codes | {"EUR"}
    assert {"EUR_USD", "USD_EUR", "GBP_JPY", "JPY_GBP"} <= names
    assert "TRL_TRY" not in names  # the old lira ended before the new one began


def test_the_smallest_and_the_largest_rates_are_kept(ecb):
    assert bars(ecb, "MTL_TRL")[-1]["mid_close"] > 4_000_000
    assert bars(ecb, "IDR_EUR")[-1]["mid_close"] > Decimal("0.00004")


@pytest.mark.parametrize("name", ["EUR_XXX", "XXX_EUR", "EUR_EUR", "TRL_TRY", "nonsense"])
def test_what_the_ecb_never_fixed_is_named(ecb, name):
    with pytest.raises(DataError, match="has no"):
        list(ecb.candles(name, "D", *ALWAYS))


def test_there_are_no_minutes(ecb):
    with pytest.raises(DataError, match="M1"):
        list(ecb.candles("EUR_USD", "M1", *ALWAYS))


def test_a_file_that_is_no_archive_of_rates_is_refused(tmp_path):
    wrong = tmp_path / "eurofxref-hist.zip"
    wrong.write_bytes(b"<html>")
    with pytest.raises(DataError, match="does not hold"):
        EcbVendor(wrong).instruments()
