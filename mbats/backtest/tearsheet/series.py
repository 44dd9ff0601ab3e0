"""Long series for a small page: thinned so that no extreme is lost, packed as typed arrays."""

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mbats.backtest.curve import Floats, Times
from mbats.market.bars import Bars


def pack(values: Sequence[float] | Floats, dtype: str = "f8") -> dict[str, str]:
    """Return numbers in the typed-array form that Plotly reads: little-endian, base64."""
    raw = np.ascontiguousarray(values, dtype=f"<{dtype}").tobytes()
    return {"dtype": dtype, "bdata": base64.b64encode(raw).decode("ascii")}


def pack_times(times: Times) -> dict[str, str]:
    """Return instants as milliseconds since 1970, which a Plotly date axis shows as UTC."""
    return pack(times.astype("datetime64[us]").astype(np.int64) / 1000.0)


def keep_extremes(values: Floats, limit: int) -> np.ndarray:
    """Return ascending indices of at most ``limit`` points: the least and greatest of each bucket.

    The first and the last point are always kept; a series that is short enough is kept whole.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, max(2, (limit - 2) // 2) + 1).astype(np.int64)
    chosen = [0, count - 1]
    for a, b in pairwise(edges):
        chosen += [a + int(np.argmin(values[a:b])), a + int(np.argmax(values[a:b]))]
    return np.unique(chosen)


def price_buckets(bars: Bars, limit: int) -> dict[str, Any]:
    """Return time, low, high and close of at most ``limit`` buckets of consecutive bars.

    A bucket's low and high are those of all its bars, its time the start of its first bar,
    ``bars_each`` how many bars it holds.
    """
    each = max(1, -(-len(bars) // limit))
    first = np.arange(0, len(bars), each)
    last = np.append(first[1:], len(bars)) - 1
    return {
        "time": bars.start[first],
        "low": np.minimum.reduceat(bars.mid.low, first),
        "high": np.maximum.reduceat(bars.mid.high, first),
        "close": bars.mid.close[last],
        "bars_each": each,
    }
