"""Tells people that a DAG failed or is late: an event on `risk-events`, which `notify` listens to.

It lies in plugins/, not beside the DAGs: the triggerer runs the callback of a deadline, and has
plugins/ on its path, but not the DAG folder.
"""

import asyncio
import json
import os
from datetime import UTC, datetime

TOPIC, ATTRIBUTES = "risk-events", {"table": "risk_event"}
TRADING_TAGS = {"practice", "live"}  # what fails in these may leave positions unwatched


def failed(context) -> None:
    """Publish that a task failed for good: `on_failure_callback` of every task that works."""
    ti, error = context["ti"], context.get("exception")
    what = f"Task {ti.task_id} of DAG {ti.dag_id} failed in run {ti.run_id}"
    said = " ".join(str(error).split())[:500] if error else ""
    publish(
        event_id=f"airflow-{ti.dag_id}-{ti.run_id}-{ti.task_id}-{ti.try_number}",
        dag_id=ti.dag_id,
        code="DAG_FAILED",
        tags=context["dag"].tags,
        detail=". ".join(part for part in (what, said, str(ti.log_url)) if part),
    )


async def late(context, tags) -> None:
    """Publish that a run did not end in time: the callback of every `DeadlineAlert`."""
    run = context["dag_run"]
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    due = context["deadline"]["deadline_time"]
    await asyncio.to_thread(
        publish,
        event_id=f"airflow-{dag_id}-{run_id}-late",
        dag_id=dag_id,
        code="DAG_LATE",
        tags=tags,
        detail=f"Run {run_id} of DAG {dag_id} has not ended by {due}.",
    )


def publish(*, event_id: str, dag_id: str, code: str, tags, detail: str) -> None:
    """Publish one row of `risk.risk_event`. The same ``event_id`` is told and stored once.

    ``tags`` are those of the DAG; `account:…` and `strategy:…` among them name what is concerned.
    """
    from airflow.providers.google.cloud.hooks.pubsub import PubSubHook

    named = dict(tag.split(":", 1) for tag in tags if ":" in tag)
    row = {
        "event_id": event_id,
        "run_id": f"airflow-{dag_id}",
        "time": datetime.now(UTC).isoformat(),
        "code": code,
        "severity": "critical" if TRADING_TAGS & set(tags) else "error",
        "detail": detail,
        "actor": "airflow",
        **{key: named[key] for key in ("strategy", "account") if key in named},
    }
    message = {"data": json.dumps(row).encode(), "attributes": ATTRIBUTES}
    PubSubHook().publish(topic=TOPIC, messages=[message], project_id=os.environ["MBATS_PROJECT"])
