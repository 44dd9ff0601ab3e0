import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.errors import DataError, RefusedError
from mbats.gcp.risk_store import RiskStore, abandoned, this_process
from tests.gcp import samples


@pytest.fixture
def run_id(instrument, request):
    return f"{request.node.name[-20:]}-{instrument}"


def result(run_id, **changes):
    run = samples.run(run_id, ending_value=Decimal("101000.5"), **changes)
    return RunResult(run, samples.result_tables(run_id))


def gone_process():
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def row(**changes):
    return {
        "host": this_process(),
        "deadline_at": samples.BEGIN + timedelta(days=9999),
        "started_at": samples.BEGIN + timedelta(days=9998),
        **changes,
    }


def test_a_living_process_within_its_deadline_is_not_abandoned():
    assert abandoned(row(), samples.BEGIN) == ""


def test_a_deadline_that_passed_is_abandoned():
    assert "deadline" in abandoned(row(deadline_at=samples.BEGIN), samples.BEGIN + timedelta(1))


def test_a_process_that_is_gone_is_abandoned():
    host = this_process().rpartition(":")[0]
    assert "is gone" in abandoned(row(host=f"{host}:{gone_process()}"), samples.BEGIN)


def test_a_number_that_another_process_has_now_is_abandoned():
    assert "is gone" in abandoned(row(started_at=samples.BEGIN), samples.BEGIN)


@pytest.mark.parametrize("host", ["elsewhere:self", "elsewhere:1", "localhost:1", "", None])
def test_a_process_elsewhere_is_judged_by_its_deadline_alone(host):
    if host:
        host = host.replace("self", str(os.getpid()))  # a number that is somebody's here
    assert abandoned(row(host=host), samples.BEGIN) == ""


def test_a_cloud_run_task_is_named_by_its_execution(monkeypatch):
    monkeypatch.setenv("CLOUD_RUN_EXECUTION", "backtest-abc")
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "7")
    assert this_process() == f"backtest-abc/7:{os.getpid()}"


@pytest.mark.emulators
def test_a_finished_run_is_read_as_it_was_written(desk, run_id):
    store = desk.risk_store
    store.start(samples.run(run_id, started_at=datetime.now(UTC)))
    assert store.load(run_id).run["status"] == "running"
    store.finish(result(run_id))
    found = store.load(run_id)
    assert found.run["status"] == "done"
    assert found.run["parameters"] == samples.run(run_id)["parameters"]
    assert found.run["instruments"] == ["EUR_USD", "GBP_USD"]
    assert found.run["ending_value"] == Decimal("101000.5")
    assert found.run["ended_at"] is not None
    for name, table in samples.result_tables(run_id).items():
        assert found.tables[name].equals(table), name


@pytest.mark.emulators
def test_finishing_twice_stores_once_and_other_results_are_refused(desk, run_id):
    store = desk.risk_store
    store.start(samples.run(run_id))
    store.finish(result(run_id))
    store.finish(result(run_id))
    assert store.load(run_id).tables["trade"].num_rows == 3
    other = result(run_id)
    other = RunResult(other.run, {**other.tables, "trade": other.tables["trade"].slice(1)})
    with pytest.raises(RefusedError, match="done with other results"):
        store.finish(other)
    with pytest.raises(RefusedError, match="already"):
        store.start(samples.run(run_id))


@pytest.mark.emulators
def test_a_run_without_trades_is_a_result_too(desk, run_id):
    store = desk.risk_store
    store.start(samples.run(run_id))
    empty = {name: t.slice(0, 0) for name, t in samples.result_tables(run_id).items()}
    store.finish(RunResult(samples.run(run_id), empty))
    found = store.load(run_id)
    assert found.run["status"] == "done"
    assert {t.num_rows for t in found.tables.values()} == {0}


