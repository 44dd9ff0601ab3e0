"""Recorded ticks become bars to store: trading day by trading day, wherever each day is computed.

A :class:`Piece` is what the ticks of some whole trading days give; pieces of one series, however it
was cut and in whatever order they come, make the same :class:`TickBars`. The bars are those of
:func:`mbats.market.aggregate.aggregate`, without the ones that an interruption of the price stream
touches: nobody knows what those held.

The streamer marks an interruption with ``lost`` and ``back``. A ``back`` without ``lost`` (it was
killed) ends one that began with the message before it; a ``lost`` without ``back`` one that has not
ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.aggregate import aggregate
from mbats.market.bars import BAR_SCHEMA, Bars, table_from_bars
from mbats.market.granularity import Granularity
from mbats.market.quality import check_bars
from mbats.market.tick import each_once, ticks_from_table

BASIS = "ticks"
PLACES = 9  # all that NUMERIC has: no digit of a price is lost
STREAM_GAP = "stream_gap"
LONGEST = Granularity.D
_LOST = "lost"
_BEFORE_ALL, _AFTER_ALL = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Gap(NamedTuple):
    """An interruption of the stream, from ``start`` to ``end``, microseconds since 1970."""

    start: int
    end: int


class _Marked(NamedTuple):
    """A mark, and when the last message before it in its piece came; None where it is the first."""

    time: int
    mark: str
    before: int | None


@dataclass(frozen=True)
class Count:
    """What became of the rows of ``tick``: each is counted once."""

    used: int = 0
    repeated: int = 0
    untradeable: int = 0
    empty_book: int = 0
    marks: int = 0

    def __add__(self, other: "Count") -> "Count":
        mine, theirs = vars(self), vars(other)
        return Count(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class Piece:
    """What the ticks of some whole trading days of one series give; times as microseconds."""

    instrument: str
    vendor: str
    bars: Mapping[Granularity, Bars]
    marks: tuple[_Marked, ...]
    first: int
    last: int | None
    count: Count


@dataclass(frozen=True)
class TickBars:
    """The bars of one series by granularity, in BAR_SCHEMA, and the interruptions.

    ``left_out`` are the starts and ends of the bars that an interruption touched.
    """

    instrument: str
    vendor: str
    tables: Mapping[Granularity, pa.Table]
    left_out: Mapping[Granularity, Sequence[tuple[datetime, datetime, int]]]
    count: Count


def parse_granularities(texts: Iterable[str]) -> tuple[Granularity, ...]:
    """Return granularities up to a day, each once. Raises :class:`DataError` for a longer one."""
    found = tuple(dict.fromkeys(Granularity.parse(text) for text in texts))
    for granularity in found:
        if granularity.micros is None:
            raise DataError(
                f"{granularity} bars are not made from ticks, whose longest piece is a day.",
                mend="S5 to D",
            )
    if not found:
        raise DataError("No granularity is named.", mend="for example M1,D")
    return found


def piece_of(rows: pa.Table, granularities: Sequence[Granularity], until: datetime) -> Piece:
    """Return what ``rows`` of security_master.tick give: all there are of some trading days.

    The rows are of one instrument and vendor, in any order, repeated deliveries included. Only
    bars that ended by ``until`` are made. Raises :class:`DataError` for several series.
    """
    vendors = rows.column("vendor").unique().to_pylist()
    if len(vendors) != 1:
        raise DataError(f"Expected ticks of one vendor, got {sorted(vendors) or 'none'}.")
    once = each_once(rows)
    marked = pc.is_valid(once.column("mark")).to_numpy(zero_copy_only=False)
    prices = once.filter(pa.array(~marked))
    time = newyork.to_micros(once.column("time").cast(pa.timestamp("us")).to_numpy())
    ticks = ticks_from_table(prices) if prices.num_rows else None
    instrument = ticks.instrument if ticks else rows.column("instrument")[0].as_py()
    bars = {g: aggregate(ticks, g, vendors[0], until) for g in granularities} if ticks else {}
    return Piece(
        instrument,
        vendors[0],
        bars,
        tuple(_marks(once, time, marked)),
        int(time[0]),
        int(time[~marked][-1]) if prices.num_rows else None,
        _count(rows, once, prices),
    )


def _marks(once: pa.Table, time: newyork.Ints, marked: Any) -> Iterable[_Marked]:
    before: newyork.Ints = np.maximum.accumulate(np.where(marked, _BEFORE_ALL, time))
    for index in np.flatnonzero(marked):
        last = int(before[index])
        mark = once.column("mark")[int(index)].as_py()
        yield _Marked(int(time[index]), mark, None if last == _BEFORE_ALL else last)


def _count(rows: pa.Table, once: pa.Table, prices: pa.Table) -> Count:
    tradeable = prices.column("tradeable")
    sided = pc.and_(pc.is_valid(prices.column("bid")), pc.is_valid(prices.column("ask")))
    used = pc.sum(pc.and_(tradeable, sided)).as_py() or 0
    open_market = pc.sum(tradeable).as_py() or 0
    return Count(
        used=used,
        repeated=rows.num_rows - once.num_rows,
        untradeable=prices.num_rows - open_market,
        empty_book=open_market - used,
        marks=once.num_rows - prices.num_rows,
    )


def tick_bars(pieces: Iterable[Piece], granularities: Sequence[Granularity]) -> TickBars:
    """Return the bars that all pieces of one series make together.

    Raises :class:`DataError` for pieces of several series, or that overlap.
    """
    ordered = sorted(pieces, key=lambda piece: piece.first)
    names = {(piece.instrument, piece.vendor) for piece in ordered}
    if len(names) != 1:
        raise DataError(f"Expected the ticks of one series, got {sorted(names) or 'none'}.")
    ((instrument, vendor),) = names
    gaps = _gaps(ordered)
    tables, left_out = {}, {}
    for granularity in granularities:
        parts = [p.bars[granularity] for p in ordered if granularity in p.bars]
        touched = [_touched(bars, gaps) for bars in parts]
        kept = [_table(bars, ~hit) for bars, hit in zip(parts, touched, strict=True)]
        table = pa.concat_tables([BAR_SCHEMA.empty_table(), *kept]).combine_chunks()
        starts = newyork.to_micros(table.column("start").cast(pa.timestamp("us")).to_numpy())
        if np.any(starts[1:] <= starts[:-1]):
            raise DataError(f"Two pieces of {instrument} hold ticks of one {granularity} bar.")
        tables[granularity] = table
        left_out[granularity] = list(_spans(parts, touched))
    count = sum((piece.count for piece in ordered), Count())
    return TickBars(instrument, vendor, tables, left_out, count)


def _gaps(ordered: Iterable[Piece]) -> list[Gap]:
    gaps: list[Gap] = []
    lost: int | None = None
    last = _BEFORE_ALL
    for piece in ordered:
        for marked in piece.marks:
            if marked.mark == _LOST:
                lost = marked.time if lost is None else lost
                continue
            before = last if marked.before is None else marked.before
            gaps.append(Gap(before if lost is None else lost, marked.time))
            lost = None
        last = piece.last if piece.last is not None else last
    return gaps if lost is None else [*gaps, Gap(lost, _AFTER_ALL)]


def _touched(bars: Bars, gaps: Iterable[Gap]) -> Any:
    start, end = newyork.to_micros(bars.start), newyork.to_micros(bars.end)
    touched = np.zeros(len(bars), dtype=np.bool_)
    for gap in gaps:
        touched |= (start < gap.end) & (end > gap.start)
    return touched


def _table(bars: Bars, kept: Any) -> pa.Table:
    return table_from_bars(bars, PLACES, BASIS).filter(pa.array(kept))


def _spans(
    parts: Sequence[Bars], touched: Sequence[Any]
) -> Iterable[tuple[datetime, datetime, int]]:
    """Yield start, end and number of each run of touched bars, across the pieces."""
    if not parts:
        return
    start = np.concatenate([bars.start for bars in parts])
    end = np.concatenate([bars.end for bars in parts])
    flags = np.concatenate([[False], *touched, [False]]).astype(np.int8)
    for low, high in np.flatnonzero(np.diff(flags)).reshape(-1, 2).tolist():
        yield newyork.to_datetime(start[low]), newyork.to_datetime(end[high - 1]), high - low


def named(made: TickBars, vendor: str) -> TickBars:
    """Return the bars under another vendor's name."""
    index = BAR_SCHEMA.get_field_index("vendor")
    tables = {
        granularity: table.set_column(
            index, BAR_SCHEMA.field(index), pa.array([vendor] * table.num_rows, pa.string())
        )
        for granularity, table in made.tables.items()
    }
    return replace(made, vendor=vendor, tables=tables)


def findings(
    made: TickBars, granularity: Granularity, calendar: str, until: datetime, now: datetime
) -> list[dict[str, Any]]:
    """Return the rows of ``data_quality`` about the bars, and about those that were left out.

    The bars are checked as of ``until``; ``now`` becomes ``checked_at``.
    """
    table = made.tables[granularity]
    found = check_bars(table, granularity, calendar, until) if table.num_rows else []
    interrupted = [
        {
            "instrument": made.instrument,
            "granularity": granularity.value,
            "vendor": made.vendor,
            "check_name": STREAM_GAP,
            "start": start,
            "end_time": end,
            "severity": "warning",
            "bars": bars,
            "detail": "left out: the price stream was interrupted",
        }
        for start, end, bars in made.left_out[granularity]
    ]
    return [{**row, "checked_at": now} for row in (*found, *interrupted)]
