"""Run in Airflow's environment: parse a DAG folder with the network cut off, tell what is there."""

import json
import socket
import sys
import time
from pathlib import Path

asked = []


def refuse(*address, **_):
    asked.append(repr(address))
    raise OSError("the DAGs are parsed without a network")


socket.socket.connect = refuse
socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse

# What Airflow and Google's operators bring themselves, before a file of ours is read.
import airflow.providers.google.cloud.operators.cloud_run  # noqa: E402
import airflow.providers.standard.sensors.external_task  # noqa: E402, F401
from airflow.dag_processing.dagbag import BundleDagBag  # noqa: E402
from airflow.serialization.definitions.dag import SerializedDAG  # noqa: E402, F401
from airflow.serialization.serialized_objects import DagSerialization  # noqa: E402

folder = Path(sys.argv[1])
before = {name.split(".")[0] for name in sys.modules}
began = time.process_time()
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="desk")
parsed = time.process_time()
serialised = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
ended = time.process_time()


def described(dag):
    return {
        "file": Path(dag.fileloc).name,
        "schedule": getattr(dag.timetable, "expression", None),
        "zone": str(getattr(dag.timetable, "timezone", "")),
        "catchup": dag.catchup,
        "paused": dag.is_paused_upon_creation,
        "max_active_runs": dag.max_active_runs,
        "limit_s": dag.dagrun_timeout.total_seconds(),
        "deadlines_s": [each.interval.total_seconds() for each in dag.deadline],
        "callbacks": [each.callback.path for each in dag.deadline],
        "tags": sorted(dag.tags),
        "doc": dag.doc_md or "",
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {each.task_id: task(each) for each in dag.tasks},
    }


def task(each):
    return {
        "type": each.task_type,
        "after": sorted(each.upstream_task_ids),
        "teardown": each.is_teardown,
        "rule": each.trigger_rule.value,
        "retries": each.retries,
        "deferrable": getattr(each, "deferrable", None),
        "job": getattr(each, "job_name", None),
        "project": getattr(each, "project_id", None),
        "region": getattr(each, "region", None),
        "watches": getattr(each, "external_dag_id", None),
        "tells": [f"{f.__module__}.{f.__name__}" for f in each.on_failure_callback],
    }


told = {
    "errors": bag.import_errors,
    "asked": asked,
    "brought": sorted({name.split(".")[0] for name in sys.modules} - before),
    "parse_s": parsed - began,
    "serialise_s": ended - parsed,
    "dags": {dag_id: described(dag) for dag_id, dag in bag.dags.items()},
    "serialised": sorted(serialised),
}
Path(sys.argv[2]).write_text(json.dumps(told))
