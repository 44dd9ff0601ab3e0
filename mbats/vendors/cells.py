"""Cells of a file as instants, prices and counts, a column at a time; what cannot be is null.

Values of CSV arrive as text, values of Parquet in their own types. Prices become decimals straight
from their text: no float lies between the file and the security master.
"""

from datetime import time
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mbats.market.bars import Times
from mbats.market.numeric import NUMERIC, from_float64
from mbats.vendors.mapping import EPOCHS, FileMapping, zone

_WIDE = pa.decimal128(38, 18)
# Beyond it, a NUMERIC has no exact float64 (mbats.market.numeric).
_TOO_HIGH = 9_000_000
_OFFSET = r"[0-9](Z|z|[+-][0-9]{2}:?[0-9]{2})$"


def text_of(column: pa.Array) -> pa.Array:
    """Return text without the blanks around it; other types as they are."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.utf8_trim_whitespace(column.cast(pa.string()))
    return column


def prices(column: pa.Array, mapping: FileMapping) -> pa.Array:
    """Return a column of NUMERIC, null where the cell is not a price above 0, below 9 million."""
    column = text_of(column)
    if pa.types.is_floating(column.type):
        exact = _from_floats(column, mapping.price_precision)
    else:
        if pa.types.is_string(column.type) and mapping.decimal_point == ",":
            column = pc.replace_substring(column, ",", ".")
        exact = _decimals(column)
    usable = pc.and_(pc.greater(exact, 0), pc.less(exact, _TOO_HIGH))
    exact = pc.if_else(usable, exact, pa.scalar(None, exact.type))
    rounded = pc.round(exact, mapping.price_precision, "half_to_even").cast(NUMERIC)
    return pc.if_else(pc.greater(rounded, 0), rounded, pa.scalar(None, NUMERIC))


def counts(column: pa.Array) -> pa.Array:
    """Return a column of whole numbers, null where the cell is none; a fraction is cut off."""
    column = text_of(column)
    if not pa.types.is_integer(column.type):
        floats = pd.to_numeric(pd.Series(column.to_pandas()), errors="coerce").to_numpy(np.float64)
        usable = np.isfinite(floats) & (np.abs(floats) < 2**53)
        column = pa.array(np.trunc(np.where(usable, floats, 0)).astype(np.int64), mask=~usable)
    column = column.cast(pa.int64())
    return pc.if_else(pc.greater_equal(column, 0), column, pa.scalar(None, pa.int64()))


def instants(columns: list[pa.Array], mapping: FileMapping) -> Times:
    """Return the times of the rows as UTC datetime64[us], NaT where there is none.

    There is none where the text does not match the format, and where a clock change makes a
    local time ambiguous or skips it.
    """
    column = text_of(columns[0])
    if len(columns) > 1:
        column = pc.binary_join_element_wise(*(text_of(c).cast(pa.string()) for c in columns), " ")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps = pd.DatetimeIndex(column.to_pandas())
        return _utc(stamps, mapping)
    if mapping.time_format in EPOCHS:
        return _from_epoch(column, EPOCHS[mapping.time_format])
    texts = pd.Series(column.cast(pa.string()).to_pandas())
    aware = _has_offset(column, mapping.time_format)
    found = np.full(len(column), np.datetime64("NaT"), dtype="datetime64[us]")
    pattern = "ISO8601" if mapping.time_format == "iso" else mapping.time_format
    for rows, utc in ((aware, True), (~aware, False)):
        if rows.any():
            parsed = pd.to_datetime(texts[rows], format=pattern, utc=utc, errors="coerce")
            found[rows] = _utc(pd.DatetimeIndex(parsed), mapping)
    return found


def _decimals(column: pa.Array) -> pa.Array:
    """Return exact decimals; where a page holds a cell that is none, cell by cell."""
    try:
        return column.cast(_WIDE)
    except pa.ArrowInvalid:
        return pa.array([_decimal(cell) for cell in column], _WIDE)


def _decimal(cell: pa.Scalar) -> Decimal | None:
    try:
        found: Decimal | None = cell.cast(_WIDE).as_py()
    except pa.ArrowInvalid:
        return None
    return found


def _from_floats(column: pa.Array, precision: int) -> pa.Array:
    floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    usable = np.isfinite(floats) & (np.abs(floats) < _TOO_HIGH)
    numeric = from_float64(np.where(usable, floats, 0.0), precision)
    return pc.if_else(pa.array(usable), numeric, pa.scalar(None, NUMERIC))


def _from_epoch(column: pa.Array, micros: int) -> Times:
    numbers = pd.to_numeric(pd.Series(column.to_pandas()), errors="coerce").to_numpy(np.float64)
    found = np.full(len(column), np.datetime64("NaT"), dtype="datetime64[us]")
    usable = np.isfinite(numbers) & (np.abs(numbers * micros) < 2**53)
    found[usable] = np.rint(numbers[usable] * micros).astype(np.int64).astype("datetime64[us]")
    return found


def _has_offset(column: pa.Array, time_format: str) -> npt.NDArray[np.bool_]:
    if time_format != "iso":
        return np.full(len(column), "%z" in time_format)
    matched = pc.match_substring_regex(column.cast(pa.string()), _OFFSET).fill_null(False)
    with_time = pc.match_substring(column.cast(pa.string()), ":").fill_null(False)
    flags: npt.NDArray[np.bool_] = pc.and_(matched, with_time).to_numpy(zero_copy_only=False)
    return flags


def _utc(stamps: pd.DatetimeIndex, mapping: FileMapping) -> Times:
    if stamps.tz is None:
        stamps = stamps + _since_midnight(mapping.time_of_day)
        stamps = stamps.tz_localize(zone(mapping.time_zone), ambiguous="NaT", nonexistent="NaT")
    found: Times = stamps.tz_convert(None).to_numpy().astype("datetime64[us]")
    return found


def _since_midnight(at: time) -> pd.Timedelta:
    return pd.Timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)
