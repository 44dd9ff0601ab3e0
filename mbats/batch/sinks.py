"""Where the pipeline's bars go: the security master, or Parquet files.

Both may be done again: bars are merged on their natural key, and a file is replaced whole.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from mbats import schemas
from mbats.batch.pipeline import NAMESPACE
from mbats.batch.request import BarsRequest
from mbats.config import Settings
from mbats.gcp.batch import table_of
from mbats.gcp.security_master import SecurityMaster
from mbats.gcp.warehouse import Warehouse
from mbats.market.granularity import Granularity
from mbats.market.quality import keep_findings
from mbats.market.tick_bars import TickBars, findings, named

PAGE_ROWS = 200_000
CALENDAR = "fx"

Row = dict[str, Any]


class Keeper(Protocol):
    """Keeps bars and findings. It travels to the workers, so it connects in :meth:`open`."""

    def open(self) -> None:
        """Connect."""
        ...

    def keep(
        self, made: TickBars, granularity: Granularity, found: Sequence[Row], request: BarsRequest
    ) -> Row:
        """Keep one granularity's bars and findings; return what to tell of it."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def keeper(request: BarsRequest) -> Keeper:
    """Return the keeper that the request asks for."""
    return Files(request.output) if request.output else Stored(request.settings)


class Keep(beam.DoFn):
    """Checks the bars of a series, and keeps them under their own vendor."""

    def __init__(self, request: BarsRequest) -> None:
        super().__init__()
        self._request, self._keeper = request, keeper(request)

    def setup(self) -> None:
        """Connect."""
        self._keeper.open()

    def process(self, made: TickBars) -> Iterator[Row]:
        """Yield a report a granularity: what it is, bars, left out, findings, how it was kept."""
        request = self._request
        made = named(made, request.bars_vendor)
        for granularity, table in made.tables.items():
            found = findings(made, granularity, CALENDAR, request.until, request.now)
            report = {
                "instrument": made.instrument,
                "granularity": granularity.value,
                "vendor": made.vendor,
                "bars": table.num_rows,
                "left_out": sum(bars for _, _, bars in made.left_out[granularity]),
                "findings": len(found),
            }
            for name in ("bars", "left_out", "findings"):
                Metrics.counter(NAMESPACE, f"{granularity.value}.{name}").inc(report[name])
            yield report | self._keeper.keep(made, granularity, found, request)

    def teardown(self) -> None:
        """Close the connections."""
        self._keeper.close()


class Stored:
    """Merges bars into bar_minute and bar_daily, findings into data_quality."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self) -> None:
        """Connect."""
        self._warehouse = Warehouse.open(self._settings)

    def keep(
        self, made: TickBars, granularity: Granularity, found: Sequence[Row], request: BarsRequest
    ) -> Row:
        """Merge on the natural keys; return how many bars were new and how many changed."""
        store, table = SecurityMaster(self._warehouse), made.tables[granularity]
        counts = [
            store.merge_bars(granularity.value, table.slice(first, PAGE_ROWS))
            for first in range(0, table.num_rows, PAGE_ROWS)
        ]
        if table.num_rows:
            series = (made.instrument, granularity.value, made.vendor)
            start, end = table.column("start")[0].as_py(), table.column("end_time")[-1].as_py()
            keep_findings(store, series, found, request.now, start, end)
        elif found:
            store.merge("data_quality", found)
        return {
            "inserted": sum(count.inserted for count in counts),
            "updated": sum(count.updated for count in counts),
        }

    def close(self) -> None:
        """Close the connections."""
        self._warehouse.close()


class Files:
    """Writes a Parquet file of bars a series and granularity, and one of findings beside it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self) -> None:
        """Make the folder."""
        if not FileSystems.exists(self._folder):
            FileSystems.mkdirs(self._folder)

    def keep(
        self, made: TickBars, granularity: Granularity, found: Sequence[Row], request: BarsRequest
    ) -> Row:
        """Write the files; return where the bars are."""
        name = f"{made.instrument}_{granularity.value}_{made.vendor}"
        quality = schemas.table("security_master", "data_quality")
        self._write(f"{name}_quality.parquet", table_of(quality, found))
        return {"file": self._write(f"{name}.parquet", made.tables[granularity])}

    def _write(self, name: str, table: pa.Table) -> str:
        """Write beside the file, then put it in its place: nobody sees half of one."""
        path = posixpath.join(self._folder, name)
        beside = posixpath.join(self._folder, f".{name}.part")
        with FileSystems.create(beside, "application/octet-stream") as handle:
            pq.write_table(table, handle)
        if FileSystems.exists(path):
            FileSystems.delete([path])
        FileSystems.rename([beside], [path])
        return path

    def close(self) -> None:
        """Nothing is open."""
