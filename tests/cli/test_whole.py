"""The desk once through, by its own commands, on the emulators: what `make demo` shows."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbats.backtest import session
from mbats.cli.main import app

pytestmark = [pytest.mark.emulators, pytest.mark.slow]

SEVEN = "AUD_USD,USD_JPY,EUR_USD,GBP_USD,EUR_JPY,GBP_JPY,NZD_USD"
SHARED = Path(__file__).parents[3] / "shared" / "data"
MAPPING = """
vendor = "fxcm"
instrument = "USD_JPY"
granularity = "M1"

[columns]
start = "timestamp"
open = "open"
high = "high"
low = "low"
close = "close"

[[files]]
path = "usdjpy-m1-bid-2013.csv"
side = "bid"

[[files]]
path = "usdjpy-m1-ask-2013.csv"
side = "ask"
"""


@pytest.fixture
def mbats(stack, monkeypatch):
    """Runs a command on the session's stack, in a project of its own, and reads its JSON."""
    monkeypatch.setattr(session, "git_sha", lambda: "a-commit")

    def run(*words):
        flags = ["--home", str(stack.home), "--project", "mbats-whole"]
        result = CliRunner().invoke(app, [*flags, *words, "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


def test_history_comes_in_strategies_run_and_results_stay(mbats):
    mbats("init")
    loaded = mbats("data", "load", "--vendor", "ecb", "--instruments", SEVEN)
    assert all(series["inserted"] > 6_900 for series in loaded["series"])
    assert {s["bars"] for s in mbats("data", "list") if s["vendor"] == "ecb"} == {
        series["inserted"] for series in loaded["series"]
    }

    made = {}
    for strategy in ("sma_reversal", "rsi_stochastic"):
        words = ("backtest", strategy, "--instruments", SEVEN, "--sizer", "equity:10", "--reuse")
        report = mbats(*words)
        sheet = Path(report["tear_sheet"])
        assert strategy in sheet.read_text()
        made[strategy] = sheet.stem
        assert Path(mbats(*words)["tear_sheet"]).stem == sheet.stem  # the same run, not another

    runs = {run["run_id"]: run for run in mbats("runs", "list")}
    assert set(made.values()) <= set(runs)
    for strategy, run_id in made.items():
        run = runs[run_id]
        assert (run["strategy"], run["status"]) == (strategy, "done")
        assert run["figures"]["trades_closed"] > 1_000
        assert (run["data_start"][:4], run["data_end"][:4] >= "2024") == ("1999", True)
    mbats("runs", "compare", *made.values())

    again = mbats("data", "load", "--vendor", "ecb", "--instruments", SEVEN)
    assert {(s["inserted"], s["updated"]) for s in again["series"]} == {(0, 0)}


@pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"NOT RUN: no real minute bars, the folder {SHARED} is not here"
)
def test_both_strategies_run_over_real_bid_and_ask_minutes(mbats, tmp_path):
    mbats("init")
    mbats("data", "load", "--vendor", "ecb", "--instruments", "USD_JPY")  # for conversion
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(MAPPING)
    paths = ("--path", str(SHARED), "--mapping", str(mapping))
    loaded = mbats("data", "load", "--vendor", "file", *paths)
    assert [series["inserted"] for series in loaded["series"]] == [28_761]
    for strategy in ("sma_reversal", "rsi_stochastic"):
        words = ("--vendor", "fxcm", "--granularity", "M1", "--instruments", "USD_JPY")
        mbats("backtest", strategy, *words)
        run = mbats("runs", "list", "--limit", "1")[0]
        assert run["bars"] == 28_761
        assert run["assumptions"]["spread"] == {"USD_JPY": "from bid and ask bars"}
        assert run["figures"]["trades_closed"] > 100
