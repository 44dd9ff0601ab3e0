"""Members of a sweep: each once, whole or failed, whoever plays them and however often."""

import pickle
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from mbats.backtest import sweep as sweeps
from mbats.backtest.assumptions import Costs
from mbats.backtest.executor import TERMINATED, Interpreter
from mbats.backtest.ranking import rank
from mbats.backtest.report import warnings
from mbats.errors import ConfigError, DataError, NotReadyError, RunFailedError
from mbats.market.catalogue import instrument
from mbats.strategy import loading
from mbats.strategy.loading import load_strategy
from tests.backtest.memory import MemoryStore
from tests.backtest.sweeping import NOW, market, play, request
from tests.backtest.synthetic import run as run_one
from tests.backtest.synthetic import walk

MOODY = '''
import os
import backtrader as bt

class Moody(bt.Strategy):
    """Buys at once; some of it breaks."""
    params = (("mood", "good"),)

    def next(self):
        if len(self) == 5:
            if self.p.mood == "bad":
                raise ZeroDivisionError("no more")
            if self.p.mood == "exit":
                raise SystemExit(0)
            if self.p.mood == "asked to end":
                raise SystemExit(143)
            if self.p.mood == "ctrl-c":
                raise KeyboardInterrupt
            if self.p.mood == "killed":
                os.kill(os.getpid(), 9)
            self.buy()
'''


@pytest.fixture
def moody(tmp_path: Path) -> str:
    file = tmp_path / "moody.py"
    file.write_text(MOODY)
    return str(file)


def rows(store):
    """What is stored, without when it was played."""
    clock = ("started_at", "ended_at")
    return {
        run_id: (
            {name: value for name, value in result.run.items() if name not in clock},
            {name: table.to_pylist() for name, table in result.tables.items()},
        )
        for run_id, result in store.results.items()
    }


def test_a_member_is_the_run_that_a_backtest_of_its_parameters_gives():
    store = MemoryStore()
    play(request(keep="all"), store)
    assert len(store.results) == 10
    for result in store.results.values():
        period = str(result.run["parameters"]["period"])
        alone = run_one(
            [load_strategy("sma_reversal", {"period": period})],
            walk(300), [instrument("EUR_USD")], cash=Decimal(100_000), costs=Costs(),
        )  # fmt: skip
        assert result.run["ending_value"] == alone.run["ending_value"]
        for name in ("trade", "equity"):
            mine = result.tables[name].drop_columns("run_id")
            assert mine.equals(alone.tables[name].drop_columns("run_id")), name
        assert (result.run["kind"], result.run["status"]) == ("sweep", "done")


def test_tasks_share_the_members_and_together_make_the_same_sweep():
    whole, parts = MemoryStore(), MemoryStore()
    play(request(), whole)
    shares = [play(request(task=task, tasks=3), parts).share for task in range(3)]
    assert shares == [4, 3, 3]
    assert rows(parts) == rows(whole)


def test_a_member_that_kept_its_figures_alone_says_so():
    store = MemoryStore()
    play(request("period=3"), store)
    (result,) = store.results.values()
    said = " ".join(warnings(result))
    assert "kept its figures alone" in said
    assert "closed trades" not in said
    play(request("period=3", keep="trades"), store)
    (whole,) = [r for r in store.results.values() if r.tables["trade"].num_rows]
    assert "kept its figures alone" not in " ".join(warnings(whole))


@pytest.mark.slow
def test_processes_make_the_same_sweep():
    alone, pool = MemoryStore(), MemoryStore()
    play(request(), alone)
    play(request(), pool, jobs=2)
    assert rows(pool) == rows(alone)


def test_played_again_a_sweep_adds_nothing_and_plays_nothing():
    store = MemoryStore()
    first = play(request(), store)
    before = rows(store)
    again = play(request(), store)
    assert (first.played, first.stored_before) == (10, 0)
    assert (again.played, again.stored_before) == (0, 10)
    assert rows(store) == before
    assert store.calls.count("finish_many") == 1


def test_many_members_are_written_by_one_call():
    store = MemoryStore()
    play(request(), store)
    assert store.calls == ["done", "finish_many"]


