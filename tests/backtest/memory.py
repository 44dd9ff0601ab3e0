"""A security master and a risk store in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mbats.backtest.result import RunResult
from mbats.market.bars import BAR_SCHEMA, PARTS, SIDES, Bars
from mbats.market.instrument import Instrument
from mbats.market.numeric import NUMERIC, from_float64


class MemoryMarket:
    """Bars that were put in."""

    def __init__(self, *bars: Bars, instruments: Sequence[Instrument] = ()) -> None:
        self.stored = {(b.instrument, b.granularity, b.vendor): b for b in bars}
        self.described = instruments
        self.asked: list[tuple[str, str, str]] = []

    def bars(
        self,
        instrument: str,
        granularity: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        self.asked.append((instrument, granularity, vendor))
        found = self.stored.get((instrument, granularity, vendor))
        if found is None:
            return BAR_SCHEMA.empty_table()
        return arrow(found, start, end)

    def series(self) -> pa.Table:
        return pa.Table.from_pylist(
            [
                {
                    "instrument": i, "granularity": g, "vendor": v, "bars": len(b),
                    "first": utc(b.start[0]), "last": utc(b.start[-1]),
                }
                for (i, g, v), b in self.stored.items()
            ]
        )  # fmt: skip

    def instruments(self, vendor: str | None = None) -> Sequence[Instrument]:
        return self.described


def utc(time: np.datetime64) -> datetime:
    from mbats.market.newyork import to_datetime

    return to_datetime(time)


def arrow(bars: Bars, start: datetime | None, end: datetime | None) -> pa.Table:
    count = len(bars)
    columns: dict[str, Any] = {
        "instrument": [bars.instrument] * count,
        "vendor": [bars.vendor] * count,
        "start": pa.array(bars.start).cast(BAR_SCHEMA.field("start").type),
        "end_time": pa.array(bars.end).cast(BAR_SCHEMA.field("start").type),
        "volume": pa.nulls(count, pa.int64()),
        "complete": [True] * count,
        "basis": pa.nulls(count, pa.string()),
    }
    for side in SIDES:
        prices = getattr(bars, side)
        for part in PARTS:
            values = None if prices is None else from_float64(getattr(prices, part), 9)
            columns[f"{side}_{part}"] = pa.nulls(count, NUMERIC) if values is None else values
    table = pa.table({name: columns[name] for name in BAR_SCHEMA.names}, schema=BAR_SCHEMA)
    keep = [
        (start is None or utc(s) >= start) and (end is None or utc(s) < end) for s in bars.start
    ]
    return table.filter(pa.array(keep))


class MemoryStore:
    """A risk store that counts what it is asked; ``broken`` names a call that fails."""

    def __init__(self, broken: Mapping[str, BaseException] | None = None) -> None:
        self.calls: list[str] = []
        self.status: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.results: dict[str, RunResult] = {}
        self.broken = broken or {}

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.broken:
            raise self.broken[call]

    def start(self, run: Mapping[str, Any]) -> None:
        self._note("start")
        self.status[run["run_id"]] = "running"

    def finish(self, result: RunResult) -> None:
        self._note("finish")
        self.results[result.run["run_id"]] = result
        self.status[result.run["run_id"]] = "done"

    def fail(self, run_id: str, error: str) -> None:
        self._note("fail")
        self.status[run_id] = "failed"
        self.errors[run_id] = error

    def done(self, sweep_id: str) -> list[str]:
        self._note("done")
        return [
            run_id
            for run_id, result in self.results.items()
            if result.run["parent_run_id"] == sweep_id and result.run["status"] == "done"
        ]

    def finish_many(self, results: Sequence[RunResult]) -> None:
        self._note("finish_many")
        for result in results:
            stored = self.results.get(result.run["run_id"])
            if stored is None or stored.run["status"] != "done":
                self.results[result.run["run_id"]] = result
                self.status[result.run["run_id"]] = result.run["status"]
