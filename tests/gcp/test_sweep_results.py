"""A sweep in tasks over the emulators: what a task leaves, who gathers it, and who dies when."""

from types import SimpleNamespace

import pytest

from mbats.backtest import sweep as sweeps
from mbats.backtest.executor import Interpreter
from mbats.backtest.result import RESULT_TABLES
from mbats.desk.sweeps import gather, play
from mbats.errors import DataError
from mbats.gcp.sweep_results import TaskResults, TasksResults, packed, unpacked
from tests.backtest.memory import MemoryStore
from tests.backtest.sweeping import NOW, market, request
from tests.gcp.gathering import TASKS, task_of
from tests.gcp.test_sweep_store import expected, kill_in, member, stored

pytestmark = pytest.mark.emulators


def test_a_file_of_results_holds_what_was_put_in():
    results = [member("s", 1), member("s", 2, "failed", error="x"), member("s", 3)]
    for before, after in zip(results, unpacked(packed(results)), strict=True):
        assert {name: after.run[name] for name in before.run} == before.run
        for name in RESULT_TABLES:
            assert after.tables[name].equals(before.tables[name]), name
            assert after.tables[name].schema.equals(before.tables[name].schema), name


@pytest.fixture
def sweep_id(instrument):
    return f"tasks-{instrument}"


def names(desk, sweep_id):
    return [each.name for each in desk.objects.list("data", f"sweeps/{sweep_id}/")]


def tables_of(desk, sweep_id):
    return {run_id: tables for run_id, (_, tables) in stored(desk, sweep_id).items()}


def test_tasks_write_no_table_and_one_gathering_stores_the_sweep(desk, sweep_id):
    for task in range(TASKS):
        task_of(desk, sweep_id, task)
    assert stored(desk, sweep_id) == {}
    assert len(names(desk, sweep_id)) == 2 * TASKS  # what it says, and its one batch
    gathered = gather(desk, request("period=3:10:1", id=sweep_id, tasks=TASKS))
    assert (gathered.stored, gathered.lost, gathered.missing) == (8, [], [])
    assert tables_of(desk, sweep_id) == expected(sweep_id)


def test_gathered_twice_and_played_again_nothing_changes(desk, sweep_id):
    for task in range(TASKS):
        task_of(desk, sweep_id, task)
    asked = request("period=3:10:1", id=sweep_id, tasks=TASKS)
    gather(desk, asked)
    before = stored(desk, sweep_id)
    assert gather(desk, asked).stored == 0
    assert [task_of(desk, sweep_id, task).played for task in range(TASKS)] == [0] * TASKS
    assert gather(desk, asked).missing == []
    assert stored(desk, sweep_id) == before


def test_a_failed_member_gathered_twice_is_written_once(desk, sweep_id):
    left = TaskResults(desk.objects, desk.risk_store, sweep_id, 0, 1)
    failed = member(sweep_id, 1, "failed", error="x")
    left.finish_many([failed])
    share = [failed.run["run_id"]]
    left.end(sweeps.Swept(sweep_id, share, 1, 0, 1, {share[0]: "x"}), share)
    asked = request(id=sweep_id)
    found = []
    for _ in range(2):
        assert gather(desk, asked).failed == {share[0]: "x"}
        found.append(desk.risk_store.members(sweep_id))
    assert found[0] == found[1]
    assert found[0][0]["status"] == "failed"


def test_a_retried_task_goes_on_where_its_first_attempt_was_broken_off(desk, sweep_id, monkeypatch):
    monkeypatch.setattr(sweeps, "BATCH_MEMBERS", 1)  # times the tasks: two writes of a task
    with pytest.raises(SystemExit):
        task_of(desk, sweep_id, 0, of=2, executor=Dying(after=3))
    left = names(desk, sweep_id)
    again = task_of(desk, sweep_id, 0, of=2)
    assert (again.share, again.stored_before, again.played) == (4, 3, 1)
    assert set(left) < set(names(desk, sweep_id))
    task_of(desk, sweep_id, 1, of=2)
    assert gather(desk, request("period=3:10:1", id=sweep_id, tasks=2)).lost == []
    assert tables_of(desk, sweep_id) == expected(sweep_id)


class Dying:
    """Plays as the interpreter does, and is asked to end after so many members."""

    def __init__(self, after):
        self._after = after

    def play(self, members, inputs, now):
        yield from Interpreter().play(members[: self._after], inputs, now)
        raise SystemExit(143)


def test_a_batch_written_again_takes_its_own_place(desk, sweep_id):
    left = TaskResults(desk.objects, desk.risk_store, sweep_id, 3, 5)
    for _ in range(2):
        left.finish_many([member(sweep_id, 1), member(sweep_id, 2)])
    (name,) = names(desk, sweep_id)
    assert name.startswith(f"sweeps/{sweep_id}/00003-of-00005/")


def test_a_task_that_began_again_has_not_ended(desk, sweep_id):
    task_of(desk, sweep_id, 0, of=1)
    TaskResults(desk.objects, desk.risk_store, sweep_id, 0, 1).begin()
    assert gather(desk, request("period=3:10:1", id=sweep_id)).lost == [0]


def test_a_sweep_of_one_task_stores_itself_and_can_be_gathered(desk, sweep_id):
    assert gather(desk, request("period=3:10:1", id=sweep_id)).lost == [0]
    task_of(desk, sweep_id, 0, of=1)
    assert tables_of(desk, sweep_id) == expected(sweep_id)
    gathered = gather(desk, request("period=3:10:1", id=sweep_id))
    assert (gathered.stored, gathered.stored_before, gathered.lost) == (0, 8, [])


def test_a_damaged_object_is_named_with_the_mend(desk, sweep_id):
    desk.objects.write("data", f"sweeps/{sweep_id}/00000-of-00001/a.parquet", b"PAR1 no")
    with pytest.raises(DataError, match=r"00000-of-00001/a.parquet cannot be read") as error:
        list(TasksResults(desk.objects).results(sweep_id, ()))
    assert "remove it" in error.value.mend


def test_the_results_of_another_sweep_are_not_taken(desk, sweep_id):
    task_of(desk, f"{sweep_id}-longer", 0, of=1)
    task_of(desk, f"{sweep_id}/deeper", 0, of=2)
    assert TasksResults(desk.objects).ended(sweep_id) == []


def test_one_of_many_tasks_changes_no_table():
    store, kept = MemoryStore(), {}
    objects = SimpleNamespace(
        list=lambda bucket, prefix: [],
        write=lambda bucket, name, content, content_type: kept.update({name: content}),
    )
    desk = SimpleNamespace(security_master=market(), risk_store=store, objects=objects)
    asked = request(id="s", task=7, tasks=10_000)
    assert play(desk, asked, Interpreter(), now=lambda: NOW).share == 1
    assert store.calls == ["done"]
    assert len(kept) == 2


@pytest.mark.slow
@pytest.mark.parametrize("after", [8, 20, 30, 45, 60])
def test_a_gathering_killed_anywhere_and_done_again_stores_the_sweep_once(desk, sweep_id, after):
    for task in range(TASKS):
        task_of(desk, sweep_id, task)
    whole = expected(sweep_id)
    kill_in("tests.gcp.gathering", desk, sweep_id, after, whole)
    gathered = gather(desk, request("period=3:10:1", id=sweep_id, tasks=TASKS))
    assert (gathered.lost, gathered.missing, gathered.failed) == ([], [], {})
    found = stored(desk, sweep_id)
    assert {run["status"] for run, _ in found.values()} == {"done"}
    assert {run_id: tables for run_id, (_, tables) in found.items()} == whole
