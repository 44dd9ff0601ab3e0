"""A million minute bars into the warehouse and back as float64, beside Google's client alone.

    .venv/bin/python benchmarks/warehouse.py [ROWS]

The peer loads the same Parquet into a table with ``load_table_from_file`` and reads it back over
the Storage Read API, with no staging, no MERGE, no key and no conversion. Each side runs in a
process of its own, on a stack that this script starts and stops.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mbats import schemas
from mbats.cli.output import people, table
from mbats.config import Settings
from mbats.desk import Desk
from mbats.gcp.tables import apply_tables
from mbats.local.stack import Stack
from mbats.market.bars import BAR_SCHEMA, PRICE_COLUMNS, bars_from_table
from mbats.market.numeric import from_float64

CHECKOUT = Path(__file__).parents[1]
ROWS = 1_000_000
STREAMS = 4


def made_up_bars(rows: int) -> pa.Table:
    """A random walk of bid, ask and mid, one bar a minute from 2020 on."""
    mid = 1.1 + np.cumsum(np.random.default_rng(7).normal(0, 1e-5, rows))
    half = {"bid": -5e-5, "ask": 5e-5, "mid": 0.0}
    shift = {"open": 0.0, "high": 2e-5, "low": -2e-5, "close": 1e-5}
    start = np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(1, "m")
    columns = {
        "instrument": pa.repeat("EUR_USD", rows),
        "start": pa.array(start, pa.timestamp("us", "UTC")),
        "vendor": pa.repeat("bench", rows),
        **{name: from_float64(mid + half[name[:3]] + shift[name[4:]], 5) for name in PRICE_COLUMNS},
        "volume": pa.array(np.arange(rows)),
        "complete": pa.repeat(True, rows),
        "end_time": pa.array(start + np.timedelta64(1, "m"), pa.timestamp("us", "UTC")),
        "basis": pa.nulls(rows, pa.string()),
    }
    return pa.table([columns[name] for name in BAR_SCHEMA.names], schema=BAR_SCHEMA)


def ours(settings: Settings, rows: int) -> dict[str, float]:
    page = made_up_bars(rows)
    with Desk(settings) as desk:
        store = desk.security_master
        base = peak_bytes()
        load = timed(lambda: store.merge_bars("M1", page))
        again = timed(lambda: store.merge_bars("M1", page))
        read = timed(
            lambda: bars_from_table(store.bars("EUR_USD", "M1", "bench"), "M1"), expect=rows
        )
    return {"load": load, "replay": again, "read": read, "memory": peak_bytes() - base}


def bare_client(settings: Settings, rows: int) -> dict[str, float]:
    """Google's client and nothing else, except the emulator's addresses."""
    from google.cloud import bigquery
    from google.cloud.bigquery_storage_v1 import types

    from mbats.gcp.connection import bigquery_client, read_client

    page = made_up_bars(rows)
    client, reader = bigquery_client(settings), read_client(settings)
    base = peak_bytes()
    path = f"{settings.project}.{settings.security_master}.bare"

    def load() -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(page, sink)
        config = bigquery.LoadJobConfig(
            source_format="PARQUET",
            schema=[
                bigquery.SchemaField(f["name"], f["type"], f["mode"])
                for f in schemas.table("security_master", "bar_minute").fields
                if f["name"] != "ingested_at"
            ],
        )
        client.load_table_from_file(
            pa.BufferReader(sink.getvalue()), path, job_config=config
        ).result()

    def read() -> pa.Table:
        session = reader.create_read_session(
            parent=f"projects/{settings.project}",
            read_session=types.ReadSession(
                table=f"projects/{settings.project}/datasets/{settings.security_master}/tables/bare",
                data_format=types.DataFormat.ARROW,
            ),
            max_stream_count=STREAMS,
        )
        return pa.concat_tables(
            [reader.read_rows(s.name).rows(session).to_arrow() for s in session.streams]
        )

    figures = {"load": timed(load), "read": timed(read, expect=rows)}
    return {**figures, "memory": peak_bytes() - base}


def timed(work: Callable[[], object], expect: int | None = None) -> float:
    begin = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - begin
    if expect is not None and len(made) != expect:  # type: ignore[arg-type]
        raise SystemExit(f"expected {expect} rows, got {len(made)}")  # type: ignore[arg-type]
    return seconds


def rate(rows: int, seconds: float | None) -> str:
    return "" if seconds is None else f"{rows / seconds:,.0f}"


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(work: Callable[[Settings, int], dict[str, float]], *args: object) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        venvs = CHECKOUT / ".mbats" / "venvs"
        stack = Stack(Settings(home=Path(folder) / ".mbats", venvs=venvs), any_ports=True)
        try:
            settings = stack.up().settings
            with Desk(settings) as desk:
                apply_tables(desk.warehouse, schemas.all_tables().values())
            sides = {"bare client": apart(bare_client, settings, rows)}
            sides["mbats"] = apart(ours, settings, rows)
        finally:
            stack.down()
    shown = [
        (
            name,
            *(rate(rows, side.get(step)) for step in ("load", "replay", "read")),
            f"{side['memory'] / 2**20:,.0f}",
        )
        for name, side in sides.items()
    ]
    bare, mbats = sides["bare client"], sides["mbats"]
    shown.append(
        (
            "mbats / bare time",
            f"{mbats['load'] / bare['load']:.2f}",
            "",
            f"{mbats['read'] / bare['read']:.2f}",
            f"{mbats['memory'] / bare['memory']:.2f}",
        )
    )
    columns = ("side", "load rows/s", "load again rows/s", "read rows/s", "peak growth MiB")
    people.print(table(f"{rows:,} minute bars, {datetime.now(UTC):%Y-%m-%d}", columns, shown))
    print(json.dumps({"rows": rows, "seconds": sides}))


if __name__ == "__main__":
    main()
