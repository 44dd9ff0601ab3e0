"""What tasks left, brought together: once, whole, and with what is lost named."""

from datetime import timedelta

import pytest

from mbats.backtest import gathering
from mbats.backtest.gathering import Ended, gather, ranges
from mbats.backtest.result import RunResult
from mbats.errors import NotReadyError
from tests.backtest.memory import MemoryStore
from tests.backtest.sweeping import NOW, play, request
from tests.backtest.test_sweep import MOODY, rows

SWEEP = "mine"


class Left:
    """What tasks left, in memory."""

    def __init__(self):
        self.objects, self.said = [], {}

    def ended(self, sweep_id):
        return [said for said in self.said.values() if said]

    def results(self, sweep_id, done):
        for results in self.objects:
            if any(result.run["run_id"] not in done for result in results):
                yield results


def play_task(left, task, tasks, *params, dies=False, at=NOW, sweep="all", **changes):
    """Play a task as one that leaves its results; one that ``dies`` does not come to its end."""
    store = MemoryStore()
    asked = request(*params, id=SWEEP, task=task, tasks=tasks, **changes)
    swept = play(asked, store)
    left.objects.append(list(store.results.values()))
    if not dies:
        share = asked.share_of(swept.members)
        left.said[task, tasks] = Ended(task, tasks, sweep, share, swept.failed, at)


def whole(*params, **changes):
    store = MemoryStore()
    play(request(*params, id=SWEEP, **changes), store)
    return rows(store)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def left():
    return Left()


def test_tasks_and_one_gathering_make_what_one_task_makes_by_itself(left, store):
    for task in range(3):
        play_task(left, task, 3)
    gathered = gather(SWEEP, 3, left, store)
    assert rows(store) == whole()
    assert (gathered.members, gathered.stored, gathered.stored_before) == (10, 10, 0)
    assert (gathered.lost, gathered.missing, gathered.failed) == ([], [], {})
    assert store.calls.count("finish_many") == 1


def test_gathered_twice_nothing_is_written_again(left, store):
    for task in range(3):
        play_task(left, task, 3)
    gather(SWEEP, 3, left, store)
    gathered = gather(SWEEP, 3, left, store)
    assert (gathered.members, gathered.stored, gathered.stored_before) == (10, 0, 10)
    assert gathered.missing == gathered.lost == []
    assert store.calls.count("finish_many") == 1


def test_more_tasks_than_sets_are_all_there_and_some_have_nothing(left, store):
    for task in range(12):
        play_task(left, task, 12)
    gathered = gather(SWEEP, 12, left, store)
    assert rows(store) == whole()
    assert (gathered.members, gathered.lost) == (10, [])


def test_a_lost_task_is_named_and_what_the_others_left_is_stored(left, store):
    for task in (0, 2):
        play_task(left, task, 4)
    play_task(left, 3, 4, dies=True)
    gathered = gather(SWEEP, 4, left, store)
    assert gathered.lost == [1, 3]
    assert (len(store.results), gathered.members) == (7, 5)  # a dying task's results are kept
    assert rows(store).items() <= whole().items()
    for task in (1, 3):
        play_task(left, task, 4)
    assert gather(SWEEP, 4, left, store).lost == []
    assert rows(store) == whole()


def test_a_retried_task_leaves_its_members_once(left, store):
    play_task(left, 0, 2, dies=True)
    play_task(left, 0, 2)
    play_task(left, 1, 2)
    gathered = gather(SWEEP, 2, left, store)
    assert (gathered.stored, gathered.lost) == (10, [])
    assert rows(store) == whole()


def test_results_that_are_gone_are_missing(left, store):
    play_task(left, 0, 2)
    play_task(left, 1, 2)
    gone = left.objects.pop()
    gathered = gather(SWEEP, 2, left, store)
    assert gathered.missing == sorted(result.run["run_id"] for result in gone)
    assert (gathered.stored, gathered.lost) == (5, [])


def test_a_task_of_other_code_or_data_than_the_last_counts_as_lost(left, store):
    play_task(left, 0, 3, sweep="old")
    play_task(left, 1, 3, sweep="new", at=NOW + timedelta(minutes=1))
    play_task(left, 2, 3, sweep="old")
    assert gather(SWEEP, 3, left, store).lost == [0, 2]


def test_another_number_of_tasks_is_told(left, store):
    play_task(left, 0, 1)
    gathered = gather(SWEEP, 3, left, store)
    assert (gathered.lost, gathered.other_counts) == ([0, 1, 2], [1])
    assert gathered.stored == 10


@pytest.fixture
def moody(tmp_path):
    file = tmp_path / "moody.py"
    file.write_text(MOODY)
    return str(file)


def test_a_failed_member_is_stored_as_failed_and_told(left, store, moody):
    for task in range(2):
        play_task(left, task, 2, "mood=good,bad,fine", strategy=moody)
    for _ in range(2):
        gathered = gather(SWEEP, 2, left, store)
        assert list(gathered.failed.values()) == ["ZeroDivisionError: no more"]
        assert gathered.missing == []
    statuses = sorted(result.run["status"] for result in store.results.values())
    assert statuses == ["done", "done", "failed"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_attempts_the_one_that_came_out_well_stands(left, store, order):
    play_task(left, 0, 1, "period=3")
    (well,) = left.objects[0]
    bad = RunResult({**well.run, "status": "failed", "error": "no memory"}, well.tables)
    left.objects = [[bad], [well]][::order]
    assert gather(SWEEP, 1, left, store).failed == {}
    assert [result.run["status"] for result in store.results.values()] == ["done"]


def test_broken_off_between_two_writes_it_is_gathered_again(left, monkeypatch):
    monkeypatch.setattr(gathering, "GATHERED_MEMBERS", 4)
    for task in range(5):
        play_task(left, task, 5)
    store = Breaking(after=1)
    with pytest.raises(NotReadyError):
        gather(SWEEP, 5, left, store)
    assert len(store.results) == 4
    store.after = 99
    gathered = gather(SWEEP, 5, left, store)
    assert (gathered.stored, gathered.stored_before) == (6, 4)
    assert rows(store) == whole()


def test_many_rows_are_not_held_until_many_members_are_there(left, store, monkeypatch):
    for task in range(2):
        play_task(left, task, 2, keep="all")
    most = sum(t.num_rows for result in left.objects[0] for t in result.tables.values())
    monkeypatch.setattr(gathering, "BATCH_ROWS", most)
    gather(SWEEP, 2, left, store)
    assert store.calls.count("finish_many") == 2
    assert rows(store) == whole(keep="all")


class Breaking(MemoryStore):
    """A store that does not answer any more ``after`` so many writes."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def finish_many(self, results):
        if self.calls.count("finish_many") == self.after:
            raise NotReadyError("BigQuery does not answer.")
        super().finish_many(results)


@pytest.mark.parametrize(
    ("numbers", "told"), [([], []), ([3], ["3"]), ([0, 1, 2, 7, 9, 10], ["0-2", "7", "9-10"])]
)
def test_numbers_are_told_in_few_words(numbers, told):
    assert ranges(numbers) == told
