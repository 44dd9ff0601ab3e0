"""A sweep in many tasks, brought together: its tasks leave their results, one writer stores them.

Tasks that wrote to the risk store themselves would stand in each other's way there. So each leaves
what it played where nobody else writes, and says that it has ended; who gathers reads everything
and stores it in few, large writes. Gathered twice, or broken off and gathered again, a sweep is
stored once. A task that has not ended is named; what it left is stored all the same.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mbats.backtest.result import RunResult
from mbats.backtest.sweep import BATCH_ROWS, SweepStore

GATHERED_MEMBERS = 20_000
"""The most members of one write: their run ids go with it, and a request holds 10 MB."""


@dataclass(frozen=True)
class Ended:
    """What a task said at its end, at ``at``: its number of how many, its members' run ids, and
    the error of each that failed.

    ``sweep`` stands for the members of all tasks together: tasks that ran on other code or data
    than each other differ in it.
    """

    task: int
    tasks: int
    sweep: str
    members: Sequence[str]
    failed: Mapping[str, str]
    at: datetime


class LeftResults(Protocol):
    """What the tasks of a sweep have left behind."""

    def ended(self, sweep_id: str) -> Sequence[Ended]:
        """Return what each task said that has ended and not begun again."""
        ...

    def results(self, sweep_id: str, done: Collection[str]) -> Iterator[Sequence[RunResult]]:
        """Yield what tasks left of runs that are not ``done``, and of others left with them."""
        ...


@dataclass(frozen=True)
class Gathered:
    """What was gathered of a sweep. ``members`` counts those of the tasks that have ended.

    ``lost`` are the tasks that have not, or have on other code or data than the latest;
    ``missing`` the members of ended tasks that nobody left; ``other_counts`` what else than
    ``tasks`` the results that are there were shared out over.
    """

    sweep_id: str
    tasks: int
    members: int
    stored: int
    stored_before: int
    failed: Mapping[str, str]
    lost: Sequence[int]
    missing: Sequence[str]
    other_counts: Sequence[int]


def gather(sweep_id: str, tasks: int, left: LeftResults, store: SweepStore) -> Gathered:
    """Store what the ``tasks`` tasks of a sweep left, and return what is there and what is not."""
    ended = left.ended(sweep_id)
    before = set(store.done(sweep_id))
    errors = _store_all(left.results(sweep_id, before), before, store)
    after = set(store.done(sweep_id))
    latest = _latest([each for each in ended if each.tasks == tasks])
    members = {run_id for each in latest for run_id in each.members}
    for each in latest:
        errors |= each.failed
    failed = {run_id: error for run_id, error in errors.items() if run_id not in after}
    return Gathered(
        sweep_id=sweep_id,
        tasks=tasks,
        members=len(members),
        stored=len(after - before),
        stored_before=len(before),
        failed=failed,
        lost=sorted(set(range(tasks)) - {each.task for each in latest}),
        missing=sorted(members - after - failed.keys()),
        other_counts=sorted({each.tasks for each in ended} - {tasks}),
    )


def ranges(numbers: Iterable[int]) -> list[str]:
    """Return ascending numbers in few words: 3, 5-9, 12."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in spans]


def _latest(ended: Sequence[Ended]) -> list[Ended]:
    """Return those that agree with the last of all on what the sweep's members are."""
    if not ended:
        return []
    newest = max(ended, key=lambda each: each.at).sweep
    return [each for each in ended if each.sweep == newest]


def _store_all(
    left: Iterable[Sequence[RunResult]], done: Iterable[str], store: SweepStore
) -> dict[str, str]:
    """Store the results whose runs are not in ``done``; return the error of each that failed.

    Two attempts of one task may both have left a run: one that came out well stands.
    """
    well, errors = set(done), dict[str, str]()
    waiting: dict[str, RunResult] = {}
    rows = 0
    for results in left:
        for result in results:
            run_id, failed = str(result.run["run_id"]), result.run["status"] == "failed"
            if run_id in well or (failed and run_id in errors):
                continue
            if failed:
                errors[run_id] = str(result.run["error"])
            else:
                well.add(run_id)
            waiting[run_id] = result
            rows += sum(table.num_rows for table in result.tables.values())
            if len(waiting) >= GATHERED_MEMBERS or rows >= BATCH_ROWS:
                store.finish_many(list(waiting.values()))
                waiting, rows = {}, 0
    if waiting:
        store.finish_many(list(waiting.values()))
    return errors
