"""Control files through functions-framework: loaded once, set aside when wrong, not rolled back."""

import json
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from openpyxl import Workbook

from mbats import schemas
from mbats.desk import Desk
from mbats.desk.events import control_file, wiring
from mbats.desk.events.control_file import settle
from mbats.errors import NotReadyError
from mbats.gcp.batch import plain_rows
from mbats.gcp.records import Record
from mbats.gcp.tables import apply_tables
from mbats.local.emulators import BUCKETS
from mbats.market.watchlist import template_workbook
from mbats.strategy.schedule import COLUMNS
from tests.functions.rig import numbers

pytestmark = pytest.mark.emulators

HEADER = ",".join(COLUMNS)
FINALIZED = "google.cloud.storage.object.v1.finalized"


def csv_of(*rows):
    return "\n".join([HEADER, *rows, ""]).encode()


GOOD = csv_of(
    'sma_reversal,backtest,"EUR_USD,USD_JPY",,,period=10',
    "rsi_stochastic,practice,EUR_USD,,101-001-1234567-001,",
)
POISON = csv_of("sma_reversal,backtest,EUR_USD,,,period=10", "rsi!,live,EURO,,,x")


@pytest.fixture(scope="module")
def warehouse_names(settings):
    """Tables that this module has for itself."""
    names = {"security_master": "security_master_control", "risk": "risk_control"}
    with Desk(settings.model_copy(update=names)) as desk:
        wanted = [("security_master", "watchlist"), ("risk", "strategy_schedule")]
        apply_tables(desk.warehouse, [schemas.table(*name) for name in wanted])
    return names


@pytest.fixture
def controlled(settings, warehouse_names, tmp_path):
    """Settings with buckets and a folder of DAGs of this test's own."""
    (tmp_path / "composer_dags").mkdir()
    mine = settings.model_copy(
        update={
            **warehouse_names,
            "bucket_prefix": f"control-{next(numbers)}",
            "home": tmp_path / ".mbats",
        }
    )
    with Desk(mine) as desk:
        for bucket in BUCKETS:
            desk.objects.make_bucket(bucket)
        for name in (("security_master", "watchlist"), ("risk", "strategy_schedule")):
            target = desk.warehouse.target(schemas.table(*name))
            desk.warehouse.execute(f"DELETE FROM `{target}` WHERE TRUE")
    return mine


@pytest.fixture
def desk(controlled):
    with Desk(controlled) as desk:
        yield desk


class Told(list):
    """The risk events that were published."""

    def __call__(self, event):
        self.append(event.row)


@pytest.fixture
def stores(desk):
    made = wiring.stores(desk, say=lambda *_, **__: None)
    made.tell = Told()
    return made


def event(desk, name, generation):
    return {
        "bucket": desk.settings.bucket("control"),
        "name": name,
        "generation": str(generation),
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "size": "1",
        "timeCreated": "2026-11-23T12:00:00.000Z",
    }


def send(function, desk, name, generation):
    source = f"//storage.googleapis.com/projects/_/buckets/{desk.settings.bucket('control')}"
    data = event(desk, name, generation)
    return function.send(data, FINALIZED, source, str(generation), f"objects/{name}")


def scheduled(desk):
    table = schemas.table("risk", "strategy_schedule")
    found = plain_rows(table, desk.warehouse.read(table, {}))
    return {row["schedule_id"]: row["active"] for row in found}


def listed(desk):
    return {(row["instrument"], row["granularity"]) for row in desk.security_master.watchlist()}


def put(desk, name, content):
    return desk.objects.write("control", name, content)


def names(desk, prefix):
    return sorted(found.name for found in desk.objects.list("control", prefix))


