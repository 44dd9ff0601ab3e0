"""Pages of bars: what every vendor builds, and what is checked before a page may be stored."""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbats.errors import DataError
from mbats.market.bars import BAR_SCHEMA, INSTANT, PRICE_COLUMNS, Times
from mbats.market.numeric import NUMERIC


def bar_page(
    instrument: str,
    vendor: str,
    start: Times,
    end_time: Times,
    prices: Mapping[str, pa.Array],
    *,
    volume: pa.Array | None = None,
    complete: pa.Array | None = None,
    basis: str,
) -> pa.Table:
    """Return complete bars in BAR_SCHEMA.

    ``start`` and ``end_time`` are UTC datetime64[us], shape (bars,). ``prices`` holds NUMERIC
    arrays under names of PRICE_COLUMNS; the sides it does not hold are null. Bars are complete
    unless ``complete`` says which are not.
    """
    rows = len(start)
    columns = {
        "instrument": pa.repeat(instrument, rows),
        "start": _instants(start),
        "vendor": pa.repeat(vendor, rows),
        **{name: prices.get(name, pa.nulls(rows, NUMERIC)) for name in PRICE_COLUMNS},
        "volume": pa.nulls(rows, pa.int64()) if volume is None else volume,
        "complete": pa.repeat(True, rows) if complete is None else complete,
        "end_time": _instants(end_time),
        "basis": pa.repeat(basis, rows),
    }
    return pa.table(columns, schema=BAR_SCHEMA)


def billionths_to_numeric(billionths: pa.Array) -> pa.Array:
    """Return 64-bit integers of billionths as NUMERIC, exactly."""
    return billionths.cast(pa.decimal128(38, 0)).view(NUMERIC)


def times(page: pa.Table, column: str) -> Times:
    """Return a column of instants as UTC datetime64[us]."""
    found: Times = page.column(column).cast(pa.timestamp("us")).to_numpy()
    return found


def refuse_bad_page(
    page: pa.Table, instrument: str, vendor: str, start: datetime, end: datetime
) -> None:
    """Raise :class:`DataError` unless ``page`` keeps the vendor contract.

    That is: BAR_SCHEMA, one instrument and vendor, starts strictly ascending and in
    [start, end), every bar complete and ended after it started. A vendor that breaks it is not
    trusted with the rest of the page, so nothing of the page is stored.
    """
    wrong = _breach(page, instrument, vendor, start, end)
    if wrong:
        raise DataError(
            f"{vendor} gave a page of {instrument} that must not be stored: {wrong}.",
            mend="the vendor's adapter is at fault; nothing of that page was stored",
        )


def _breach(page: pa.Table, instrument: str, vendor: str, start: datetime, end: datetime) -> str:
    if not page.schema.equals(BAR_SCHEMA):
        return "its columns are not those of BAR_SCHEMA"
    for column, expected in (("instrument", instrument), ("vendor", vendor)):
        if pc.any(pc.not_equal(page.column(column), expected)).as_py():
            return f"it holds another {column}"
    if pc.any(pc.invert(page.column("complete"))).as_py():
        return "it holds a bar that is not complete"
    starts = times(page, "start")
    if np.any(starts[1:] <= starts[:-1]):
        return "its starts do not ascend"
    if page.num_rows and not start <= page["start"][0].as_py() <= page["start"][-1].as_py() < end:
        return f"a start is outside [{start.isoformat()}, {end.isoformat()})"
    if np.any(times(page, "end_time") <= starts):
        return "a bar ends before it starts"
    return ""


def _instants(values: Times) -> pa.Array:
    return pa.array(values.astype("datetime64[us]")).cast(INSTANT)
