"""The security master: history, instruments and what is known about them, in BigQuery."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mbats import schemas
from mbats.errors import DataError
from mbats.gcp.batch import plain_rows, table_of
from mbats.gcp.warehouse import Warehouse
from mbats.market.bars import BAR_SCHEMA
from mbats.market.history import MergeCount, VendorInfo
from mbats.market.instrument import Instrument
from mbats.market.tick import each_once
from mbats.schemas import TableSchema

BAR_TABLES: Mapping[str, str] = {"D": "bar_daily", "M1": "bar_minute"}


class SecurityMaster:
    """A :class:`mbats.market.history.HistoryStore` over the warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def last_start(self, instrument: str, granularity: str, vendor: str) -> datetime | None:
        """Return the start of the newest stored bar, or None."""
        found = self._warehouse.query(
            f"SELECT MAX(`start`) AS `newest` FROM `{self._warehouse.target(_bars(granularity))}` "
            "WHERE `instrument` = @instrument AND `vendor` = @vendor",
            {"instrument": instrument, "vendor": vendor},
        )
        newest: datetime | None = found[0]["newest"]
        return newest

    def merge_bars(self, granularity: str, page: pa.Table) -> MergeCount:
        """Store a page of BAR_SCHEMA on its natural key; a corrected bar replaces the old.

        Raises :class:`DataError` for an incomplete bar or rows that do not fit; nothing of the
        page is stored then.
        """
        if pc.any(pc.invert(page.column("complete"))).as_py():
            raise DataError(
                f"A page of {granularity} bars holds a bar that had not ended.",
                mend="leave incomplete candles out; they are read again once complete",
            )
        return self._warehouse.merge(_bars(granularity), page)

    def bars(
        self,
        instrument: str,
        granularity: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the stored bars with start in [start, end), ascending, in BAR_SCHEMA."""
        table = self._warehouse.read(
            _bars(granularity),
            {"instrument": instrument, "vendor": vendor, "start": (start, end)},
            columns=BAR_SCHEMA.names,
            order_by=["start"],
        )
        return table.cast(BAR_SCHEMA)

    def ticks(
        self,
        instrument: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the recorded price updates with time in [start, end), each once, ascending."""
        schema = schemas.table("security_master", "tick")
        where = {"instrument": instrument, "vendor": vendor, "time": (start, end)}
        return each_once(self._warehouse.read(schema, where))

    def merge(self, table: str, rows: Sequence[dict[str, Any]]) -> MergeCount:
        """Store rows of another security-master table on its natural key.

        Raises :class:`DataError` naming table, column and row for values that do not fit.
        """
        schema = schemas.table("security_master", table)
        return self._warehouse.merge(schema, table_of(schema, rows))

    def rows(self, table: str, where: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return all columns of a table's rows, in the order of the natural key.

        ``where`` keeps the rows whose columns equal its values.
        """
        schema = schemas.table("security_master", table)
        found = self._warehouse.read(schema, where or {}, order_by=schema.primary_key)
        return plain_rows(schema, found)

    def series(self) -> pa.Table:
        """Return one row a stored series: instrument, granularity, vendor, first, last, bars."""
        parts = " UNION ALL ".join(
            f"SELECT `instrument`, '{granularity}' AS `granularity`, `vendor`, "
            "MIN(`start`) AS `first`, MAX(`start`) AS `last`, COUNT(*) AS `bars` "
            f"FROM `{self._warehouse.target(_bars(granularity))}` GROUP BY `instrument`, `vendor`"
            for granularity in BAR_TABLES
        )
        found = self._warehouse.query(
            f"SELECT * FROM ({parts}) ORDER BY `instrument`, `granularity`, `vendor`"
        )
        instant = BAR_SCHEMA.field("start").type
        columns = [
            ("instrument", pa.string()),
            ("granularity", pa.string()),
            ("vendor", pa.string()),
        ]
        columns += [("first", instant), ("last", instant), ("bars", pa.int64())]
        return pa.Table.from_pylist(found, schema=pa.schema(columns))

    def instruments(self, vendor: str | None = None) -> list[Instrument]:
        """Return the instruments that are described, of one vendor or of all."""
        return [_instrument(row) for row in self.rows("instrument", _only("vendor", vendor))]

    def watchlist(self, granularity: str | None = None) -> list[dict[str, Any]]:
        """Return the active rows of the watchlist, of one granularity or of all."""
        return self.rows("watchlist", {"active": True, **_only("granularity", granularity)})

    def vendors(self) -> list[VendorInfo]:
        """Return the vendors that have stored anything."""
        return [
            VendorInfo(
                vendor=row["vendor"],
                display_name=row["display_name"] or row["vendor"],
                website=row["website"] or "",
                sides=row["price_sides"],
                calendar=row["calendar"],
                licence=row["licence"] or "",
            )
            for row in self.rows("data_vendor")
        ]


def _bars(granularity: str) -> TableSchema:
    if granularity not in BAR_TABLES:
        raise DataError(
            f"Bars of granularity {granularity!r} are not stored.", tried=list(BAR_TABLES)
        )
    return schemas.table("security_master", BAR_TABLES[granularity])


def _only(column: str, value: str | None) -> dict[str, Any]:
    return {} if value is None else {column: value}


def _instrument(row: Mapping[str, Any]) -> Instrument:
    optional: dict[str, Decimal] = {
        name: row[name].normalize()
        for name in (
            "minimum_trade_units",
            "maximum_order_units",
            "margin_rate",
            "typical_spread_pips",
            "financing_long_rate",
            "financing_short_rate",
        )
        if row[name] is not None
    }
    return Instrument(
        name=row["instrument"],
        pip_location=row["pip_location"],
        price_precision=row["price_precision"],
        units_precision=row["units_precision"],
        kind=row["kind"],
        display_name=row["display_name"] or "",
        **optional,
    )