def workbook(daily):
    book = Workbook()
    page = book.worksheets[0]
    page.title = "daily"
    for cell in ("Tickers", *daily):
        page.append([cell])
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_and_a_schedule_are_loaded_by_their_events_once(controlled, desk, start):
    function = start("control_file", controlled)
    book = put(desk, "interested_tickers.xlsx", template_workbook())
    schedule = put(desk, "strategies.csv", GOOD)

    for _ in range(2):
        assert send(function, desk, "interested_tickers.xlsx", book) == 200
        assert send(function, desk, "strategies.csv", schedule) == 200

    assert len(listed(desk)) == 8
    assert ("EUR_USD", "M1") in listed(desk)
    assert set(scheduled(desk).values()) == {True}
    assert len(scheduled(desk)) == 2
    dags = controlled.home.parent / "composer_dags" / "control" / "strategies.csv"
    assert dags.read_bytes() == GOOD
    states = [line["state"] for line in function.said("control_file")]
    assert states == ["loaded", "loaded", "known", "known"]
    assert names(desk, "quarantine/") == []


def test_a_poison_file_is_set_aside_with_a_report_and_what_was_in_force_stays(
    controlled, desk, start
):
    function = start("control_file", controlled)
    send(function, desk, "strategies.csv", put(desk, "strategies.csv", GOOD))
    before = scheduled(desk)
    generation = put(desk, "strategies.csv", POISON)

    for _ in range(2):
        assert send(function, desk, "strategies.csv", generation) == 200

    assert scheduled(desk) == before
    dags = controlled.home.parent / "composer_dags" / "control" / "strategies.csv"
    assert dags.read_bytes() == GOOD
    copy, report = names(desk, "quarantine/")
    assert copy == f"quarantine/{generation}-strategies.csv"
    assert desk.objects.read("control", copy)[0] == POISON
    assert desk.objects.read("control", "strategies.csv")[0] == POISON
    text = desk.objects.read("control", report)[0].decode()
    for part in (
        "row 3, column Strategy: 'rsi!'",
        "row 3, column Securities: 'EURO'",
        "row 3, column Account: mode live needs",
        "mbats control check strategies.csv",
    ):
        assert part in text
    record, _ = Record(desk.objects, "control", "records/strategies.csv.json").read()
    assert record["in_force"]["generation"] < generation == record["generation"]


def test_a_function_killed_between_its_work_and_its_answer_has_one_effect(controlled, desk, start):
    function = start("control_file", controlled, dying=True)
    generation = put(desk, "strategies.csv", POISON)

    assert send(function, desk, "strategies.csv", generation) in (0, 500, 502)
    while send(function, desk, "strategies.csv", generation) != 200:
        pass

    assert len(names(desk, "quarantine/")) == 2
    assert [line["state"] for line in function.said("control_file")] == ["quarantined", "known"]


def test_an_event_that_names_no_object_is_kept_as_a_dead_letter(controlled, desk, start):
    function = start("control_file", controlled)

    for number, data in enumerate(
        ({"name": "x"}, {"generation": "1"}, [1], {"name": "", "generation": "1"})
    ):
        assert function.send(data, FINALIZED, "//storage.googleapis.com/x", f"n{number}") == 200

    found = [o.name for o in desk.objects.list("data", "dead-letters/control-files/")]
    assert len(found) == 4
    assert "names no object" in json.loads(desk.objects.read("data", found[0])[0])["reason"]


def test_its_own_files_do_not_call_it_again_and_an_unknown_name_is_set_aside(desk, stores):
    take = lambda name: control_file.take(stores, type("E", (), {"data": event(desk, name, 5)}))  # noqa: E731

    assert take("quarantine/1-strategies.csv").state == "ignored"
    assert take("records/strategies.csv.json").state == "ignored"
    assert take("gone.csv").state == "gone"
    put(desk, "Strategies (1).csv", GOOD)
    assert take("Strategies (1).csv").state == "quarantined"
    assert "no control file of this name" in stores.tell[0]["detail"]


def test_an_old_event_after_a_newer_file_does_not_roll_back(desk, stores):
    old = put(desk, "strategies.csv", GOOD)
    put(desk, "strategies.csv", csv_of("sma_reversal,paper,GBP_USD,,,"))
    settle(stores, "strategies.csv")

    outcome = settle(stores, "strategies.csv", old)

    assert outcome.state == "known"
    assert [key for key, active in scheduled(desk).items() if active] == [
        "sma_reversal/paper/-/GBP_USD"
    ]


