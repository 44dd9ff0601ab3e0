"""Bars in columns: the Arrow form that is stored and the float64 form that kernels read.

The Arrow form (:data:`BAR_SCHEMA`) holds prices as NUMERIC and is what vendors yield and the
security master keeps. :class:`Bars` holds one instrument's bars as NumPy arrays.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mbats.errors import DataError
from mbats.market.numeric import NUMERIC, from_float64, to_float64

Side = Literal["bid", "ask", "mid"]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

SIDES: tuple[Side, ...] = ("bid", "ask", "mid")
PARTS = ("open", "high", "low", "close")
PRICE_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in PARTS)

INSTANT = pa.timestamp("us", tz="UTC")

BAR_SCHEMA = pa.schema(
    [
        pa.field("instrument", pa.string(), nullable=False),
        pa.field("start", INSTANT, nullable=False),
        pa.field("vendor", pa.string(), nullable=False),
        *(pa.field(name, NUMERIC) for name in PRICE_COLUMNS),
        pa.field("volume", pa.int64()),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field("end_time", INSTANT, nullable=False),
        pa.field("basis", pa.string()),
    ]
)


class Ohlc(NamedTuple):
    """Open, high, low and close: four float64 arrays of shape (bars,), quote currency."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats


@dataclass(frozen=True)
class Bars:
    """One instrument's bars in ascending order of start; every array has shape (bars,).

    ``start`` and ``end`` are datetime64[us] in UTC. ``bid`` and ``ask`` are None where the
    vendor has only mid prices; ``mid`` is always there.
    """

    instrument: str
    granularity: str
    vendor: str
    start: Times
    end: Times
    mid: Ohlc
    bid: Ohlc | None = None
    ask: Ohlc | None = None
    volume: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.start)


def bars_from_table(table: pa.Table, granularity: str) -> Bars:
    """Return the float64 form of ``table`` (columns of :data:`BAR_SCHEMA`, one instrument).

    Where mid prices are missing they are the mean of bid and ask. Raises :class:`DataError`
    for several instruments or vendors, unordered or repeated starts, or missing prices.
    """
    instrument = _single(table, "instrument")
    vendor = _single(table, "vendor")
    start = _times(table, "start")
    if np.any(start[1:] <= start[:-1]):
        raise DataError(
            f"The bars of {instrument} are not in strictly ascending order of start.",
            mend="read them with ORDER BY start; the natural key allows no repeats",
        )
    bid, ask, mid = (_ohlc(table, side) for side in SIDES)
    if mid is None:
        if bid is None or ask is None:
            raise DataError(f"The bars of {instrument} from {vendor} have no complete prices.")
        mid = Ohlc(*((b + a) / 2 for b, a in zip(bid, ask, strict=True)))
    volume = table.column("volume")
    return Bars(
        instrument=instrument,
        granularity=granularity,
        vendor=vendor,
        start=start,
        end=_times(table, "end_time"),
        mid=mid,
        bid=bid,
        ask=ask,
        volume=None if volume.null_count else volume.to_numpy(),
    )


def table_from_bars(bars: Bars, precision: int, basis: str | None = None) -> pa.Table:
    """Return complete ``bars`` in BAR_SCHEMA, prices rounded at ``precision`` decimal places.

    The mid keeps one place more, as the mean of bid and ask has. Sides that are None stay null.
    """
    rows = len(bars)
    columns: dict[str, Any] = {
        "instrument": pa.repeat(bars.instrument, rows),
        "start": pa.array(bars.start, pa.timestamp("us")).cast(INSTANT),
        "vendor": pa.repeat(bars.vendor, rows),
    }
    for side in SIDES:
        prices: Ohlc | None = getattr(bars, side)
        places = min(precision + (side == "mid"), 9)
        for number, part in enumerate(PARTS):
            columns[f"{side}_{part}"] = (
                pa.nulls(rows, NUMERIC) if prices is None else from_float64(prices[number], places)
            )
    volume = pa.nulls(rows, pa.int64()) if bars.volume is None else pa.array(bars.volume)
    columns |= {
        "volume": volume,
        "complete": pa.repeat(True, rows),
        "end_time": pa.array(bars.end, pa.timestamp("us")).cast(INSTANT),
        "basis": pa.repeat(pa.scalar(basis, pa.string()), rows),
    }
    return pa.table(columns, schema=BAR_SCHEMA)


def _single(table: pa.Table, column: str) -> str:
    values: list[Any] = table.column(column).unique().to_pylist()
    if len(values) != 1:
        raise DataError(f"Expected bars of one {column}, got {sorted(map(str, values)) or 'none'}.")
    return str(values[0])


def _times(table: pa.Table, column: str) -> Times:
    times: Times = table.column(column).cast(pa.timestamp("us")).to_numpy()
    return times


def _ohlc(table: pa.Table, side: Side) -> Ohlc | None:
    columns = [table.column(f"{side}_{part}") for part in PARTS]
    if any(column.null_count for column in columns):
        return None
    return Ohlc(*(to_float64(column) for column in columns))
