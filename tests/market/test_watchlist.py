"""The watchlist workbook: good rows load, each bad one is named, no file breaks the reader."""

from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openpyxl import Workbook

from mbats.errors import DataError
from mbats.market.catalogue import SEED_SEVEN
from mbats.market.watchlist import read_watchlist, template_workbook
from mbats.schemas import table


def workbook(**sheets: list[list[Any]]) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(row)
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def tickers(*values: Any) -> list[list[Any]]:
    return [["Tickers"], *([value] for value in values)]


def problems(data: bytes, known: set[str] | None = None) -> list[tuple[str, int | None, str]]:
    return [(p.sheet, p.row, p.reason) for p in read_watchlist(data, known).problems]


def test_the_template_is_the_seeds_workbook() -> None:
    watchlist = read_watchlist(template_workbook(), known=set(SEED_SEVEN))
    assert watchlist.problems == []
    wanted = [(entry.granularity.value, entry.instrument) for entry in watchlist.entries]
    assert wanted == [*(("D", name) for name in SEED_SEVEN), ("M1", "EUR_USD")]
    assert [entry.row for entry in watchlist.entries] == [2, 3, 4, 5, 6, 7, 8, 2]


def test_bad_rows_are_named_and_the_good_ones_load() -> None:
    data = workbook(
        daily=tickers("EUR_USD", "euro", None, "  ", "usd/jpy", "EURUSD", 42, "XAU_USD"),
        minute=tickers("GBP_USD"),
        notes=[["hello"]],
    )
    watchlist = read_watchlist(data, known={"EUR_USD", "USD_JPY", "GBP_USD"})
    assert [(e.instrument, e.row) for e in watchlist.entries] == [
        ("EUR_USD", 2),
        ("USD_JPY", 6),
        ("GBP_USD", 2),
    ]
    assert [(p.sheet, p.row, p.reason) for p in watchlist.problems] == [
        ("daily", 3, "'euro' is not an instrument name."),
        ("daily", 7, "EUR_USD is already in row 2"),
        ("daily", 8, "42 is a int, not the name of an instrument"),
        ("daily", 9, "XAU_USD is not an instrument of the vendor"),
        ("notes", None, "there is no such sheet: only daily and minute are read"),
    ]
    assert str(watchlist.problems[0]) == "sheet daily row 3: 'euro' is not an instrument name."


def test_one_instrument_may_be_in_both_sheets() -> None:
    data = workbook(daily=tickers("EUR_USD"), minute=tickers("EUR_USD"))
    assert len(read_watchlist(data).entries) == 2


def test_the_column_may_be_elsewhere_and_its_rows_keep_their_excel_numbers() -> None:
    rows: list[list[Any]] = [
        [],
        ["why", "TICKERS "],
        ["cheap", "EUR_USD"],
        [],
        ["x", None],
        [1, "?"],
    ]
    data = workbook(Daily=rows)
    assert [(e.instrument, e.row) for e in read_watchlist(data).entries] == [("EUR_USD", 3)]
    assert problems(data) == [("Daily", 6, "'?' is not an instrument name.")]


@pytest.mark.parametrize(
    ("rows", "found"), [([["Ticker"], ["EUR_USD"]], "Ticker"), ([], "nothing")]
)
def test_a_missing_column_is_named_and_the_other_sheet_loads(
    rows: list[list[Any]], found: str
) -> None:
    data = workbook(daily=rows, minute=tickers("EUR_USD"))
    assert len(read_watchlist(data).entries) == 1
    reason = f"the first row must have the column Tickers; it has {found}"
    assert problems(data) == [("daily", 1, reason)]


def zipped(**files: str) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"Tickers\nEUR_USD\n", "not an Excel file: it starts with 'Tickers"),
        (b"", "not an Excel file"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "encrypted"),
        (zipped(readme="no workbook"), "damaged, or no workbook"),
        (template_workbook()[:2000], "damaged, or no workbook"),
        (workbook(notes=tickers("EUR_USD")), "Its sheets are notes"),
        (bytes(10_000_001), "limit"),
        (workbook(daily=tickers(*["EUR_USD"] * 10_001)), "more than 10,000 rows"),
    ],
    ids=["csv", "empty", "encrypted", "zip", "cut", "no sheet", "large", "long"],
)
def test_what_is_no_watchlist_is_refused_with_a_mend(data: bytes, cause: str) -> None:
    with pytest.raises(DataError, match="The watchlist cannot be read") as raised:
        read_watchlist(data)
    assert cause in raised.value.cause
    assert "save it as .xlsx" in raised.value.mend


def read_or_refuse(data: bytes) -> None:
    with suppress(DataError):
        read_watchlist(data)


GOOD = template_workbook()
with ZipFile(BytesIO(GOOD)) as archive:
    MEMBERS = {name: archive.read(name) for name in archive.namelist()}
changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)


@given(changes)
@example([(GOOD.rindex(b"PK\x01\x02") + 8, 1)])  # a member says that it is encrypted
def test_a_file_with_broken_bytes_is_read_or_refused(places: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in places:
        data[at % len(data)] = value
    read_or_refuse(bytes(data))


@given(st.sampled_from(sorted(MEMBERS)), changes)
def test_a_workbook_with_broken_xml_is_read_or_refused(
    name: str, places: list[tuple[int, int]]
) -> None:
    member = bytearray(MEMBERS[name])
    for at, value in places:
        member[at % len(member)] = value
    file = BytesIO()
    with ZipFile(file, "w") as broken:
        for other, content in MEMBERS.items():
            broken.writestr(other, bytes(member) if other == name else content)
    read_or_refuse(file.getvalue())


def test_rows_fit_the_table() -> None:
    rows = read_watchlist(template_workbook()).rows("gs://control/interested_tickers.xlsx")
    now = datetime(2026, 3, 1, tzinfo=UTC)
    schema = table("security_master", "watchlist")
    complete = [row | {"ingested_at": now} for row in rows]
    assert set(complete[0]) == set(schema.columns)
    assert pa.Table.from_pylist(complete, schema=schema.arrow).num_rows == 8
