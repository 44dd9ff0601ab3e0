"""Bars out of CSV and Parquet files, read in pages, bad rows named.

A file is never whole in memory: CSV is read block by block, Parquet batch by batch. Where bid and
ask lie in different files their rows are joined on the bar's start; a row without its partner is
left out and reported, because a bar with one side would make the series unreadable.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mbats.errors import ConfigError, DataError
from mbats.market import catalogue
from mbats.market.bars import PRICE_COLUMNS, SIDES, Side, Times
from mbats.market.granularity import Granularity
from mbats.market.history import VendorInfo
from mbats.market.instrument import Instrument, parse_name
from mbats.market.newyork import instant
from mbats.vendors.mapping import FileEntry, FileMapping, zone
from mbats.vendors.pages import bar_page, times
from mbats.vendors.rows import RowStream, Source, Tally, merged

BASIS = "file"
_UNLISTED_PRECISION = 5


class FileVendor:
    """Bars of the files that a mapping names."""

    def __init__(self, paths: Sequence[Path], mapping: FileMapping) -> None:
        """Find the files: ``paths`` are files, or folders in which the mapping's patterns look.

        Raises :class:`ConfigError` where nothing is found or no instrument is given.
        """
        self._mapping = mapping
        self._sources = _sources(paths, mapping)
        self._tallies: dict[str, Tally] = {}
        sides = [s for s in SIDES if any(_has(mapping, source, s) for source in self._sources)]
        self.info = VendorInfo(
            vendor=mapping.vendor,
            display_name=f"files, as {mapping.vendor}",
            website="",
            sides="+".join(sides),
            calendar=mapping.calendar,
            licence="that of the files",
        )

    def instruments(self) -> Sequence[Instrument]:
        """Return the instruments of the files, as the catalogue has them where it does."""
        names = dict.fromkeys(source.instrument for source in self._sources)
        return [self._instrument(name) for name in names]

    def granularities(self) -> Sequence[str]:
        """Return the one granularity that the mapping names."""
        return (self._mapping.granularity,)

    def rejected(self, instrument: str) -> Tally:
        """Return which rows the last reading of ``instrument`` left out, and why."""
        return self._tallies.get(instrument, Tally(self._mapping.max_bad_share))

    def candles(
        self, instrument: str, granularity: str, start: datetime, end: datetime
    ) -> Iterator[pa.Table]:
        """Yield pages; :class:`DataError` once more than ``max_bad_share`` of the rows is bad."""
        sources = [source for source in self._sources if source.instrument == instrument]
        if not sources or granularity != self._mapping.granularity:
            raise DataError(
                f"The files hold no {granularity} bars of {instrument}.",
                tried=[f"{s.path}: {s.instrument} {self._mapping.granularity}" for s in sources]
                or [f"{s.path}: {s.instrument}" for s in self._sources],
                mend="name the instrument and granularity in the mapping",
            )
        tally = self._tallies[instrument] = Tally(self._mapping.max_bad_share)
        sides = dict.fromkeys(source.side for source in sources)
        streams = [
            RowStream([s for s in sources if s.side == side], self._mapping, tally).pages()
            for side in sides
        ]
        for rows in reduce(lambda a, b: merged(a, b, tally), streams):
            tally.refuse_too_many()
            page = self._page(instrument, rows, start, end)
            if page.num_rows:
                yield page
        tally.refuse_too_many(finished=True)

    def _page(self, instrument: str, rows: pa.Table, start: datetime, end: datetime) -> pa.Table:
        named = times(rows, "start")
        step = -1 if self._mapping.named_by == "end" else 1
        other = _moved(named, self._mapping, step)
        starts, ends = (named, other) if step > 0 else (other, named)
        keep = (starts >= instant(start)) & (starts < instant(end))
        rows = rows.filter(pa.array(keep))
        columns = set(rows.column_names)
        return bar_page(
            instrument,
            self._mapping.vendor,
            starts[keep],
            ends[keep],
            {name: rows.column(name) for name in PRICE_COLUMNS if name in columns},
            volume=rows.column("volume") if "volume" in columns else None,
            basis=BASIS,
        )

    def _instrument(self, name: str) -> Instrument:
        if set(name.split("_")) <= set(catalogue.currencies()):
            return catalogue.instrument(name)
        precision = min(self._mapping.price_precision, _UNLISTED_PRECISION)
        return Instrument(name, pip_location=1 - precision, price_precision=precision)


def _moved(starts: Times, mapping: FileMapping, step: int) -> Times:
    """Return the instants one bar later (or earlier); a day is one of the mapping's time zone."""
    bar = Granularity(mapping.granularity)
    if bar is not Granularity.D:
        return starts + np.timedelta64(step * (bar.micros or 0), "us")
    local = pd.DatetimeIndex(starts).tz_localize(UTC).tz_convert(zone(mapping.time_zone))
    moved = local.tz_localize(None) + pd.Timedelta(days=step)
    second: npt.NDArray[np.bool_] = np.zeros(len(moved), dtype=bool)
    back = moved.tz_localize(local.tz, ambiguous=second, nonexistent="shift_forward")
    found: Times = back.tz_convert(None).to_numpy().astype("datetime64[us]")
    return found


def _sources(paths: Sequence[Path], mapping: FileMapping) -> list[Source]:
    entries = mapping.files or (FileEntry(path="*", side=mapping.side),)
    found: list[Source] = []
    for path in paths:
        if path.is_dir() and not mapping.files:
            raise ConfigError(
                f"{path} is a folder, and the mapping does not say which files in it to read.",
                mend="add [[files]] with a path pattern to the mapping, or name the files",
            )
        for entry in entries:
            files = sorted(path.glob(entry.path)) if path.is_dir() else _matching(path, entry)
            found += [_source(file, entry, mapping) for file in files]
    if not found:
        raise ConfigError(
            "No file to read was found.",
            tried=[f"{path}: {entry.path}" for path in paths for entry in entries],
            mend="give --path a file, or the folder that the mapping's patterns are relative to",
        )
    return found


def _matching(path: Path, entry: FileEntry) -> list[Path]:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.", mend="correct --path")
    return [path] if path.match(entry.path) else []


def _source(path: Path, entry: FileEntry, mapping: FileMapping) -> Source:
    name = entry.instrument or mapping.instrument
    if not name:
        raise ConfigError(
            f"Which instrument does {path} hold?",
            tried=["instrument in the mapping", "instrument in its [[files]] entry"],
            mend='add instrument = "EUR_USD" to the mapping, or give --instruments EUR_USD',
        )
    return Source(path, entry.side or mapping.side, parse_name(name))


def _has(mapping: FileMapping, source: Source, side: Side) -> bool:
    return f"{side}_open" in mapping.prices(source.side)
