import json
from datetime import UTC, datetime
from io import BytesIO

import pytest
from candle_server import TOKEN, CandleServer
from memory_store import MemoryStore
from openpyxl import Workbook, load_workbook
from typer.testing import CliRunner

import mbats.desk
from mbats.cli.main import app
from mbats.cli.output import people
from mbats.errors import ConfigError, DataError, RefusedError
from mbats.market.watchlist import SHEETS


@pytest.fixture
def store(monkeypatch):
    held = MemoryStore()

    class Desk:
        def __init__(self, settings):
            self.security_master = held

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(mbats.desk, "Desk", Desk, raising=False)
    return held


@pytest.fixture
def mbats_data(tmp_path, store, monkeypatch):
    monkeypatch.setattr(people, "width", 400)  # however long the folder's name, a line is one

    def run(*arguments, **environment):
        return CliRunner(env=environment).invoke(
            app, ["--home", str(tmp_path / ".mbats"), "data", *map(str, arguments)]
        )

    return run


def workbook(path, daily, minute=()):
    book = Workbook()
    book.remove(book.worksheets[0])
    for sheet, names in zip(SHEETS, (daily, minute), strict=True):
        page = book.create_sheet(sheet)
        for value in ("Tickers", *names):
            page.append([value])
    file = BytesIO()
    book.save(file)
    path.write_bytes(file.getvalue())
    return path


MAPPING = """
vendor = "mine"
side = "bid"
max_bad_share = 0.5
{instrument}
[columns]
start = "t"
open = "o"
high = "h"
low = "l"
close = "c"
"""


def files(tmp_path, instrument='instrument = "EUR_USD"'):
    bars = tmp_path / "bars.csv"
    bars.write_text("t,o,h,l,c\n2024-03-04 00:00,1,2,1,2\n2024-03-04 00:01,1,2,1,x\n")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING.format(instrument=instrument))
    return "--vendor", "file", "--path", bars, "--mapping", mapping


def test_the_first_load_brings_the_seven_pairs_and_the_second_nothing(mbats_data):
    first = json.loads(mbats_data("load", "--json").stdout)
    assert len(first["series"]) == 7
    assert all(series["inserted"] > 7_000 for series in first["series"])
    result = mbats_data("load", "--json")
    assert result.exit_code == 0
    assert not sum(s["inserted"] + s["updated"] for s in json.loads(result.stdout)["series"])


def test_named_instruments_from_a_date_are_read_anew(mbats_data, store):
    mbats_data("load", "--instruments", "EUR/USD")
    again = mbats_data("load", "--instruments", "eurusd", "--from", "2020-01-01", "--json")
    assert json.loads(again.stdout)["series"][0]["instrument"] == "EUR_USD"
    assert store.pages[-1].num_rows > 1_500


def test_a_series_that_fails_is_shown_with_its_mend_and_the_exit_is_3(mbats_data, store):
    result = mbats_data("load", "--instruments", "EUR_USD,EUR_XXX,USD_JPY")
    assert result.exit_code == DataError.exit_code
    assert "EUR_XXX" in result.stderr
    assert "mend" in result.stderr
    assert {row["instrument"] for row in store.series().to_pylist()} == {"EUR_USD", "USD_JPY"}


def test_a_workbooks_good_rows_load_and_its_bad_ones_are_named(mbats_data, tmp_path, store):
    path = workbook(tmp_path / "w.xlsx", ["EUR_USD", "cow", "gbp/usd", "EUR_XXX"], ["EUR_USD"])
    result = mbats_data("load", "--watchlist", path, "--json")
    assert result.exit_code == DataError.exit_code
    said = json.loads(result.stdout)
    assert [(p["sheet"], p["row"]) for p in said["watchlist_problems"]] == [
        ("daily", 3),
        ("daily", 5),
    ]
    assert [(s["instrument"], s["granularity"]) for s in said["series"]] == [
        ("EUR_USD", "D"),
        ("GBP_USD", "D"),
    ]
    assert said["not_served"] == ["EUR_USD M1"]
    assert len(store.rows("watchlist", {"active": True})) == 3


def test_bad_rows_of_a_workbook_are_shown_to_people_too(mbats_data, tmp_path):
    path = workbook(tmp_path / "w.xlsx", ["EUR_USD", "cow"])
    result = mbats_data("load", "--watchlist", path)
    assert "sheet daily row 3" in result.stderr
    assert "'cow'" in result.stderr


def test_what_left_the_workbook_becomes_inactive_and_comes_back(mbats_data, tmp_path, store):
    for daily, active in (
        (["EUR_USD", "USD_JPY"], {"EUR_USD", "USD_JPY"}),
        (["EUR_USD"], {"EUR_USD"}),
        (["USD_JPY"], {"USD_JPY"}),
    ):
        mbats_data("load", "--watchlist", workbook(tmp_path / "w.xlsx", daily))
        assert {row["instrument"] for row in store.rows("watchlist", {"active": True})} == active
    assert len(store.rows("watchlist")) == 2


def test_an_empty_sheet_does_not_empty_the_watchlist(mbats_data, tmp_path, store):
    mbats_data("load", "--watchlist", workbook(tmp_path / "w.xlsx", ["EUR_USD"], ["EUR_USD"]))
    mbats_data("load", "--watchlist", workbook(tmp_path / "w.xlsx", ["EUR_USD"], []))
    assert len(store.rows("watchlist", {"active": True})) == 2


