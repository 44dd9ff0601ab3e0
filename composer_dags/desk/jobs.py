"""How a DAG runs a Cloud Run job: plan it, run it, and cancel what is left of it.

A DAG never computes. `plan` decides whether there is work and which command line it is; `run` is
Google's own operator and waits in the triggerer; `settle`, a teardown, cancels an execution that
still runs when its task is over: one that was marked as failed, for the operator cancels nothing.
A task that is cleared cancels its own earlier execution before it starts another. What the tasks of
an execution left, `gather` stores by one more, whatever became of them: the run ends as it does.

Every execution carries `DESK_RUN`, the DAG and its session. Airflow does not retry: Cloud Run does
(`retries` in containers/jobs.yaml), and what a job writes it writes by key.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

from airflow.providers.google.cloud.operators.cloud_run import CloudRunExecuteJobOperator
from airflow.sdk import (
    DAG,
    AsyncCallback,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from desk_alerts import failed

from desk.session import NEW_YORK, MissedError, NothingToDoError, Run, run_of

PROJECT = os.environ["MBATS_PROJECT"]
REGION = os.environ["RUN_REGION"]
BOTS: dict[str, str] = json.loads(os.environ.get("RUN_BOTS", "{}"))
"""The job of each account's bot: Terraform says which there are."""

ZONE = "America/New_York"
KEY, SESSION = "DESK_RUN", "DESK_SESSION"
CANCEL_SECONDS = 180

SESSION_DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Session",
    description="New York trading day, YYYY-MM-DD; empty for the one that is due",
)

Sessions = Callable[[Run, datetime], date]
Arguments = Callable[[date, dict], list[str]]


def desk_dag(
    dag_id: str, schedule: str | None, within: timedelta, at_most: timedelta, **more
) -> DAG:
    """Return a DAG as all of the desk are. ``schedule`` is cron in New York time.

    ``within`` is how long a run may take until people are told; it goes on then. After ``at_most``
    it has failed, so that it does not stand in the way of the next.
    """
    tags = sorted({"mbats", *more.pop("tags", ())})
    return DAG(
        dag_id,
        schedule=CronTriggerTimetable(schedule, timezone=ZONE) if schedule else None,
        catchup=False,
        dagrun_timeout=at_most,
        max_active_runs=more.pop("max_active_runs", 1),
        tags=tags,
        default_args={"retries": 0, "on_failure_callback": failed},
        deadline=DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=within,
            callback=AsyncCallback("desk_alerts.late", kwargs={"tags": tags}),
        ),
        **more,
    )


def run_job(
    job: str,
    arguments: Arguments,
    session: Sessions | None = None,
    *,
    poll_seconds: float = 10,
    tasks: Callable[[dict], int] | None = None,
    gather: Arguments | None = None,
) -> CloudRunExecuteJobOperator:
    """Add the tasks that run ``job``, once a session; return the one that runs it.

    ``arguments`` makes the command line from the session and the run's parameters, ``tasks`` the
    number of parallel tasks, ``gather`` the command line that the same job is run with after them.
    ``session`` says which session a run is for, or why there is none; without it every run stands
    for itself.
    """

    @task(task_id="plan")
    def plan() -> dict:
        context = get_current_context()
        params, dag_run = context["params"], context["dag_run"]
        with decisions():
            day = due(session, context) if session else datetime.now(NEW_YORK).date()
            key = f"{dag_run.dag_id}/{day if session else dag_run.run_id}"
            planned = {"run": overrides_of(key, day, arguments(day, params))}
            if tasks:
                planned["run"]["task_count"] = tasks(params)
            if gather:
                planned["gather"] = overrides_of(key, day, gather(day, params))
        return planned

    planned = plan()

    def execution(task_id: str, **more) -> CloudRunExecuteJobOperator:
        return CloudRunExecuteJobOperator(
            task_id=task_id,
            project_id=PROJECT,
            region=REGION,
            job_name=job,
            overrides=planned[task_id],
            deferrable=True,
            polling_period_seconds=poll_seconds,
            pre_execute=lambda context: cancel(job, key_in(context["task"].overrides)),
            **more,
        )

    @task(task_id="settle", on_failure_callback=failed)
    def settle(overrides: dict | None) -> None:
        if overrides:
            cancel(job, key_in(overrides))

    run = execution("run")
    last = run
    if gather:
        # What was planned is gathered though tasks failed; where nothing was, nothing is.
        last = execution("gather", trigger_rule="all_done_min_one_success")
        run >> last
    last >> settle(planned["run"]).as_teardown()
    return run


def due(session: Sessions, context) -> date:
    """Return the session that the run of ``context`` is for, as of now."""
    return session(run_of(context["dag_run"], context["params"]), datetime.now(UTC))


@contextmanager
def decisions() -> Iterator[None]:
    """Within it, no work skips the task, and a missed or impossible run fails it for good."""
    try:
        yield
    except NothingToDoError as reason:
        raise AirflowSkipException(str(reason)) from None
    except (MissedError, ValueError) as reason:
        raise AirflowFailException(str(reason)) from None


def overrides_of(key: str, day: date, arguments: list[str]) -> dict:
    """Return Cloud Run's overrides of one execution."""
    marks = [{"name": KEY, "value": key}, {"name": SESSION, "value": day.isoformat()}]
    return {"container_overrides": [{"args": arguments, "env": marks}]}


def key_in(overrides: dict) -> str:
    """Return the key that :func:`overrides_of` put there."""
    marks = overrides["container_overrides"][0]["env"]
    return next(mark["value"] for mark in marks if mark["name"] == KEY)


def cancel(job: str, key: str) -> list[str]:
    """Cancel the running executions of ``job`` with this key, wait for their end, name them."""
    from airflow.providers.google.cloud.hooks.cloud_run import CloudRunHook
    from google.cloud.run_v2 import ExecutionsClient

    client = ExecutionsClient(credentials=CloudRunHook().get_credentials())
    parent = f"projects/{PROJECT}/locations/{REGION}/jobs/{job}"
    running = [
        execution.name
        for execution in client.list_executions(parent=parent)
        if not execution.completion_time and key == _key_of_execution(execution)
    ]
    for name in running:
        print(f"{name} still runs: it is cancelled.")
        client.cancel_execution(name=name).result(timeout=CANCEL_SECONDS)
    return running


def _key_of_execution(execution) -> str | None:
    marks = [mark for each in execution.template.containers for mark in each.env]
    return next((mark.value for mark in marks if mark.name == KEY), None)
