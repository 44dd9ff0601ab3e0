"""A process that sweeps and dies by SIGKILL after a given number of requests to BigQuery.

Run by tests: sweeping.py SETTINGS SWEEP AFTER, with SETTINGS as JSON.
"""

import sys

from mbats.backtest import sweep as sweeps
from mbats.config import Settings
from mbats.desk import Desk
from tests.backtest.sweeping import play, request
from tests.gcp.dying import die_after


def small_sweep(desk, sweep_id, **changes):
    asked = request("period=3:10:1", id=sweep_id, keep="trades", **changes)
    return play(asked, desk.risk_store, bars=200)


if __name__ == "__main__":
    settings, sweep_id, after = sys.argv[1:]
    sweeps.BATCH_MEMBERS = 3  # several writes
    with Desk(Settings.model_validate_json(settings)) as desk:
        die_after(int(after))
        small_sweep(desk, sweep_id)
