"""NUMERIC at the edges, float64 in kernels: the two conversions, exact and without a row loop.

BigQuery's NUMERIC is decimal(38, 9): a 128-bit integer of billionths. As long as that integer is
below 2**53 (prices below nine million), dividing it by 1e9 gives the float64 nearest to the
decimal, because both operands are exact and IEEE division rounds correctly.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NUMERIC = pa.decimal128(38, 9)
SCALE = 1e9
_EXACT = 2**53
_WORD = 2**64 - 1


def to_float64(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the decimals of ``column`` as the nearest float64s, shape (rows,).

    Raises ValueError for nulls, which have no float64.
    """
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} values are null")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    words = np.concatenate([np.empty((0, 2), np.int64), *map(_words, chunks)])
    low, high = words.T
    floats: npt.NDArray[np.float64] = low / SCALE
    large = np.flatnonzero((high != low >> 63) | (low <= -_EXACT) | (low >= _EXACT))
    for index in large:  # amounts of nine million and more: rare, so exact and slow will do
        billionths = (int(high[index]) << 64) + (int(low[index]) & _WORD)
        floats[index] = billionths / 10**9
    return floats


def to_float64_or_nan(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the decimals of ``column`` as :func:`to_float64` does, and NaN for nulls."""
    if not column.null_count:
        return to_float64(column)
    floats = to_float64(column.fill_null(pa.scalar(0, NUMERIC)))
    floats[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return floats


def _words(array: pa.Array) -> npt.NDArray[np.int64]:
    """Return the low and high words of each billionths integer, shape (rows, 2), without a copy."""
    array = array.cast(NUMERIC)
    if not len(array):
        return np.empty((0, 2), np.int64)
    words = np.frombuffer(array.buffers()[1], dtype=np.int64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array)]


def from_float64(values: npt.NDArray[np.float64], precision: int) -> pa.Array:
    """Return ``values`` as NUMERIC, rounded half to even at ``precision`` decimal places (0 to 9).

    Raises OverflowError for a value that is not finite or has no digits to spare for that
    precision (``abs(value) * 10**precision`` of 2**53 or more).
    """
    scaled = np.rint(np.asarray(values, dtype=np.float64) * 10.0**precision)
    if not np.all(np.abs(scaled) < _EXACT):
        raise OverflowError("a number is not finite, or too large for its decimal places")
    units, factor = scaled.astype(np.int64), 10 ** (9 - precision)
    upper, lower = units >> 32, units & 0xFFFFFFFF  # units = upper * 2**32 + lower, lower >= 0
    carried = upper * factor + (lower * factor >> 32)
    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0] = (carried << 32) | (lower * factor & 0xFFFFFFFF)
    words[:, 1] = carried >> 32
    return pa.Array.from_buffers(NUMERIC, len(units), [None, pa.py_buffer(words.tobytes())])