def test_old_results_do_not_wait_for_a_full_batch():
    store, hours = MemoryStore(), iter(range(10_000))

    def now():
        return NOW + timedelta(hours=next(hours))

    sweeps.sweep(request(), market(), store, Interpreter(), now=now)
    assert store.calls.count("finish_many") == 10


@pytest.mark.parametrize(("tasks", "calls"), [(1, [1] * 60), (3, [3] * 20), (1_000, [30] * 2)])
def test_of_many_tasks_each_writes_more_rarely_but_not_for_ever(tasks, calls):
    """A member a minute: alone every one, of three tasks every third, of 1,000 every 30th."""
    written, at = [], NOW
    store = SimpleNamespace(finish_many=lambda results: written.append(len(results)))
    batch = sweeps._Batch(store, lambda: at, tasks)
    for _ in range(60):
        at += timedelta(minutes=1)
        batch.add(SimpleNamespace(tables={}))
    assert written == calls


def test_run_ids_follow_from_parameters_data_money_and_code(monkeypatch):
    def ids(**changes):
        return set(play(request("period=3,4", **changes), MemoryStore()).members)

    base = ids(id="mine")
    assert all(run_id.startswith("mine-") for run_id in base)
    assert ids(id="mine") == base
    assert not ids(id="other") & base
    assert not ids(id="mine", keep="all") & base
    assert not set(play(request("period=3,4", id="mine"), MemoryStore(), bars=299).members) & base
    monkeypatch.setattr(sweeps, "code_hash", lambda: "another")
    assert not ids(id="mine") & base


def test_the_sweeps_own_id_follows_from_the_question():
    def sweep_id(*params, **changes):
        return play(request(*params, **changes), MemoryStore()).sweep_id

    assert sweep_id("period=3,4") == sweep_id("period=3:4:1") != sweep_id("period=3,5")
    assert sweep_id("period=3,4", tasks=2) == sweep_id("period=3,4")
    assert sweep_id("period=3,4", keep="all") != sweep_id("period=3,4")


def test_equal_sets_are_one_member():
    assert len(play(request("period=3,03,3"), MemoryStore()).members) == 1


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_member_that_fails_is_recorded_and_the_others_go_on(moody, jobs):
    store = MemoryStore()
    swept = play(request("mood=good,bad,exit,fine", strategy=moody), store, jobs=jobs)
    assert sorted(swept.failed.values()) == ["SystemExit: 0", "ZeroDivisionError: no more"]
    status = {r.run["parameters"]["mood"]: r.run["status"] for r in store.results.values()}
    assert status == {"good": "done", "bad": "failed", "exit": "failed", "fine": "done"}
    failed = [r for r in store.results.values() if r.run["status"] == "failed"]
    assert {t.num_rows for r in failed for t in r.tables.values()} == {0}
    assert {r.run["error"] for r in failed} == set(swept.failed.values())


def test_a_failed_member_is_played_again(moody):
    store = MemoryStore()
    play(request("mood=good,bad", strategy=moody), store)
    again = play(request("mood=good,bad", strategy=moody), store)
    assert (again.played, again.stored_before, len(again.failed)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("mood", "error"), [("ctrl-c", KeyboardInterrupt), ("asked to end", SystemExit)]
)
def test_an_interruption_stores_what_was_played_and_no_half_member(moody, mood, error):
    store = MemoryStore()
    with pytest.raises(error) as caught:
        play(request(f"mood=good,fine,{mood},well", strategy=moody), store)
    assert error is KeyboardInterrupt or caught.value.code == TERMINATED
    stored = {r.run["parameters"]["mood"]: r.run["status"] for r in store.results.values()}
    assert stored == {"good": "done", "fine": "done"}


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_members_and_a_clear_error(moody):
    store = MemoryStore()
    with pytest.raises(RunFailedError, match="was killed"):
        play(request("mood=good,killed,fine,well", strategy=moody), store, jobs=2)
    assert {r.run["status"] for r in store.results.values()} <= {"done"}
    assert "killed" not in {r.run["parameters"]["mood"] for r in store.results.values()}