@pytest.mark.emulators
def test_a_bad_row_in_one_table_stores_no_table(desk, run_id):
    store = desk.risk_store
    store.start(samples.run(run_id, started_at=datetime.now(UTC)))
    good = result(run_id)
    equity = good.tables["equity"]
    bad = {
        **good.tables,
        "equity": pa.concat_tables([equity, equity.slice(0, 1)]).drop_columns(["balance"]),
    }
    with pytest.raises(DataError, match=r"risk\.equity.*balance"):
        store.finish(RunResult(good.run, bad))
    alien = {**good.tables, "trade": samples.result_tables("another")["trade"]}
    with pytest.raises(DataError, match=r"risk\.trade.*another"):
        store.finish(RunResult(good.run, alien))
    found = store.load(run_id)
    assert found.run["status"] == "running"
    assert {t.num_rows for t in found.tables.values()} == {0}


@pytest.mark.emulators
def test_a_failed_run_keeps_its_reason_and_cannot_finish(desk, run_id):
    store = desk.risk_store
    store.start(samples.run(run_id))
    store.fail(run_id, "ZeroDivisionError: \"quoted\" 'twice'")
    store.fail(run_id, "a second reason")
    run = store.load(run_id).run
    assert (run["status"], run["error"]) == ("failed", "ZeroDivisionError: \"quoted\" 'twice'")
    with pytest.raises(RefusedError, match="it is failed"):
        store.finish(result(run_id))
    assert {t.num_rows for t in store.load(run_id).tables.values()} == {0}


@pytest.mark.emulators
def test_abandoned_runs_are_failed_with_the_reason_and_may_still_finish(desk, run_id):
    store = desk.risk_store
    host = this_process().rpartition(":")[0]
    store.start(samples.run(f"{run_id}-dead", host=f"{host}:{gone_process()}"))
    store.start(samples.run(f"{run_id}-late", host="elsewhere:1", deadline_at=samples.BEGIN))
    later = samples.BEGIN + timedelta(days=9999)
    store.start(samples.run(f"{run_id}-well", host="elsewhere:1", deadline_at=later))
    found = {r["run_id"]: r for r in store.runs() if r["run_id"].startswith(run_id)}
    states = {key.rpartition("-")[2]: run["status"] for key, run in found.items()}
    assert states == {"dead": "failed", "late": "failed", "well": "running"}
    assert "is gone" in found[f"{run_id}-dead"]["error"]
    assert "deadline" in found[f"{run_id}-late"]["error"]
    store.finish(result(f"{run_id}-late"))
    run = store.load(f"{run_id}-late").run
    assert (run["status"], run["error"]) == ("done", None)


@pytest.mark.emulators
def test_the_newest_runs_come_first_and_a_prefix_must_be_unambiguous(desk, run_id):
    store = desk.risk_store
    for number in range(3):
        begin = samples.BEGIN + timedelta(days=5000, seconds=number)
        store.start(samples.run(f"{run_id}-{number}", started_at=begin))
    mine = [r["run_id"] for r in store.runs(limit=3)]
    assert mine == [f"{run_id}-2", f"{run_id}-1", f"{run_id}-0"]
    with pytest.raises(DataError, match="beginning of several runs") as caught:
        store.load(run_id)
    assert len(caught.value.tried) == 3
    assert caught.value.tried[0].startswith(f"{run_id}-2 (sma_reversal, ")
    with pytest.raises(DataError, match="no run 'nothing-like-it'"):
        store.load("nothing-like-it")


@pytest.mark.emulators
def test_a_full_run_id_wins_over_a_longer_one(desk, run_id):
    store = RiskStore(desk.warehouse)
    for name in (run_id, f"{run_id}-longer"):
        store.start(samples.run(name))
    assert store.load(run_id).run["run_id"] == run_id


def test_every_result_table_has_sample_rows():
    assert {t.num_rows for t in samples.result_tables("r").values()} == {3}
    assert set(samples.result_tables("r")) == set(RESULT_TABLES)
