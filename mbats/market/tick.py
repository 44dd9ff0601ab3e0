"""Ticks: one price update as a value, many as columns."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mbats.errors import DataError
from mbats.market.bars import Floats, Times
from mbats.market.numeric import to_float64_or_nan


@dataclass(frozen=True, slots=True)
class Tick:
    """One price update. ``bid`` or ``ask`` is None where that side of the book is empty.

    ``time`` is the vendor's, aware. Liquidity is in units of the base currency. ``tradeable`` is
    False for the stale prices that a vendor repeats while the market is closed.
    """

    instrument: str
    time: datetime
    bid: Decimal | None
    ask: Decimal | None
    bid_liquidity: int | None = None
    ask_liquidity: int | None = None
    tradeable: bool = True

    def __post_init__(self) -> None:
        if self.time.tzinfo is None:
            raise DataError(f"A tick of {self.instrument} has a time without zone: {self.time}.")
        for name, price in (("bid", self.bid), ("ask", self.ask)):
            if price is not None and not (price.is_finite() and price > 0):
                raise DataError(f"A tick of {self.instrument} has the {name} {price}.")

    @property
    def has_prices(self) -> bool:
        """Whether it counts for bars: tradeable, and with both sides of the book."""
        return self.tradeable and self.bid is not None and self.ask is not None


@dataclass(frozen=True)
class Ticks:
    """One instrument's ticks in columns of shape (ticks,), in order of arrival.

    ``time`` is datetime64[us] in UTC; ``bid`` and ``ask`` are float64, NaN where empty.
    """

    instrument: str
    time: Times
    bid: Floats
    ask: Floats
    tradeable: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {len(x) for x in (self.time, self.bid, self.ask, self.tradeable)}
        if len(lengths) != 1:
            raise DataError(f"The columns of the ticks of {self.instrument} differ in length.")

    def __len__(self) -> int:
        return len(self.time)


def each_once(table: pa.Table) -> pa.Table:
    """Return rows of security_master.tick in order of time, every event once: its first copy.

    Ticks of one time are ordered by publication, then by event id, so the order follows from the
    rows alone and not from how they were read.
    """
    ordered = table.sort_by([(n, "ascending") for n in ("time", "published_at", "event_id")])
    numbered = ordered.select(["event_id"]).append_column("row", pa.array(np.arange(len(ordered))))
    first = numbered.group_by("event_id").aggregate([("row", "min")]).column("row_min")
    if len(first) == len(ordered):
        return ordered
    return ordered.take(pa.array(np.sort(first.to_numpy())))


def ticks_from_table(table: pa.Table) -> Ticks:
    """Return the ticks of one instrument in ``table`` (columns of security_master.tick)."""
    instruments = table.column("instrument").unique().to_pylist()
    if len(instruments) != 1:
        raise DataError(f"Expected ticks of one instrument, got {sorted(instruments) or 'none'}.")
    return Ticks(
        instrument=instruments[0],
        time=table.column("time").cast(pa.timestamp("us")).to_numpy(),
        bid=to_float64_or_nan(table.column("bid")),
        ask=to_float64_or_nan(table.column("ask")),
        tradeable=table.column("tradeable").to_numpy(),
    )
