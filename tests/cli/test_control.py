"""`mbats control` and `mbats replay`, as a person uses them."""

import json

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.desk import Desk
from mbats.desk.events import control_file
from mbats.gcp.dead_letters import DeadLetters
from mbats.market.watchlist import template_workbook
from mbats.strategy.schedule import COLUMNS
from tests.functions.rig import environment, new_project
from tests.functions.test_dead_letters import letter

HEADER = ",".join(COLUMNS)
GOOD = f"{HEADER}\nsma_reversal,backtest,EUR_USD,,,period=10\n"


@pytest.fixture
def mbats(tmp_path):
    def run(*words, **environ):
        home = ("--home", str(tmp_path / ".mbats"))
        return CliRunner().invoke(app, [*home, *map(str, words)], env={"COLUMNS": "200", **environ})

    return run


@pytest.fixture
def project(settings, tmp_path):
    return new_project(settings, tmp_path / ".mbats")


@pytest.fixture
def schedule(tmp_path):
    def write(text):
        file = tmp_path / "strategies.csv"
        file.write_text(text)
        return file

    return write


def test_check_shows_a_good_file(mbats, schedule):
    shown = mbats("control", "check", schedule(GOOD))

    assert shown.exit_code == 0, shown.output
    assert "sma_reversal" in shown.stdout
    assert "Good." in shown.stdout


def test_check_names_every_problem_and_exits_with_3(mbats, schedule):
    file = schedule(GOOD + "nobody,live,EURO,,,\n")

    found = mbats("control", "check", file, "--json")

    document = json.loads(found.stdout)
    assert (found.exit_code, document["good"]) == (3, False)
    assert len(document["problems"]) == 3
    assert "there are rsi_stochastic, sma_reversal" in document["problems"][0]


def test_check_reads_a_workbook_too(mbats, tmp_path):
    file = tmp_path / "interested_tickers.xlsx"
    file.write_bytes(template_workbook())

    assert "EUR_USD" in mbats("control", "check", file).stdout


def test_a_file_that_is_missing_or_of_another_name_is_a_clear_error(mbats, tmp_path):
    missing = mbats("control", "check", tmp_path / "strategies.csv")
    other = tmp_path / "notes.txt"
    other.write_text("x")

    assert "cannot be read" in str(missing.exception)
    assert "no control file 'notes.txt'" in str(mbats("control", "put", other).exception)


@pytest.mark.emulators
def test_put_of_a_wrong_file_leaves_a_report_and_exits_with_3(mbats, schedule, project):
    put = mbats(
        "control", "put", schedule(HEADER + "\nx!,,,,,\n"), "--json", **environment(project)
    )

    document = json.loads(put.stdout)
    assert (put.exit_code, document["state"]) == (3, "quarantined")
    with Desk(project) as desk:
        report = document["report"].rpartition("-control/")[2]
        assert b"row 2, column Strategy" in desk.objects.read("control", report)[0]


@pytest.mark.emulators
@pytest.mark.parametrize("first", ["before it looks", "while it looks"])
def test_put_tells_what_the_function_made_of_the_file_where_that_was_first(
    mbats, schedule, project, monkeypatch, first
):
    """The stack's function hears of the upload, too, and one of the two is at it first."""
    settle = control_file.settle

    def late(stores, name, generation=None):
        settle(stores, name)
        if first == "while it looks":
            raise control_file.BusyError("Another process is loading it.")
        return settle(stores, name)

    monkeypatch.setattr(control_file, "settle", late)
    file = schedule(HEADER + "\nx!,,,,,\n")
    put = mbats("control", "put", file, "--json", **environment(project))
    document = json.loads(put.stdout)
    assert (put.exit_code, document["state"]) == (3, "quarantined")
    assert document["report"].endswith("strategies.csv.report.txt")


@pytest.mark.emulators
def test_replay_says_what_it_would_do_and_does_it_once(mbats, project):
    with Desk(project) as desk:
        DeadLetters(desk.objects).keep(letter(1))
    environ = environment(project)

    would = mbats("replay", "order-events", "--dry-run", **environ)
    did, again = (
        json.loads(mbats("replay", "order-events", "--json", **environ).stdout) for _ in range(2)
    )

    assert "1 would be published" in would.stdout
    assert (did["published"], again["published"]) == (1, 0)
