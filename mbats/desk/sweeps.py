"""Where the members of a sweep go: alone it stores them itself, its many tasks leave them to be
gathered.
"""

from collections.abc import Callable
from datetime import datetime

from mbats.backtest import gathering
from mbats.backtest.executor import Executor
from mbats.backtest.gathering import Gathered
from mbats.backtest.sweep import SweepRequest, SweepStore, Swept, sweep, sweep_id_of
from mbats.desk.stores import Desk
from mbats.gcp.sweep_results import TaskResults, TasksResults


def play(
    desk: Desk,
    request: SweepRequest,
    executor: Executor,
    *,
    now: Callable[[], datetime],
    progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """Play this task's members that are not there yet, and store them; see :func:`sweep`.

    One of many tasks leaves them in Cloud Storage, for :func:`gather`.
    """
    sweep_id = request.id or sweep_id_of(request)
    left = TaskResults(desk.objects, desk.risk_store, sweep_id, request.task, request.tasks)
    store: SweepStore = desk.risk_store if request.tasks == 1 else left
    left.begin()
    swept = sweep(request, desk.security_master, store, executor, now=now, progress=progress)
    left.end(swept, request.share_of(swept.members))
    return swept


def gather(desk: Desk, request: SweepRequest) -> Gathered:
    """Store what the tasks of a sweep left; of one alone, look whether all is stored."""
    sweep_id = request.id or sweep_id_of(request)
    left = TasksResults(desk.objects)
    return gathering.gather(sweep_id, request.tasks, left, desk.risk_store)
