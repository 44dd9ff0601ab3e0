"""Where the pipeline's ticks come from: the security master, or Parquet and Avro files."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io import fileio
from fastavro import reader as avro_reader

from mbats import schemas
from mbats.batch.request import BarsRequest
from mbats.config import Settings
from mbats.errors import DataError
from mbats.gcp.batch import table_of
from mbats.gcp.warehouse import Warehouse
from mbats.market.granularity import Granularity

BATCH_ROWS = 100_000
_SCHEMA = schemas.table("security_master", "tick")

Unit = tuple[str, str, datetime, datetime]


def ticks(pipeline: beam.Pipeline, request: BarsRequest) -> beam.PCollection:
    """Return batches of the ticks that the request names: Arrow tables of security_master.tick.

    Raises :class:`DataError` where the security master holds none of them.
    """
    if request.ticks:
        return (
            pipeline
            | "Files" >> fileio.MatchFiles(request.ticks)
            | "Spread files" >> beam.Reshuffle()
            | "Open" >> fileio.ReadMatches()
            | "Read files" >> beam.ParDo(ReadFile(request))
        )
    return (
        pipeline
        | "Days" >> beam.Create(units(request))
        | "Spread days" >> beam.Reshuffle()
        | "Read days" >> beam.ParDo(ReadDay(request.settings))
    )


def units(request: BarsRequest) -> list[Unit]:
    """Return what to read: (instrument, vendor, start, end) of every stored trading day.

    Raises :class:`DataError` where there is none.
    """
    where, parameters = ["`vendor` = @vendor", "`time` < @until"], _plain(request)
    if request.start:
        where.append("`time` >= @start")
    if request.instruments:
        where.append("`instrument` IN UNNEST(@instruments)")
    with closing(Warehouse.open(request.settings)) as warehouse:
        found = warehouse.query(
            "SELECT `instrument`, MIN(`time`) AS `first`, MAX(`time`) AS `last` "
            f"FROM `{warehouse.target(_SCHEMA)}` WHERE {' AND '.join(where)} "
            "GROUP BY `instrument` ORDER BY `instrument`",
            parameters,
        )
    missing = sorted(set(request.instruments) - {row["instrument"] for row in found})
    if missing or not found:
        raise DataError(
            f"There are no ticks of {', '.join(missing) or 'any instrument'} from "
            f"{request.vendor} in the security master.",
            mend="mbats stream records them",
        )
    return [
        (row["instrument"], request.vendor, *day)
        for row in found
        for day in _days(row["first"], row["last"])
    ]


def _plain(request: BarsRequest) -> dict[str, Any]:
    values: dict[str, Any] = {"vendor": request.vendor, "until": request.until}
    if request.start:
        values["start"] = request.start
    if request.instruments:
        values["instruments"] = list(request.instruments)
    return values


def _days(first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    start = Granularity.D.start_of(first)
    while start <= last:
        end = Granularity.D.end_of(start + timedelta(seconds=1))
        yield start, end
        start = end


class ReadDay(beam.DoFn):
    """Reads one series' ticks of one trading day over the Storage Read API."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def setup(self) -> None:
        """Connect."""
        self._warehouse = Warehouse.open(self._settings)

    def process(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the rows, in no order, as they are stored."""
        instrument, vendor, start, end = unit
        where = {"instrument": instrument, "vendor": vendor, "time": (start, end)}
        found = self._warehouse.read(_SCHEMA, where)
        for first in range(0, found.num_rows, BATCH_ROWS):
            yield found.slice(first, BATCH_ROWS)

    def teardown(self) -> None:
        """Close the connections."""
        self._warehouse.close()


class ReadFile(beam.DoFn):
    """Reads one file of ticks, and keeps the rows that the request names."""

    def __init__(self, request: BarsRequest) -> None:
        super().__init__()
        self._request = request

    def process(self, file: fileio.ReadableFile) -> Iterator[pa.Table]:
        """Yield the rows in batches. Raises :class:`DataError` that names the file."""
        path = file.metadata.path
        with file.open() as handle:
            try:
                for table in _avro(handle) if path.endswith(".avro") else _parquet(handle):
                    yield self._chosen(table)
            except (pa.ArrowException, ValueError, KeyError, DataError) as error:
                raise DataError(f"{path} holds no ticks: {error}") from error

    def _chosen(self, table: pa.Table) -> pa.Table:
        request = self._request
        time = pc.field("time")
        keep = (pc.field("vendor") == request.vendor) & (time < request.until)
        if request.start:
            keep &= time >= request.start
        if request.instruments:
            keep &= pc.field("instrument").isin(list(request.instruments))
        return table.filter(keep)


def _parquet(handle: Any) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(handle).iter_batches(BATCH_ROWS):
        yield _whole(pa.Table.from_batches([batch]))


def _avro(handle: Any) -> Iterator[pa.Table]:
    rows: list[dict[str, Any]] = []
    for row in avro_reader(handle):
        rows.append({name: row.get(name) for name in _SCHEMA.columns})
        if len(rows) == BATCH_ROWS:
            yield _whole(table_of(_SCHEMA, rows))
            rows = []
    if rows:
        yield _whole(table_of(_SCHEMA, rows))


def _whole(table: pa.Table) -> pa.Table:
    """Return the table with every column of security_master.tick; nullable ones may be missing."""
    columns = []
    for field in _SCHEMA.arrow:
        if field.name in table.column_names:
            column = table.column(field.name).cast(field.type)
        else:
            column = pa.nulls(table.num_rows, field.type)
        if column.null_count and not field.nullable:
            raise DataError(f"the column {field.name} is missing, or null in a row.")
        columns.append(column)
    return pa.table(columns, schema=_SCHEMA.arrow)
