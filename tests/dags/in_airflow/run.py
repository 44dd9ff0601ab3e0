"""Run in Airflow's environment: run one DAG from end to end, triggers and all; tell how it went."""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.utils.db import initdb

folder, answer, dag_id, conf = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
initdb()
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="dags-folder")
dag = bag.dags[dag_id]
dag.deadline = []  # 3.3.1's dag.test() takes a deadline's description for its id, and breaks
run = dag.test(logical_date=None, run_conf=json.loads(conf))
tasks = {each.task_id: str(each.state) for each in run.get_task_instances()}
answer.write_text(json.dumps({"state": str(run.state), "tasks": tasks}))
