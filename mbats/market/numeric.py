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


def to_float64(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return the decimals of ``column`` as the nearest float64s, shape (rows,).

    Raises ValueError for nulls, which have no float64, and OverflowError for nine million or more.
    """
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} values are null")
    if isinstance(column, pa.ChunkedArray):
        parts = [_words(chunk) for chunk in column.chunks]
        words = np.concatenate(parts) if parts else np.empty((0, 2), np.int64)
    else:
        words = _words(column)
    low, high = words.T
    if np.any(high != low >> 63) or np.any(np.abs(low) >= _EXACT):
        raise OverflowError("a NUMERIC of nine million or more does not fit float64 exactly")
    floats: npt.NDArray[np.float64] = low / SCALE
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

    Raises OverflowError for values that are not finite, or are nine million or more.
    """
    scaled = np.rint(np.asarray(values, dtype=np.float64) * 10.0**precision)
    if not np.all(np.abs(scaled) < _EXACT / 10 ** (9 - precision)):
        raise OverflowError("a price is not finite, or is nine million or more")
    billionths = scaled.astype(np.int64) * 10 ** (9 - precision)
    words = np.empty((len(billionths), 2), dtype=np.int64)
    words[:, 0] = billionths
    words[:, 1] = billionths >> 63
    return pa.Array.from_buffers(NUMERIC, len(billionths), [None, pa.py_buffer(words.tobytes())])