def test_a_newer_file_that_comes_while_an_older_is_loaded_wins(desk, stores):
    newer = csv_of("sma_reversal,paper,GBP_USD,,,")
    inner = stores.dags

    class Slow:
        """While the first file is on its way to the DAGs, a newer one is put and loaded."""

        def put(self, name, content):
            if content == GOOD:
                put(desk, name, newer)
                settle(stores, name)
            return inner.put(name, content)

    stores.dags = Slow()
    put(desk, "strategies.csv", GOOD)
    settle(stores, "strategies.csv")

    assert [key for key, active in scheduled(desk).items() if active] == [
        "sma_reversal/paper/-/GBP_USD"
    ]
    folder = desk.settings.home.parent / "composer_dags" / "control"
    assert (folder / "strategies.csv").read_bytes() == newer


def test_a_row_that_leaves_the_file_becomes_inactive_and_one_that_comes_back_active(desk, stores):
    both = csv_of("sma_reversal,backtest,EUR_USD,,,", "rsi_x,backtest,EUR_USD,,,a=1")
    for content, active in ((both, 2), (csv_of("rsi_x,backtest,EUR_USD,,,a=2"), 1), (both, 2)):
        put(desk, "strategies.csv", content)
        assert settle(stores, "strategies.csv").state == "loaded"
        assert sum(scheduled(desk).values()) == active
    assert len(scheduled(desk)) == 2


def test_a_workbook_with_one_wrong_row_changes_nothing(desk, stores):
    put(desk, "interested_tickers.xlsx", workbook(["EUR_USD", "GBP_USD"]))
    settle(stores, "interested_tickers.xlsx")
    put(desk, "interested_tickers.xlsx", workbook(["EUR_USD", "EUR_USX"]))

    outcome = settle(stores, "interested_tickers.xlsx")

    assert outcome.state == "quarantined"
    assert "sheet daily row 3: USX is not a currency" in outcome.problems[0]
    assert listed(desk) == {("EUR_USD", "D"), ("GBP_USD", "D")}
    (row,) = stores.tell
    assert (row["code"], row["severity"]) == ("CONTROL_FILE_REFUSED", "error")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 1000, workbook([])])
def test_a_file_that_is_no_workbook_or_empty_is_set_aside(desk, stores, content):
    put(desk, "interested_tickers.xlsx", content)

    assert settle(stores, "interested_tickers.xlsx").state == "quarantined"
    assert len(names(desk, "quarantine/")) == 2


def test_a_file_that_holds_a_token_is_not_copied_and_the_report_does_not_repeat_it(desk, stores):
    token = "0123456789abcdef" * 2 + "-" + "fedcba9876543210" * 2
    put(desk, "strategies.csv", csv_of(f"sma_reversal,backtest,EUR_USD,,{token},"))

    outcome = settle(stores, "strategies.csv")

    (report,) = names(desk, "quarantine/")
    said = desk.objects.read("control", report)[0].decode() + json.dumps(outcome.problems)
    said += json.dumps(stores.tell, default=str)
    assert "looks like a secret" in said
    assert token not in said


def test_a_file_that_is_too_large_or_breaks_the_reader_is_set_aside(desk, stores, monkeypatch):
    monkeypatch.setattr(control_file, "LARGEST", 100)
    put(desk, "strategies.csv", b"x" * 101)
    large = settle(stores, "strategies.csv")
    put(desk, "strategies.csv", b"y")
    monkeypatch.setattr(control_file, "read_schedule", lambda *_: {}["a bug"])
    broken = settle(stores, "strategies.csv")

    assert (large.state, broken.state) == ("quarantined", "quarantined")
    assert "more than 100 bytes" in large.problems[0]
    assert "KeyError" in broken.problems[0]
    assert len(names(desk, "quarantine/")) == 3  # two reports, one copy


def test_a_load_that_died_is_done_again_and_one_under_way_is_waited_for(desk, stores):
    generation = put(desk, "strategies.csv", GOOD)
    record = Record(desk.objects, "control", "records/strategies.csv.json")
    began = datetime.now(UTC)
    record.write(
        {"generation": generation, "state": "loading", "at": began.isoformat(), "in_force": None}, 0
    )

    with pytest.raises(NotReadyError, match="Another process"):
        settle(stores, "strategies.csv")
    stores.now = lambda: began + timedelta(minutes=6)

    assert settle(stores, "strategies.csv").state == "loaded"
