"""A process that gathers a sweep and dies by SIGKILL after a given number of requests.

Run by tests: gathering.py SETTINGS SWEEP AFTER, with SETTINGS as JSON.
"""

import sys
from types import SimpleNamespace

from mbats.backtest import gathering
from mbats.backtest.executor import Interpreter
from mbats.config import Settings
from mbats.desk import Desk
from mbats.desk.sweeps import gather, play
from tests.backtest.sweeping import market, now, request
from tests.gcp.dying import die_after

TASKS = 4
SETS = "period=3:10:1"


def task_of(desk, sweep_id, task, of=TASKS, executor=None):
    """Play a task of the small sweep of :mod:`tests.gcp.sweeping`, as one of several."""
    asked = request(SETS, id=sweep_id, keep="trades", task=task, tasks=of)
    stores = SimpleNamespace(
        security_master=market(200), risk_store=desk.risk_store, objects=desk.objects
    )
    return play(stores, asked, executor or Interpreter(), now=now)


if __name__ == "__main__":
    settings, sweep_id, after = sys.argv[1:]
    gathering.GATHERED_MEMBERS = 3  # several writes
    with Desk(Settings.model_validate_json(settings)) as desk:
        die_after(int(after))
        gather(desk, request(SETS, id=sweep_id, tasks=TASKS))
