"""Rows of files: read in pages, converted, ordered, and joined across sides.

A stream yields tables with the columns ``start`` (UTC), the price columns of its side, ``volume``
where there is one, and ``source`` and ``line``: where each row stands, for reports.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from mbats.errors import DataError
from mbats.market.bars import INSTANT, Side, Times
from mbats.vendors import cells
from mbats.vendors.mapping import FileMapping
from mbats.vendors.pages import times

PAGE_ROWS = 16_384
BLOCK_BYTES = 1 << 20
KEPT_REPORTS = 1_000
_PARQUET = (".parquet", ".pq")

Flags = npt.NDArray[np.bool_]
Lines = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """One file; ``side`` is None where its columns name their sides."""

    path: Path
    side: Side | None
    instrument: str


@dataclass(frozen=True)
class BadRow:
    """A row that was left out: where it stands (a line of CSV, a row of Parquet), and why."""

    path: str
    line: int
    reason: str


@dataclass
class Tally:
    """How many rows were read and which were left out; the first thousand are kept."""

    max_bad_share: float
    rows: int = 0
    bad: int = 0
    examples: list[BadRow] = field(default_factory=list)

    def leave_out(self, path: Path, line: int, reason: str) -> None:
        """Count a row as bad."""
        self.bad += 1
        if len(self.examples) < KEPT_REPORTS:
            self.examples.append(BadRow(str(path), line, reason))

    def refuse_too_many(self, finished: bool = False) -> None:
        """Raise :class:`DataError` where the share of bad rows is above the limit.

        Before the end, only once a page's worth of rows was read: one bad first row is no share.
        """
        if self.bad <= self.max_bad_share * self.rows or not (finished or self.rows >= PAGE_ROWS):
            return
        raise DataError(
            f"{self.bad:,} of {self.rows:,} rows are bad, more than the allowed share of "
            f"{self.max_bad_share:g}.",
            tried=[f"{row.path}:{row.line}: {row.reason}" for row in self.examples[:5]],
            mend="correct the mapping or the file, or raise max_bad_share in the mapping",
        )


class RowStream:
    """The files of one side, read one after the other."""

    def __init__(self, sources: Sequence[Source], mapping: FileMapping, tally: Tally) -> None:
        """Read ``sources`` in this order; bad rows go to ``tally``."""
        self._sources = sources
        self._mapping = mapping
        self._tally = tally
        self._prices = mapping.prices(sources[0].side)
        self._volume = str(mapping.columns.get("volume", ""))
        self._last = np.datetime64("0001-01-01", "us")

    def pages(self) -> Iterator[pa.Table]:
        """Yield the good rows, ascending in ``start``. Not a word is lost about the others."""
        for source in self._sources:
            parquet = source.path.suffix.lower() in _PARQUET
            reader = _parquet_pages if parquet else _csv_pages
            for batch, lines in reader(source.path, self._mapping, self._wanted(), self._tally):
                page = self._good(source, batch, lines)
                if page.num_rows:
                    yield page

    def _wanted(self) -> list[str]:
        named = [*self._mapping.time_columns(), *self._prices.values()]
        return list(dict.fromkeys([*named, self._volume] if self._volume else named))

    def _good(self, source: Source, batch: pa.RecordBatch, lines: Lines) -> pa.Table:
        """Return the rows of ``batch`` that are whole and in order; report the rest."""
        raw = {name: batch.column(name) for name in self._wanted()}
        start = cells.instants([raw[n] for n in self._mapping.time_columns()], self._mapping)
        made = {
            ours: cells.prices(raw[theirs], self._mapping) for ours, theirs in self._prices.items()
        }
        if self._volume:
            made["volume"] = cells.counts(raw[self._volume])
        bad = {"start": np.isnat(start)} | {
            name: np.asarray(pc.is_null(column)) for name, column in made.items()
        }
        whole = ~np.logical_or.reduce(list(bad.values()))
        behind = self._behind(start, whole)
        blank = np.logical_and.reduce([_is_blank(column) for column in raw.values()])
        self._tally.rows += int((~blank).sum())
        for row in np.flatnonzero((~whole | behind) & ~blank):
            reason = self._reason(int(row), bad, raw)
            self._tally.leave_out(source.path, int(lines[row]), reason)
        table = pa.table(
            {
                "start": pa.array(start).cast(INSTANT),
                **made,
                "source": pa.repeat(str(source.path), len(start)),
                "line": pa.array(lines),
            }
        )
        return table.filter(pa.array(whole & ~behind))

    def _behind(self, start: Times, whole: Flags) -> Flags:
        """Say which whole rows do not come after every good row before them."""
        micros = np.where(whole, start, self._last).astype("datetime64[us]")
        before = np.maximum.accumulate(np.concatenate([[self._last], micros]))
        behind: Flags = whole & (start <= before[:-1])
        self._last = before[-1]
        return behind

    def _reason(self, row: int, bad: dict[str, Flags], raw: dict[str, pa.Array]) -> str:
        for name, flags in bad.items():
            if flags[row]:
                return self._complaint(name, row, raw)
        return "its time is not after that of a row before it: a repeat, or out of order"

    def _complaint(self, name: str, row: int, raw: dict[str, pa.Array]) -> str:
        if name == "start":
            shown = " ".join(str(raw[n][row].as_py()) for n in self._mapping.time_columns())
            return (
                f"{shown!r} is not a time of format {self._mapping.time_format}, or not one that "
                f"{self._mapping.time_zone} clocks show once"
            )
        theirs = self._volume if name == "volume" else self._prices[name]
        kind = "a whole number" if name == "volume" else "a price"
        return f"{theirs} {raw[theirs][row].as_py()!r} is not {kind}"


def merged(left: Iterator[pa.Table], right: Iterator[pa.Table], tally: Tally) -> Iterator[pa.Table]:
    """Join two ascending streams on ``start``; report the rows that have no partner.

    At most one page of each is held.
    """
    ours, theirs = next(left, None), next(right, None)
    while ours is not None and theirs is not None:
        bound = min(times(ours, "start")[-1], times(theirs, "start")[-1])
        (ours_now, ours), (theirs_now, theirs) = _split(ours, bound), _split(theirs, bound)
        yield from _joined(ours_now, theirs_now, tally)
        ours = ours if ours.num_rows else next(left, None)
        theirs = theirs if theirs.num_rows else next(right, None)
    for first, rest in ((ours, left), (theirs, right)):
        if first is not None:
            _report_alone(first, None, tally)
            for page in rest:
                _report_alone(page, None, tally)


def _split(page: pa.Table, bound: np.datetime64) -> tuple[pa.Table, pa.Table]:
    at = int(np.searchsorted(times(page, "start"), bound, side="right"))
    return page.slice(0, at), page.slice(at)


def _joined(left: pa.Table, right: pa.Table, tally: Tally) -> Iterator[pa.Table]:
    _, ours, theirs = np.intersect1d(
        times(left, "start"), times(right, "start"), assume_unique=True, return_indices=True
    )
    _report_alone(left, ours, tally)
    _report_alone(right, theirs, tally)
    if len(ours):
        both = left.take(pa.array(ours))
        partner = right.take(pa.array(theirs))
        for name in partner.column_names:
            if name not in both.column_names:
                both = both.append_column(name, partner.column(name))
        yield both


def _report_alone(page: pa.Table, partnered: Lines | None, tally: Tally) -> None:
    alone = np.ones(page.num_rows, dtype=bool)
    if partnered is not None:
        alone[partnered] = False
    for row in np.flatnonzero(alone):
        path, line = page.column("source")[row].as_py(), page.column("line")[row].as_py()
        tally.leave_out(Path(path), line, "no row of the other side has its time")


Page = tuple[pa.RecordBatch, Lines]


def _csv_pages(path: Path, mapping: FileMapping, wanted: list[str], tally: Tally) -> Iterator[Page]:
    """Yield blocks of text cells with the line of each row; report lines of another width."""
    crooked: list[int] = []

    def leave_out(row: Any) -> str:
        crooked.append(row.number)
        reason = f"{row.actual_columns} cells where {row.expected_columns} are expected"
        tally.rows += 1
        tally.leave_out(path, row.number, reason)
        return "skip"

    headers = 0 if mapping.column_names else 1
    done = 0
    for batch in _blocks(path, mapping, wanted, leave_out):
        straight = np.arange(done, done + batch.num_rows) + 1 + headers
        done += batch.num_rows
        skipped = np.array(crooked, dtype=np.int64) - np.arange(len(crooked))
        yield batch, straight + np.searchsorted(skipped, straight, side="right")


def _blocks(
    path: Path, mapping: FileMapping, wanted: list[str], bad_line: Callable[[Any], str]
) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.csv.open_csv(
            path,
            read_options=pa.csv.ReadOptions(
                use_threads=False,  # else lines have no numbers
                block_size=BLOCK_BYTES,
                column_names=list(mapping.column_names) if mapping.column_names else None,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=mapping.separator,
                ignore_empty_lines=False,  # they count as lines
                invalid_row_handler=bad_line,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted
            ),
        )
        with reader:
            yield from reader
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unreadable(path, wanted, error) from error


def _parquet_pages(
    path: Path, mapping: FileMapping, wanted: list[str], tally: Tally
) -> Iterator[Page]:
    """Yield batches of typed cells with the row number of each, from 1."""
    done = 0
    try:
        with pa.parquet.ParquetFile(path) as file:
            missing = sorted(set(wanted) - set(file.schema_arrow.names))
            if missing:
                raise KeyError(f"no column {missing[0]!r}; it has {file.schema_arrow.names}")
            for batch in file.iter_batches(batch_size=PAGE_ROWS, columns=wanted):
                yield batch, np.arange(done, done + batch.num_rows) + 1
                done += batch.num_rows
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unreadable(path, wanted, error) from error


def _unreadable(path: Path, wanted: list[str], error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read: {error}.",
        tried=[f"the columns {', '.join(wanted)}"],
        mend="correct the columns, the separator or column_names in the mapping",
    )


def _is_blank(column: pa.Array) -> Flags:
    empty = pc.is_null(column)
    if pa.types.is_string(column.type):
        empty = pc.or_(empty, pc.equal(column.fill_null(""), ""))
    flags: Flags = np.asarray(empty)
    return flags
