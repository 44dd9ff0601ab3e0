"""Run in Airflow's environment: call what a deadline calls, as the triggerer does."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.append(f"{sys.argv[1]}/plugins")
from desk_alerts import late

context = {
    "dag_run": {"dag_id": "practice_sma_reversal", "dag_run_id": "scheduled__1"},
    "deadline": {"id": "1", "deadline_time": "2026-11-27 23:00:00+00:00"},
}
tags = ["mbats", "practice", "strategy:sma_reversal", "account:101-001-1234567-001"]
asyncio.run(late(context=context, tags=tags))
Path(sys.argv[2]).write_text(json.dumps({}))
