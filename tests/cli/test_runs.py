import json
from datetime import timedelta

import pyarrow as pa
import pytest
from synthetic_runs import synthetic_run
from typer.testing import CliRunner

import mbats.desk
from mbats.cli.main import app
from mbats.errors import ConfigError, DataError
from mbats.market.bars import BAR_SCHEMA


class Runs:
    """A risk store in memory."""

    def __init__(self, *results):
        self.results = sorted(results, key=lambda r: r.run["started_at"], reverse=True)

    def runs(self, limit=50):
        return [result.run for result in self.results[:limit]]

    def performance(self, run_ids):
        return pa.concat_tables(
            [r.tables["performance"] for r in self.results if r.run["run_id"] in run_ids]
        )

    def load(self, run_id):
        found = [r for r in self.results if r.run["run_id"].startswith(run_id)]
        if len(found) != 1:
            raise DataError(f"There is no run {run_id!r}.", mend="mbats runs list")
        return found[0]


class NoBars:
    """A security master without a bar; remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def bars(self, *key):
        self.asked.append(key)
        return BAR_SCHEMA.empty_table()


@pytest.fixture
def desk(monkeypatch):
    first, _ = synthetic_run(seed=1)
    began = first.run["started_at"] + timedelta(hours=1)
    assumptions = {**first.run["assumptions"], "slippage": "none"}
    second, _ = synthetic_run(
        seed=2,
        run={
            "started_at": began,
            "ended_at": None,
            "status": "failed",
            "parameters": {**first.run["parameters"], "risk": 0.02},
            "assumptions": assumptions,
            "data_snapshot": "sha256:other",
            "strategy": "sma_reversal",
        },
    )

    class Desk:
        risk_store = Runs(first, second)
        security_master = NoBars()

        def __init__(self, settings):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(mbats.desk, "Desk", Desk, raising=False)
    return Desk


def run(*words):
    result = CliRunner().invoke(app, ["runs", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_shows_the_newest_first_with_its_figures(desk):
    lines = run("list").splitlines()
    rows = [line for line in lines if "EUR_USD+2" in line]
    assert [row.split()[0][:8] for row in rows] == ["0002a1b2", "0001a1b2"]
    assert "failed" in rows[0]
    assert "5,523" in rows[1]
    assert max(map(len, lines)) <= 100
    assert "rsi_" in rows[1]
    assert "5.69%" in rows[1]
    assert "2016-2020" in rows[1]


def test_list_keeps_to_a_strategy_and_a_limit(desk):
    assert "0001a1b2" not in run("list", "--strategy", "sma_reversal")
    assert "0001a1b2" not in run("list", "--limit", "1")
    listed = json.loads(run("list", "--json"))
    assert [entry["run_id"][:4] for entry in listed] == ["0002", "0001"]
    assert listed[1]["figures"]["trades_closed"] == 180


def test_an_empty_store_says_how_to_make_a_run(desk):
    desk.risk_store = Runs()
    assert "mbats backtest" in run("list")
    assert json.loads(run("list", "--json")) == []
    with pytest.raises(DataError, match="no runs yet"):
        run("show", "last")


def test_show_prints_the_report_of_a_prefix_or_of_the_last_run(desk):
    assert "180" in run("show", "0001")
    assert "The run is failed" in run("show", "last")
    assert run("show") == run("show", "last")
    assert json.loads(run("show", "0001", "--json"))["figures"]["trades_closed"] == 180


def test_show_writes_the_tear_sheet_again_with_the_bars_of_its_span(desk, tmp_path):
    path = tmp_path / "deep" / "sheet.html"
    assert str(path) in run("show", "0001", "--html", str(path)).replace("\n", "")
    assert path.read_text().startswith("<!doctype html>")
    stored = desk.risk_store.load("0001").run
    asked = [
        (n, "D", "synthetic", stored["data_start"], stored["data_end"])
        for n in stored["instruments"]
    ]
    assert desk.security_master.asked == asked
    said = json.loads(run("show", "0001", "--json", "--html", str(path)))
    assert said["tear_sheet"] == str(path)


def test_compare_marks_what_differs_and_warns_of_apples_and_oranges(desk):
    text = run("compare", "0001", "0002")
    for part in ("* risk", "* slippage", "* data_snapshot", "  rsi_period", "  granularity"):
        assert part in text
    for part in ("different bars", "assumptions differ (slippage)", "is failed"):
        assert part in text
    made = json.loads(run("compare", "0001", "0002", "--json"))
    lines = {(line["section"], line["name"]): line for line in made["lines"]}
    assert lines["parameters", "risk"]["differs"] is True
    assert lines["parameters", "rsi_period"]["differs"] is False
    assert lines["parameters", "risk"][made["runs"][1]] == 0.02
    assert lines["figures", "Trades closed"][made["runs"][0]] == 180
    assert made["warnings"]


def test_equal_ground_is_not_warned_of(desk):
    twin, _ = synthetic_run(seed=3)
    desk.risk_store = Runs(*desk.risk_store.results, twin)
    made = json.loads(run("compare", "0001", "0003", "--json"))
    assert made["warnings"] == []


@pytest.mark.parametrize("runs", [["0001"], ["0001"] * 2, [str(n) for n in range(7)]])
def test_compare_refuses_one_run_a_run_with_itself_and_a_crowd(desk, runs):
    with pytest.raises(ConfigError):
        run("compare", *runs)


def test_a_run_that_is_not_there_is_a_data_error(desk):
    with pytest.raises(DataError, match="There is no run"):
        run("show", "ffff")
