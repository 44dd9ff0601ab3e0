"""Many backtests and many ticks: what batching brings and what Beam costs.

* `mbats sweep` in one process against `mbats backtest` one by one, the same parameter sets on the
  same bars, both into the local BigQuery. The peer is what a person without a sweep would type.
* The Beam pipeline on its local runner against `mbats.market.tick_bars` in this process, the same
  ticks from the same Parquet files to the same Parquet bars; the bars are compared first.

Of both, seconds on the wall and seconds of the processor, in this process and those it started; the
emulators' own are in the first alone. On a machine that others use, quote the second.

Needs no running stack: it starts one and stops it. Run it with
`.venv/bin/python benchmarks/batch.py [members] [ticks]`.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mbats import schemas
from mbats.config import Settings
from mbats.local.beam import ticks_to_bars
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.stack import Stack
from mbats.market.granularity import Granularity
from mbats.market.numeric import from_float64
from mbats.market.tick_bars import named, piece_of, tick_bars

VENVS = Path(__file__).parents[1] / ".mbats" / "venvs"
NAMES = ("EUR_USD", "USD_JPY", "GBP_USD", "AUD_USD")
GRANULARITIES = (Granularity.M1, Granularity.D)
FIRST = np.datetime64("2026-03-01T22:00", "us")
WEEK_US = 5 * 24 * 3600 * 1_000_000
LAST, UNTIL = "2026-03-06", datetime(2026, 3, 6, 22, tzinfo=UTC)
TICK = schemas.table("security_master", "tick").arrow


class Took(NamedTuple):
    """Seconds on the wall, and of the processor."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:8.1f} s wall {self.cpu:8.1f} s CPU"

    def times(self, other: "Took") -> str:
        """Return how many times faster this is than the other."""
        return f"x {other.wall / self.wall:.2f} wall, x {other.cpu / self.cpu:.2f} CPU"


def timed(work: Callable[[], object]) -> Took:
    """Return how long ``work`` takes, with the processes that it starts and awaits."""
    begin, own, others = time.perf_counter(), time.process_time(), _children()
    work()
    return Took(time.perf_counter() - begin, time.process_time() - own + _children() - others)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def mbats(home: Path, *words: str) -> None:
    program = "from mbats.cli.main import main; main()"
    command = [sys.executable, "-c", program, "--home", str(home), *words]
    subprocess.run(command, check=True, capture_output=True)


def sweep_against_backtests(home: Path, members: int) -> None:
    mbats(home, "init")
    mbats(home, "data", "load", "--vendor", "ecb", "--instruments", "EUR_USD")
    common = ("sma_reversal", "--instruments", "EUR_USD")
    last = 4 + members

    def one_by_one() -> None:
        for period in range(5, last + 1):
            mbats(home, "backtest", *common, "--param", f"period={period}", "--brief")

    alone = timed(one_by_one)
    swept = timed(lambda: mbats(home, "sweep", *common, "--param", f"period=5:{last}:1"))
    print(f"{members} members, 7,000 daily bars, into the local BigQuery")
    print(f"  mbats backtest, one by one {alone}   x 1")
    print(f"  mbats sweep, one process   {swept}   {swept.times(alone)}")


def make_ticks(name: str, count: int) -> pa.Table:
    rng = np.random.default_rng([*map(ord, name)])
    at = FIRST + np.sort(rng.integers(0, WEEK_US, count)).astype("timedelta64[us]")
    bid = np.round(1.1 + np.cumsum(rng.normal(0, 1e-5, count)), 5)
    columns = {
        "instrument": pa.repeat(name, count),
        "time": pa.array(at).cast(TICK.field("time").type),
        "vendor": pa.repeat("oanda", count),
        "event_id": pa.array([f"{name}-{number}" for number in range(count)]),
        "bid": from_float64(bid, 5),
        "ask": from_float64(bid + 1e-4, 5),
        "tradeable": pa.repeat(True, count),
        "published_at": pa.array(at).cast(TICK.field("time").type),
    }
    absent = {f.name: pa.nulls(count, f.type) for f in TICK if f.name not in columns}
    return pa.table({name: (columns | absent)[name] for name in TICK.names}, schema=TICK)


def beam_against_library(home: Path, count: int) -> None:
    folder, out = home / "in", home / "out"
    folder.mkdir()
    for name in NAMES:
        pq.write_table(make_ticks(name, count // len(NAMES)), folder / f"{name}.parquet")
    pq.write_table(make_ticks(NAMES[0], 100), home / "few.parquet")
    bars: dict[tuple[str, Granularity], pa.Table] = {}

    def library() -> None:
        for file in sorted(folder.iterdir()):
            piece = piece_of(pq.read_table(file).cast(TICK), GRANULARITIES, UNTIL)
            made = named(tick_bars([piece], GRANULARITIES), "oanda-ticks")
            for granularity, table in made.tables.items():
                bars[made.instrument, granularity] = table
                pq.write_table(table, home / f"{made.instrument}_{granularity}.parquet")

    settings = Settings(home=home, venvs=VENVS)
    arguments = [f"--ticks={folder}/*.parquet", f"--output={out}", f"--last={LAST}"]
    few = [f"--ticks={home}/few.parquet", f"--output={home}/few"]

    def beam() -> None:
        *reports, _ = ticks_to_bars(settings, arguments)
        for report in reports:
            expected = bars[report["instrument"], Granularity(report["granularity"])]
            assert pq.read_table(report["file"]).equals(expected), report

    mine = timed(library)
    list(ticks_to_bars(settings, few))  # makes the environment, where it is not there
    start = timed(lambda: list(ticks_to_bars(settings, few)))
    whole = timed(beam)
    total = count // len(NAMES) * len(NAMES)
    print(f"{total:,} ticks, {len(NAMES)} instruments, M1 and D, Parquet to Parquet, equal bars")
    print(f"  library, one process       {mine}   x 1")
    print(f"  Beam, local runner         {whole}   {whole.times(mine)}")
    print(f"  Beam, nearly no ticks      {start}")


def main() -> None:
    members = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / ".mbats"
        stack = Stack(Settings(home=home, venvs=VENVS), EMULATOR_SERVICES, any_ports=True)
        try:
            stack.up()
            sweep_against_backtests(home, members)
        finally:
            stack.down()
        beam_against_library(home, ticks)


if __name__ == "__main__":
    main()