def test_a_strategy_file_changed_while_it_runs_is_refused(moody):
    loaded = load_strategy(moody)
    assert pickle.loads(pickle.dumps(loaded)).parameters == {"mood": "good"}
    sent = pickle.dumps(loaded)
    Path(moody).write_text(MOODY + "\n# another\n")
    loading._class_of.cache_clear()
    with pytest.raises(DataError, match="was changed while it ran"):
        pickle.loads(sent)


def test_progress_counts_this_tasks_members_from_those_stored_before():
    store, told = MemoryStore(), []
    play(request(task=0, tasks=2), store)
    play(request(), store, progress=lambda done, of: told.append((done, of)))
    assert told == [(n, 10) for n in range(5, 11)]


def test_a_store_that_does_not_answer_ends_the_sweep():
    store = MemoryStore({"finish_many": NotReadyError("BigQuery does not answer.")})
    with pytest.raises(NotReadyError):
        play(request(), store)


@pytest.mark.parametrize(("task", "tasks"), [(2, 2), (-1, 2)])
def test_a_task_outside_its_count_is_refused(task, tasks):
    with pytest.raises(ConfigError, match="no task"):
        request(task=task, tasks=tasks)


def test_a_set_that_does_not_fit_is_refused_before_anything_is_played():
    store = MemoryStore()
    with pytest.raises(ConfigError, match="period of sma_reversal must be int"):
        play(request("period=3,x"), store)
    with pytest.raises(ConfigError, match="no parameter 'perod'"):
        play(request("perod=3"), store)
    assert store.calls == []


def member(number, status="done", **changes):
    row = {
        "run_id": f"s-{number}", "status": status, "parameters": {"period": number, "same": 1},
        "account_currency": "USD", "data_snapshot": "d", "git_sha": "c",
    }  # fmt: skip
    return {**row, **changes}


def figure(sharpe, **changes):
    row = {
        "sharpe": sharpe, "net_pnl": sharpe, "total_return": 0.1, "max_drawdown_fraction": 0.2,
        "trades_closed": 9, "return_days": 1000, "return_skewness": 0.0, "return_kurtosis": 3.0,
    }  # fmt: skip
    return {**row, **changes}


def test_the_best_come_first_with_what_varied_and_how_much_is_chance():
    members = [member(n) for n in range(50)]
    figures = {f"s-{n}": figure(n / 50) for n in range(50)}
    found = rank(members, figures, "sharpe", top=3)
    assert [row["run_id"] for row in found.table.records()] == ["s-49", "s-48", "s-47"]
    assert [c.key for c in found.table.columns][:3] == ["run_id", "period", "sharpe"]
    assert found.trials == 50
    assert found.expected_sharpe == pytest.approx(0.65, abs=0.05)  # deviation 0.29 times 2.25
    assert 0.5 < found.deflated_sharpe < 0.9
    assert "best of 50 trials" in found.warnings[0]


def test_a_drawdown_is_better_when_smaller_and_a_missing_figure_comes_last():
    figures = {
        "s-0": figure(1.0, max_drawdown_fraction=0.5),
        "s-1": figure(0.5, max_drawdown_fraction=0.1),
        "s-2": figure(0.7, max_drawdown_fraction=None),
    }
    found = rank([member(n) for n in range(3)], figures, "max_drawdown_fraction")
    assert [row["run_id"] for row in found.table.records()] == ["s-1", "s-0", "s-2"]


def test_failed_members_and_different_data_are_said():
    members = [member(0), member(1, data_snapshot="e"), member(2, "failed")]
    found = rank(members, {"s-0": figure(1.0), "s-1": figure(None)}, "sharpe")
    assert any("different bars" in line for line in found.warnings)
    assert any("1 members failed" in line for line in found.warnings)
    assert found.table.rows[-1][0] == "s-1"


def test_a_sweep_with_nothing_done_has_an_empty_ranking():
    found = rank([], {}, "sharpe")
    assert (found.trials, found.table.rows, found.warnings) == (0, (), ())
    with pytest.raises(ConfigError, match="'luck'"):
        rank([], {}, "luck")
