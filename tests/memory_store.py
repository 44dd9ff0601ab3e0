"""A security master in memory, true to the HistoryStore protocol."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from mbats import schemas
from mbats.market.bars import BAR_SCHEMA, INSTANT
from mbats.market.history import MergeCount

SERIES = ("instrument", "granularity", "vendor")


class MemoryStore:
    def __init__(self) -> None:
        self.stored: dict[tuple[str, str, str], dict[datetime, dict[str, Any]]] = {}
        self.tables: dict[str, dict[tuple, dict[str, Any]]] = {}
        self.pages: list[pa.Table] = []
        self.merged: Counter[str] = Counter()  # rows given to merge, by table

    def last_start(self, instrument: str, granularity: str, vendor: str) -> datetime | None:
        return max(self.stored.get((instrument, granularity, vendor), {}), default=None)

    def merge_bars(self, granularity: str, page: pa.Table) -> MergeCount:
        assert isinstance(page, pa.Table)
        self.pages.append(page)
        inserted = updated = 0
        for row in page.cast(BAR_SCHEMA).to_pylist():
            key = (row["instrument"], granularity, row["vendor"])
            held = self.stored.setdefault(key, {})
            inserted += row["start"] not in held
            updated += row["start"] in held and held[row["start"]] != row
            held[row["start"]] = row
        return MergeCount(inserted, updated)

    def bars(
        self,
        instrument: str,
        granularity: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        held = self.stored.get((instrument, granularity, vendor), {})
        rows = [
            held[at] for at in sorted(held) if (not start or at >= start) and (not end or at < end)
        ]
        return pa.Table.from_pylist(rows, schema=BAR_SCHEMA)

    def merge(self, table: str, rows: Sequence[dict[str, Any]]) -> MergeCount:
        schema = schemas.table("security_master", table)
        required = {f["name"] for f in schema.fields if f["mode"] == "REQUIRED"} - {"ingested_at"}
        self.merged[table] += len(rows)
        held = self.tables.setdefault(table, {})
        inserted = updated = 0
        for row in rows:
            assert set(row) <= set(schema.columns), set(row) - set(schema.columns)
            assert all(row.get(name) is not None for name in required), row
            key = tuple(row[name] for name in schema.primary_key)
            inserted += key not in held
            updated += key in held and held[key] != row
            held[key] = dict(row)
        return MergeCount(inserted, updated)

    def rows(self, table: str, where: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        held = self.tables.get(table, {})
        return [
            dict(held[key])
            for key in sorted(held)
            if all(held[key].get(column) == value for column, value in (where or {}).items())
        ]

    def series(self) -> pa.Table:
        rows = [
            dict(zip(SERIES, key, strict=True))
            | {"first": min(held), "last": max(held), "bars": len(held)}
            for key, held in sorted(self.stored.items())
            if held
        ]
        text = [(name, pa.string()) for name in SERIES]
        rest = [("first", INSTANT), ("last", INSTANT), ("bars", pa.int64())]
        return pa.Table.from_pylist(rows, schema=pa.schema([*text, *rest]))