def test_without_names_the_stored_watchlist_is_loaded(mbats_data, tmp_path):
    mbats_data("load", "--watchlist", workbook(tmp_path / "w.xlsx", ["EUR_SEK"]))
    said = json.loads(mbats_data("load", "--json").stdout)
    assert [s["instrument"] for s in said["series"]] == ["EUR_SEK"]


def test_files_load_with_their_bad_rows_shown(mbats_data, tmp_path, store):
    result = mbats_data("load", *files(tmp_path))
    assert result.exit_code == 0
    assert "bars.csv:3: c 'x' is not a price" in result.stdout
    (series,) = store.series().to_pylist()
    assert (series["vendor"], series["granularity"], series["bars"]) == ("mine", "M1", 1)


def test_an_instrument_on_the_command_line_completes_a_mapping(mbats_data, tmp_path, store):
    given = files(tmp_path, instrument="")
    assert isinstance(mbats_data("load", *given).exception, ConfigError)
    assert mbats_data("load", *given, "--instruments", "GBP_USD").exit_code == 0
    assert store.series().to_pylist()[0]["instrument"] == "GBP_USD"


def test_minutes_come_from_oanda(mbats_data, store):
    now = datetime.now(UTC).replace(microsecond=0)
    with CandleServer(first=now.replace(hour=0, minute=0, second=0), now=now) as server:
        result = mbats_data(
            "load",
            *("--vendor", "oanda", "--instruments", "EUR_USD", "--granularity", "M1", "--json"),
            MBATS_OANDA_ENDPOINT=server.address,
            MBATS_OANDA_TOKEN=TOKEN,
        )
        assert json.loads(result.stdout)["series"][0]["error"] == ""
        asked = datetime.fromisoformat(server.requests[0]["from"])
        assert 365 <= (now - asked).days <= 367


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--vendor", "nobody"], "no vendor 'nobody'"),
        (["--vendor", "file"], "needs files and a mapping"),
        (["--vendor", "oanda"], "no OANDA simulator"),
        (["--vendor", "ecb", "--granularity", "M1"], "has no M1 bars"),
        (["--instruments", " , "], "names none"),
        (["--watchlist", "missing.xlsx"], "cannot be read"),
    ],
)
def test_what_cannot_be_loaded_says_why(mbats_data, arguments, error):
    result = mbats_data("load", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert error in result.exception.cause
    assert result.exception.mend


def test_check_counts_findings_and_strict_makes_an_error_of_them(mbats_data, store):
    mbats_data("load", "--instruments", "EUR_USD")
    assert mbats_data("check", "--vendor", "nobody", "--strict").exit_code == 0
    key = ("EUR_USD", "D", "ecb")
    for start in sorted(store.stored[key])[100:110]:
        del store.stored[key][start]
    said = json.loads(mbats_data("check", "--json").stdout)
    (gap,) = [f for f in said["findings"] if f["check_name"] == "gap"]
    assert (gap["bars"], gap["severity"]) == (10, "error")
    assert mbats_data("check").exit_code == 0
    result = mbats_data("check", "--strict")
    assert result.exit_code == DataError.exit_code
    assert "gap" in result.stdout


def test_a_finding_that_is_no_longer_true_is_marked_mended(mbats_data, store):
    mbats_data("load", "--instruments", "EUR_USD")
    held = store.stored["EUR_USD", "D", "ecb"]
    lost = {start: held.pop(start) for start in sorted(held)[100:110]}
    mbats_data("check")
    held |= lost
    mbats_data("check")
    (gap,) = [row for row in store.rows("data_quality") if row["check_name"] == "gap"]
    assert gap["severity"] == "mended"


def test_check_of_what_is_not_stored_says_so(mbats_data):
    assert "EUR_USD" in mbats_data("check", "--instruments", "EURUSD").exception.cause


def test_list_shows_first_last_and_count(mbats_data):
    assert "Nothing is stored" in mbats_data("list").stdout
    mbats_data("load", "--instruments", "EUR_USD")
    (series,) = json.loads(mbats_data("list", "--json").stdout)
    assert series["first"].startswith("1999-01-04T15:00")
    assert series["bars"] > 7_000
    assert "1999-01-04" in mbats_data("list").stdout


def test_a_template_is_a_workbook_that_loads_and_never_overwrites(mbats_data, tmp_path):
    path = tmp_path / "tickers.xlsx"
    assert mbats_data("watchlist", "--template", path).exit_code == 0
    assert load_workbook(path).sheetnames == ["daily", "minute"]
    assert isinstance(mbats_data("watchlist", "--template", path).exception, RefusedError)
    assert mbats_data("load", "--watchlist", path).exit_code == 0
    rows = json.loads(mbats_data("watchlist", "--json").stdout)
    assert len(rows) == 8
    assert "EUR_USD" in mbats_data("watchlist").stdout


def test_the_mapping_is_printed_ready_for_a_file(mbats_data):
    assert "[[files]]" in mbats_data("mapping").stdout
    assert json.loads(mbats_data("mapping", "--json").stdout)["vendor"] == "fxcm"
