"""The pipeline: batches of ticks in, the bars of each series out.

Ticks travel as Arrow tables of many rows, not one by one. A batch is cut into trading days; all
that comes for one series and day is one key, whatever file, bundle or worker it came through; the
days of a series meet again at its end. Everything that decides what a bar is lies in
:mod:`mbats.market.tick_bars`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from mbats import schemas
from mbats.market import newyork
from mbats.market.granularity import Granularity
from mbats.market.tick_bars import LONGEST, Piece, TickBars, piece_of, tick_bars

Series = tuple[str, str]
DayKey = tuple[str, str, int]

NAMESPACE = "ticks"
TICKS = schemas.table("security_master", "tick").arrow


class TicksToBars(beam.PTransform):
    """Batches of ticks (Arrow tables of security_master.tick) to a :class:`TickBars` a series."""

    def __init__(self, granularities: Sequence[Granularity], until: datetime) -> None:
        super().__init__()
        self._granularities, self._until = tuple(granularities), until

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Return the bars of each series."""
        return (
            batches
            | "Cut into days" >> beam.ParDo(CutIntoDays())
            | "Gather a day" >> beam.GroupByKey()
            | "Bars of a day" >> beam.ParDo(BarsOfADay(self._granularities, self._until))
            | "Gather a series" >> beam.GroupByKey()
            | "Bars of a series" >> beam.ParDo(BarsOfASeries(self._granularities))
        )


class CutIntoDays(beam.DoFn):
    """A batch of ticks to one table a series and New York trading day."""

    def process(self, batch: pa.Table) -> Iterator[tuple[DayKey, bytes]]:
        """Yield ((instrument, vendor, start of the day), rows)."""
        Metrics.counter(NAMESPACE, "rows").inc(batch.num_rows)
        rows = batch.select(TICKS.names).cast(TICKS)
        time = rows.column("time").cast(pa.timestamp("us")).to_numpy()
        days = newyork.to_micros(LONGEST.bar_start(time))
        keyed = rows.append_column("day", pa.array(days))
        names = ["instrument", "vendor", "day"]
        order = keyed.sort_by([(name, "ascending") for name in names])
        for first, after in _groups(order.select(names)):
            part = order.slice(first, after - first)
            key = tuple(part.column(name)[0].as_py() for name in names)
            yield key, packed(part.drop_columns("day"))


class BarsOfADay(beam.DoFn):
    """All ticks of one series and day to a :class:`Piece`."""

    def __init__(self, granularities: Sequence[Granularity], until: datetime) -> None:
        super().__init__()
        self._granularities, self._until = tuple(granularities), until

    def process(self, keyed: tuple[DayKey, Iterable[bytes]]) -> Iterator[tuple[Series, Piece]]:
        """Yield ((instrument, vendor), piece)."""
        (instrument, vendor, _), parts = keyed
        rows = pa.concat_tables([unpacked(part) for part in parts])
        yield (instrument, vendor), piece_of(rows, self._granularities, self._until)


class BarsOfASeries(beam.DoFn):
    """All pieces of one series to its bars."""

    def __init__(self, granularities: Sequence[Granularity]) -> None:
        super().__init__()
        self._granularities = tuple(granularities)

    def process(self, keyed: tuple[Series, Iterable[Piece]]) -> Iterator[TickBars]:
        """Yield the bars; count what became of the ticks."""
        made = tick_bars(keyed[1], self._granularities)
        for name, count in vars(made.count).items():
            Metrics.counter(NAMESPACE, name).inc(count)
        yield made


def packed(table: pa.Table) -> bytes:
    """Return a table as Arrow IPC: only its own rows, where a pickled slice may drag its parent."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpacked(data: bytes) -> pa.Table:
    """Return the table that :func:`packed` made bytes of."""
    return pa.ipc.open_stream(data).read_all()


def _groups(keys: pa.Table) -> Iterator[tuple[int, int]]:
    """Yield [first, after) of each run of equal rows of a sorted table."""
    if not keys.num_rows:
        return
    changed = np.zeros(keys.num_rows - 1, dtype=np.bool_)
    for column in keys.columns:
        codes = column.combine_chunks().dictionary_encode().indices.to_numpy()
        changed |= codes[1:] != codes[:-1]
    edges = [0, *(np.flatnonzero(changed) + 1).tolist(), keys.num_rows]
    yield from pairwise(edges)
