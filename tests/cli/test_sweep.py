"""`mbats sweep` by its own words: tasks, a second time, the best, a failure."""

import json

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.errors import ConfigError, RunFailedError

MOODY = '''
import backtrader as bt

class Moody(bt.Strategy):
    """Breaks when it is asked to."""
    params = (("mood", "good"),)

    def next(self):
        if self.p.mood == "bad":
            raise ZeroDivisionError("no more")
'''


@pytest.fixture
def mbats(stack):
    def run(*words):
        flags = ["--home", str(stack.home), "--project", "mbats-sweep"]
        return CliRunner().invoke(app, [*flags, *words, "--json"])

    return run


@pytest.mark.emulators
@pytest.mark.slow
def test_tasks_make_one_sweep_that_lists_its_best_and_is_not_made_twice(mbats, tmp_path):
    def told(*words):
        result = mbats(*words)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    told("init")
    told("data", "load", "--vendor", "ecb", "--instruments", "EUR_USD")
    common = ("sma_reversal", "--instruments", "EUR_USD", "--param", "period=10:40:10")
    first = told("sweep", *common, "--task", "0", "--tasks", "2")
    early = mbats("sweep", *common, "--tasks", "2", "--gather")
    assert isinstance(early.exception, RunFailedError)
    assert "1 of 2 tasks have not ended" in early.exception.cause
    assert early.exception.tried == ("tasks 1",)
    assert [json.loads(early.stdout)[k] for k in ("stored", "trials", "lost")] == [2, 2, [1]]
    second = told("sweep", *common, "--task", "1", "--tasks", "2")
    gathered = told("sweep", *common, "--tasks", "2", "--gather")
    whole = told("sweep", *common)
    assert [first[k] for k in ("members", "share", "played")] == [4, 2, 2]
    assert [second[k] for k in ("share", "played")] == [2, 2]
    assert "best" not in second
    assert [gathered[k] for k in ("stored", "stored_before", "lost", "trials")] == [2, 2, [], 4]
    assert gathered["best"] == whole["best"]
    assert [whole[k] for k in ("share", "played", "stored_before", "trials")] == [4, 0, 4, 4]
    assert first["sweep"] == whole["sweep"]
    sharpes = [row["sharpe"] for row in whole["best"]]
    assert sharpes == sorted(sharpes, reverse=True)
    assert sorted(row["period"] for row in whole["best"]) == [10, 20, 30, 40]
    assert 0 <= whole["deflated_sharpe"] <= 1

    listed = told("runs", "list", "--sweep", whole["sweep"], "--by", "net_pnl", "--limit", "1")
    assert listed["trials"] == 4
    assert len(listed["best"]) == 1
    assert told("runs", "list") == []
    run_id = listed["best"][0]["run_id"]
    alone = told(
        "backtest", "sma_reversal", "--instruments", "EUR_USD",
        "--param", f"period={listed['best'][0]['period']}",
    )  # fmt: skip
    shown = told("runs", "show", run_id)
    assert shown["figures"]["net_pnl"] == alone["figures"]["net_pnl"]
    assert (shown["run"]["kind"], shown["run"]["parent_run_id"]) == ("sweep", whole["sweep"])

    (tmp_path / "moody.py").write_text(MOODY)
    broken = mbats("sweep", str(tmp_path / "moody.py"), *common[1:3], "--param", "mood=good,bad")
    assert isinstance(broken.exception, RunFailedError)
    assert "1 of 2 members failed" in broken.exception.cause
    assert "ZeroDivisionError: no more" in broken.exception.tried[0]
    assert json.loads(broken.stdout)["trials"] == 1
    words = ("sweep", str(tmp_path / "moody.py"), *common[1:3], "--param", "mood=good,bad,fine")
    mbats(*words, "--tasks", "2")
    mbats(*words, "--tasks", "2", "--task", "1")
    broken = mbats(*words, "--tasks", "2", "--gather")
    assert broken.exception.cause == "1 of 3 members failed; the others are stored."
    assert "ZeroDivisionError: no more" in broken.exception.tried[0]


@pytest.mark.parametrize(
    "words",
    [
        ("--param", "period=5:1:1"),
        ("--param", "perod=5"),
        ("--param", "period=5", "--by", "luck"),
        ("--param", "period=5", "--keep", "some"),
        ("--param", "period=5", "--task", "2", "--tasks", "2"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_opened(words):
    result = CliRunner().invoke(app, ["sweep", "sma_reversal", *words])
    assert isinstance(result.exception, ConfigError)
