"""What the market room asks of the rooms around it: a vendor of history, a store for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from mbats.market.instrument import Instrument


@dataclass(frozen=True)
class VendorInfo:
    """Who prices come from. ``sides`` is for example ``bid+ask+mid``; ``calendar`` fx or ecb."""

    vendor: str
    display_name: str
    website: str
    sides: str
    calendar: str
    licence: str


class Vendor(Protocol):
    """Where history comes from."""

    info: VendorInfo

    def instruments(self) -> Sequence[Instrument]:
        """Return every instrument the vendor has."""
        ...

    def granularities(self) -> Sequence[str]:
        """Return the granularities it serves, for example D and M1."""
        ...

    def candles(
        self, instrument: str, granularity: str, start: datetime, end: datetime
    ) -> Iterator[pa.Table]:
        """Yield pages of complete bars with start in [start, end), ascending, in BAR_SCHEMA.

        Times are aware UTC. A page is at most a few ten thousand rows. Raises
        :class:`~mbats.errors.DataError` for an instrument or granularity it does not have.
        """
        ...


@dataclass(frozen=True)
class MergeCount:
    """What a MERGE did: rows that were new, rows whose values changed."""

    inserted: int
    updated: int


class HistoryStore(Protocol):
    """The security master, as loading and reading history see it."""

    def last_start(self, instrument: str, granularity: str, vendor: str) -> datetime | None:
        """Return the start of the newest stored bar, or None."""
        ...

    def merge_bars(self, granularity: str, page: pa.Table) -> MergeCount:
        """Store a page of BAR_SCHEMA on its natural key; a corrected bar replaces the old."""
        ...

    def bars(
        self,
        instrument: str,
        granularity: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the stored bars with start in [start, end), ascending, in BAR_SCHEMA."""
        ...

    def merge(self, table: str, rows: Sequence[dict[str, Any]]) -> MergeCount:
        """Store rows of another security-master table on its natural key."""
        ...

    def rows(self, table: str, where: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return all columns of another table's rows, those whose columns equal ``where``."""
        ...

    def series(self) -> pa.Table:
        """Return one row a stored series: instrument, granularity, vendor, first, last, bars."""
        ...
