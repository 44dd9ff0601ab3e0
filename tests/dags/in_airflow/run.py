"""Run in Airflow's environment: run DAGs from end to end, triggers and all, as each is asked for.

A line of standard input is what to run, as JSON; the answer is in the file when a line that says
ANSWERED follows what Airflow said.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.utils.db import initdb

POLL_SECONDS = 0.5  # nobody waits for a test as long as for a trading week

folder, answer = Path(sys.argv[1]), Path(sys.argv[2])
initdb()
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
assert not bag.import_errors, bag.import_errors
for dag in bag.dags.values():
    dag.deadline = []  # 3.3.1's dag.test() takes a deadline's description for its id, and breaks
    for name in {"run", "gather"} & set(dag.task_dict):
        dag.get_task(name).polling_period_seconds = POLL_SECONDS
commands = sys.modules["desk.commands"]
close_of = commands.close_of
for line in sys.stdin:
    asked = json.loads(line)
    closes = asked["week_closes"] and datetime.fromisoformat(asked["week_closes"])
    commands.close_of = (lambda friday, closes=closes: closes) if closes else close_of
    due = asked["due"] and datetime.fromisoformat(asked["due"])
    run = bag.dags[asked["dag_id"]].test(logical_date=due, run_conf=asked["conf"])
    tasks = {each.task_id: str(each.state) for each in run.get_task_instances()}
    answer.write_text(json.dumps({"state": str(run.state), "tasks": tasks}))
    print("\nANSWERED", flush=True)
