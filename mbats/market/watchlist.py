"""The watchlist workbook: which instruments are downloaded, at which granularity.

An Excel workbook with the sheets `daily` and `minute`, each with one column `Tickers`. A row that
is wrong is reported with its sheet, its row number in Excel and the reason; the others load.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from zipfile import BadZipFile

from openpyxl import Workbook, load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from mbats.errors import DataError
from mbats.market.catalogue import SEED_SEVEN
from mbats.market.granularity import Granularity
from mbats.market.instrument import parse_name

SHEETS = {"daily": Granularity.D, "minute": Granularity.M1}
COLUMN = "Tickers"
MAX_ROWS = 10_000
MAX_BYTES = 10_000_000

# What openpyxl raises on files that are no workbook, or a damaged one.
_UNREADABLE = (
    BadZipFile, InvalidFileException, zlib.error,
    SyntaxError,  # malformed XML: the common base of xml.etree's and lxml's errors
    KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, OSError,
    RuntimeError,  # zipfile's word for a member that is encrypted, and for a method it has not
)  # fmt: skip
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_MEND = f"save it as .xlsx with the sheets {' and '.join(SHEETS)}, each with a column {COLUMN}"


@dataclass(frozen=True)
class Entry:
    """One good row: an instrument that is wanted. ``row`` is its number in Excel."""

    instrument: str
    granularity: Granularity
    sheet: str
    row: int


@dataclass(frozen=True)
class Problem:
    """One thing that did not load. ``row`` is its number in Excel, None for a whole sheet."""

    sheet: str
    row: int | None
    value: str
    reason: str

    def __str__(self) -> str:
        where = f"sheet {self.sheet}" if self.row is None else f"sheet {self.sheet} row {self.row}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class Watchlist:
    """What a workbook says: the rows that load, and the problems of the others."""

    entries: Sequence[Entry]
    problems: Sequence[Problem]

    def rows(self, source: str) -> list[dict[str, Any]]:
        """Return the entries as rows of ``security_master.watchlist``, but for ingested_at."""
        return [
            {
                "instrument": entry.instrument,
                "granularity": entry.granularity.value,
                "active": True,
                "source": source,
                "source_row": entry.row,
            }
            for entry in self.entries
        ]


def read_watchlist(workbook: bytes, known: Collection[str] | None = None) -> Watchlist:
    """Return the entries and problems of an Excel workbook.

    With ``known`` (names as BASE_QUOTE) an instrument that is not in it is a problem. Raises
    :class:`~mbats.errors.DataError` for what is no readable workbook, and for one that has
    none of the sheets: nothing can be said of the watchlist then, not even that it is empty.
    """
    if len(workbook) > MAX_BYTES:
        raise _no_workbook(f"It has {len(workbook):,} bytes; the limit is {MAX_BYTES:,}.")
    entries: list[Entry] = []
    problems: list[Problem] = []
    sheets = _cells(workbook)
    for sheet, cells in sheets:
        granularity = SHEETS.get(sheet.strip().lower())
        if granularity is None:
            reason = f"there is no such sheet: only {' and '.join(SHEETS)} are read"
            problems.append(Problem(sheet, None, sheet, reason))
            continue
        good, bad = _read_sheet(sheet, cells, granularity, known)
        entries += good
        problems += bad
    if not any(sheet.strip().lower() in SHEETS for sheet, _ in sheets):
        raise _no_workbook(f"Its sheets are {', '.join(sheet for sheet, _ in sheets)}.")
    return Watchlist(entries, problems)


def template_workbook() -> bytes:
    """Return a workbook to start from: the seven pairs daily, EUR_USD by the minute."""
    workbook = Workbook()
    workbook.remove(workbook.worksheets[0])
    for sheet, names in zip(SHEETS, (SEED_SEVEN, ("EUR_USD",)), strict=True):
        page = workbook.create_sheet(sheet)
        for row in (COLUMN, *names):
            page.append([row])
        page.column_dimensions["A"].width = 16
    file = BytesIO()
    workbook.save(file)
    return file.getvalue()


Row = tuple[int, tuple[Any, ...]]


def _cells(workbook: bytes) -> list[tuple[str, list[Row]]]:
    """Return every sheet's name and its rows that are not blank, with their numbers."""
    if workbook.startswith(_OLE):
        raise _no_workbook("It is encrypted, or of Excel's old .xls format.", "remove the password")
    try:
        book = load_workbook(BytesIO(workbook), read_only=True, data_only=True)
        return [(page.title, list(_page_rows(page))) for page in book.worksheets]
    except _UNREADABLE as error:
        if not workbook.startswith(b"PK"):
            start = workbook[:24].decode("latin-1")
            raise _no_workbook(f"It is not an Excel file: it starts with {start!r}.") from error
        raise _no_workbook(f"It is damaged, or no workbook: {error}") from error


def _page_rows(page: Any) -> Iterator[Row]:
    page.reset_dimensions()  # the size a file claims may be wrong; read what is there
    for number, cells in enumerate(page.iter_rows(values_only=True), start=1):
        if number > MAX_ROWS:
            raise ValueError(f"sheet {page.title} has more than {MAX_ROWS:,} rows")
        if any(cell is not None and str(cell).strip() for cell in cells):
            yield number, cells


def _read_sheet(
    sheet: str, rows: Iterable[Row], granularity: Granularity, known: Collection[str] | None
) -> tuple[list[Entry], list[Problem]]:
    rows = iter(rows)
    number, header = next(rows, (1, ()))
    titles = [str(cell).strip().lower() for cell in header]
    if COLUMN.lower() not in titles:
        found = ", ".join(str(cell) for cell in header if cell is not None) or "nothing"
        reason = f"the first row must have the column {COLUMN}; it has {found}"
        return [], [Problem(sheet, number, found, reason)]
    column = titles.index(COLUMN.lower())
    entries: dict[str, Entry] = {}
    problems = []
    for number, cells in rows:
        value = cells[column] if column < len(cells) else None
        if value is None or not str(value).strip():
            continue
        try:
            entry = Entry(_instrument(value, known), granularity, sheet, number)
            first = entries.setdefault(entry.instrument, entry)
            if first is not entry:
                raise DataError(f"{entry.instrument} is already in row {first.row}")
        except DataError as error:
            problems.append(Problem(sheet, number, str(value), error.cause))
    return list(entries.values()), problems


def _instrument(value: Any, known: Collection[str] | None) -> str:
    if not isinstance(value, str):
        raise DataError(f"{value!r} is a {type(value).__name__}, not the name of an instrument")
    name = parse_name(value)
    if known is not None and name not in known:
        raise DataError(f"{name} is not an instrument of the vendor")
    return name


def _no_workbook(cause: str, mend: str = "") -> DataError:
    return DataError(
        f"The watchlist cannot be read. {cause}",
        tried=["Excel workbook (.xlsx)"],
        mend=f"{mend}, then {_MEND}" if mend else _MEND,
    )
