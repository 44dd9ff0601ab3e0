"""NUMERIC and float64: the round trip is exact, and what has no exact form is refused."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.market.numeric import NUMERIC, from_float64, to_float64, to_float64_or_nan

ticks = st.lists(st.integers(-899_999_999_999, 899_999_999_999), max_size=50)


@given(ticks)
def test_every_price_of_five_decimals_survives_the_round_trip(counts: list[int]) -> None:
    decimals = pa.array([Decimal(i) / 100_000 for i in counts], NUMERIC)
    floats = to_float64(decimals)
    assert floats.tolist() == [i / 1e5 for i in counts]  # the nearest double, not i * 1e-5
    assert from_float64(floats, 5).equals(decimals)


@given(st.integers(0, 9), st.lists(st.integers(-(2**52), 2**52), max_size=20))
def test_every_precision_survives_the_round_trip(precision: int, counts: list[int]) -> None:
    fitting = [c // 10 ** (9 - precision) for c in counts]
    decimals = pa.array([Decimal(i).scaleb(-precision) for i in fitting], NUMERIC)
    assert from_float64(to_float64(decimals), precision).equals(decimals)


@given(ticks, st.data())
def test_slices_and_chunks_read_as_the_whole(counts: list[int], data: st.DataObject) -> None:
    decimals = pa.array([Decimal(i) / 100_000 for i in counts], NUMERIC)
    cut = data.draw(st.integers(0, len(counts)))
    whole = to_float64(decimals)
    assert to_float64(decimals[cut:]).tolist() == whole[cut:].tolist()
    assert to_float64(decimals[:cut]).tolist() == whole[:cut].tolist()
    chunked = pa.chunked_array([decimals[:cut], decimals[cut:]], NUMERIC)
    assert to_float64(chunked).tolist() == whole.tolist()
    assert to_float64(chunked.slice(cut)).tolist() == whole[cut:].tolist()


def test_other_decimal_types_are_read_too() -> None:
    assert to_float64(pa.array([Decimal("1.25")], pa.decimal128(10, 2))).tolist() == [1.25]


@pytest.mark.parametrize("chunked", [False, True])
def test_nulls_are_refused(chunked: bool) -> None:
    column = pa.array([Decimal(1), None, None], NUMERIC)
    with pytest.raises(ValueError, match="2 of 3 values are null"):
        to_float64(pa.chunked_array([column]) if chunked else column)


@pytest.mark.parametrize(
    "value", ["9007199.254740992", "9007200", "-9007200", "12345678901234567890.123456789"]
)
def test_large_amounts_are_the_nearest_float64_too(value: str) -> None:
    assert to_float64(pa.array([Decimal(value)], NUMERIC))[0] == float(value)


@given(
    amounts=st.lists(st.integers(-(2**50), 2**50), min_size=1),
    precision=st.integers(0, 9),
)
def test_any_amount_of_50_bits_comes_back_exactly(amounts: list[int], precision: int) -> None:
    exact = [Decimal(a).scaleb(-precision) for a in amounts]
    floats = np.array([float(e) for e in exact])
    assert from_float64(floats, precision).to_pylist() == exact


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 9.1e10])
def test_what_is_no_price_is_refused(value: float) -> None:
    with pytest.raises(OverflowError, match="not finite"):
        from_float64(np.array([1.0, value]), 5)


def test_ties_go_to_even() -> None:
    assert from_float64(np.array([0.125, 0.375]), 2).to_pylist() == [
        Decimal("0.120000000"),
        Decimal("0.380000000"),
    ]


def test_empty_columns_are_fine() -> None:
    assert to_float64(pa.array([], NUMERIC)).shape == (0,)
    assert to_float64(pa.chunked_array([], NUMERIC)).shape == (0,)
    assert len(from_float64(np.empty(0), 5)) == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_nulls_become_nan_where_asked(chunked: bool) -> None:
    column = pa.array([Decimal("1.25"), None, Decimal(-3)], NUMERIC).slice(0, 3)
    floats = to_float64_or_nan(pa.chunked_array([column]) if chunked else column)
    assert np.array_equal(floats, [1.25, np.nan, -3.0], equal_nan=True)
    assert to_float64_or_nan(column.slice(2)).tolist() == [-3.0]
