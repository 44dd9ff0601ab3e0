"""`mbats flatten` says at once that all is flat, and how long it looks on; people and JSON."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.live.control import TradingOrder
from mbats.live.killswitch import WATCH, Report
from mbats.trading.risk.context import TradingState

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Switch:
    """Flat after 1.2 s; one order came late."""

    def __init__(self, written=True):
        self.asked, self._written = [], written

    def flatten(self, why, within, watch, flat):
        self.asked.append((why, within, watch))
        report = Report("A", seconds=1.2, flat=True, done=["close EUR_USD: done"])
        order = TradingOrder().next(TradingState.HALTED, "me", why, AT, flat=True)
        if self._written:
            report.state, report.changed = order, True
        flat(report)
        report.state = order
        if watch:
            report.watched = watch.total_seconds()
            report.came = ["close USD_JPY: done"]
        return report


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(*words, switch=None):
        switch = switch or Switch()
        monkeypatch.setattr("mbats.desk.switch.kill_switch", lambda *_: switch)
        home = ["--home", str(tmp_path / ".mbats"), "flatten", "--yes", "--account", "A"]
        return switch, CliRunner().invoke(app, [*home, *words], env={"COLUMNS": "200"})

    return run


def test_a_person_reads_at_once_that_all_is_flat_and_what_the_command_waits_for(run):
    switch, done = run("--why", "drill")
    assert done.exit_code == 0
    assert switch.asked == [("drill", timedelta(seconds=30), WATCH)]
    assert "Flat, with no orders left, after 1.2 s." in done.stderr
    assert "Looking on for 60 s, in case an order was on its way" in done.stderr
    assert "watched for 60 s; 1 closed or cancelled late" in done.stdout


@pytest.mark.parametrize("words", [["--no-watch"], ["--watch", "0"]])
def test_without_a_watch_nothing_is_said_of_one(run, words):
    switch, done = run(*words)
    assert switch.asked[0][2] == timedelta(0)
    assert "Looking on" not in done.stderr
    assert "watched" not in done.stdout


def test_the_document_says_what_came_and_for_how_long_it_looked_on(run):
    _, done = run("--watch", "5", "--json")
    document = json.loads(done.stdout)
    assert (document["flat"], document["seconds"], document["watched_seconds"]) == (True, 1.2, 5)
    assert document["came"] == ["close USD_JPY: done"]
    assert document["state"]["flat"] is True
    assert "Flat, with no orders left" in done.stderr


def test_a_halt_that_is_not_written_yet_is_said_too(run):
    _, done = run(switch=Switch(written=False))
    assert "The halt is not written yet" in done.stderr
