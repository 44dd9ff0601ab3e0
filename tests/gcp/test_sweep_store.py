"""Many runs in one write: whole, once, whoever writes them and wherever the writer dies."""

import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.desk import Desk
from mbats.errors import DataError
from tests.backtest.memory import MemoryStore
from tests.gcp import samples
from tests.gcp.sweeping import small_sweep

pytestmark = pytest.mark.emulators

CHECKOUT = Path(__file__).parents[2]
CLOCK = ("started_at", "ended_at", "host", "deadline_at")


@pytest.fixture
def sweep_id(instrument):
    return f"sweep-{instrument}"


def member(sweep_id, number, status="done", **changes):
    run = samples.run(
        f"{sweep_id}-{number}", kind="sweep", parent_run_id=sweep_id, status=status,
        ending_value=Decimal(number), **changes,
    )  # fmt: skip
    tables = samples.result_tables(run["run_id"])
    if status == "failed":
        tables = {name: table.slice(0, 0) for name, table in tables.items()}
    return RunResult(run, tables)


def stored(desk, sweep_id):
    """What the store holds of a sweep, by run id: its row without when it was played, its rows."""
    runs = {
        row["run_id"]: {name: value for name, value in row.items() if name not in CLOCK}
        for row in desk.risk_store.members(sweep_id)
    }
    found = {run_id: (run, {name: [] for name in RESULT_TABLES}) for run_id, run in runs.items()}
    for name in RESULT_TABLES:
        target = desk.warehouse.target(schemas.table("risk", name))
        sql = f"SELECT * FROM `{target}` WHERE STARTS_WITH(`run_id`, @sweep_id)"
        for row in desk.warehouse.query(sql, {"sweep_id": sweep_id}):
            found[row["run_id"]][1][name].append(row)
    return {run_id: (run, ordered(tables)) for run_id, (run, tables) in found.items()}


def ordered(tables):
    key = {name: schemas.table("risk", name).primary_key for name in tables}
    return {
        name: sorted(rows, key=lambda row, name=name: [str(row[k]) for k in key[name]])
        for name, rows in tables.items()
    }


def expected(sweep_id):
    """What an undisturbed sweep makes, from memory."""
    store = MemoryStore()
    small_sweep(type("Memory", (), {"risk_store": store}), sweep_id)
    return {
        run_id: ordered({name: table.to_pylist() for name, table in result.tables.items()})
        for run_id, result in store.results.items()
    }


def kill_in(module, desk, sweep_id, after, whole):
    """Run a module that dies after so many requests; what it leaves must be whole runs or none."""
    done = subprocess.run(
        [sys.executable, "-m", module, desk.settings.model_dump_json(), sweep_id, str(after)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    for run_id, (run, tables) in stored(desk, sweep_id).items():
        rows = sum(map(len, tables.values()))
        assert run["status"] in ("done", "running", "failed")
        assert (tables == whole[run_id]) if run["status"] == "done" else rows == 0


def test_many_runs_are_read_as_they_were_written(desk, sweep_id):
    results = [member(sweep_id, 1), member(sweep_id, 2, "failed", error="x"), member(sweep_id, 3)]
    desk.risk_store.finish_many(results)
    rows = {row["run_id"]: row for row in desk.risk_store.members(sweep_id)}
    assert [row["status"] for row in rows.values()] == ["done", "failed", "done"]
    assert rows[f"{sweep_id}-2"]["error"] == "x"
    for result in results:
        found = desk.risk_store.load(result.run["run_id"])
        for name, table in result.tables.items():
            assert found.tables[name].equals(table), name


def test_written_twice_or_overlapping_each_run_is_there_once(desk, sweep_id):
    store = desk.risk_store
    store.finish_many([member(sweep_id, 1), member(sweep_id, 2)])
    first = stored(desk, sweep_id)
    store.finish_many([member(sweep_id, 1), member(sweep_id, 2)])
    assert stored(desk, sweep_id) == first
    store.finish_many([member(sweep_id, 2), member(sweep_id, 3)])
    assert stored(desk, sweep_id).keys() == {f"{sweep_id}-{n}" for n in (1, 2, 3)}
    assert first.items() <= stored(desk, sweep_id).items()


def test_a_failed_run_may_come_out_well_later_and_then_stays(desk, sweep_id):
    store = desk.risk_store
    store.finish_many([member(sweep_id, 1, "failed", error="no memory")])
    store.finish_many([member(sweep_id, 1)])
    store.finish_many([member(sweep_id, 1, "failed", error="no memory")])
    run = store.load(f"{sweep_id}-1").run
    assert (run["status"], run["error"]) == ("done", None)


def test_a_bad_row_in_one_run_stores_none(desk, sweep_id):
    bad = member(sweep_id, 2)
    tables = {**bad.tables, "trade": samples.result_tables("alien")["trade"]}
    with pytest.raises(DataError, match="alien"):
        desk.risk_store.finish_many([member(sweep_id, 1), RunResult(bad.run, tables)])
    assert stored(desk, sweep_id) == {}


def test_members_are_not_listed_among_the_runs(desk, sweep_id):
    desk.risk_store.finish_many([member(sweep_id, 1)])
    assert sweep_id not in {run["parent_run_id"] for run in desk.risk_store.runs(limit=1000)}


def test_the_same_sweep_in_two_tasks_at_once_is_there_once(desk, sweep_id):
    errors = []

    def work():
        try:
            with Desk(desk.settings) as own:
                small_sweep(own, sweep_id)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = stored(desk, sweep_id)
    assert {run_id: tables for run_id, (_, tables) in found.items()} == expected(sweep_id)


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 20, 35, 60])
def test_a_sweep_killed_anywhere_and_run_again_equals_an_undisturbed_one(desk, sweep_id, after):
    whole = expected(sweep_id)
    kill_in("tests.gcp.sweeping", desk, sweep_id, after, whole)
    small_sweep(desk, sweep_id)
    found = stored(desk, sweep_id)
    assert {run["status"] for run, _ in found.values()} == {"done"}
    assert {run_id: tables for run_id, (_, tables) in found.items()} == whole
