"""One DAG for each row of control/strategies.csv, and one that tells what is wrong with the file.

A trading row is started on Sunday at 16:55 New York, when the week is about to open, and watched
until Friday's close. One account has one bot: the first row of an account leads and starts it with
all strategies of that account; the DAGs of the other rows watch the leader. The DAG of a new
trading row is paused: a person switches it on. `--arm` is never said
here: the job of a live bot, which Terraform made, brings it. A backtest row runs each Saturday.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from desk.commands import backtest_command, live_command
from desk.jobs import BOTS, decisions, desk_dag, due, run_job
from desk.schedule_file import FILE, TRADING, Row, read
from desk.session import week_session

WEEK_OPENS, BEFORE_THE_WEEK, SATURDAY = "55 16 * * 0", "0 12 * * 0", "0 6 * * 6"
WEEK = timedelta(days=5)
WATCH_SECONDS = 60

log = logging.getLogger(__name__)


def trading_dag(row: Row, together: Sequence[Row]):
    """Return the DAG of a row that leads: it runs the account's bot with the rows ``together``."""
    with _row_dag(row, WEEK_OPENS, WEEK, f"Starts the bot of {row.account} for the week.") as dag:
        run_job(
            BOTS[row.account],
            lambda day, params: live_command(together, day),
            week_session,
            poll_seconds=WATCH_SECONDS,
        )
    return dag


def watching_dag(row: Row):
    """Return the DAG of a row whose account is led by an earlier row: it watches that one."""
    about = f"Runs in the bot that `{row.leader}` starts; watches it."
    with _row_dag(row, WEEK_OPENS, WEEK, about) as dag:

        @task(task_id="plan")
        def plan() -> None:
            context = get_current_context()
            with decisions():
                due(week_session, context)
            if context["dag_run"].logical_date is None:
                raise AirflowFailException(f"Trigger {row.leader}: it starts this row's bot.")

        plan() >> ExternalTaskSensor(
            task_id="watch",
            external_dag_id=row.leader,
            external_task_id="run",
            failed_states=["failed", "upstream_failed"],
            skipped_states=["skipped"],
            deferrable=True,
            poke_interval=WATCH_SECONDS,
            timeout=(WEEK + timedelta(days=1)).total_seconds(),
        )
    return dag


def backtest_dag(row: Row):
    """Return the DAG of a backtest row: a standing backtest, once a week."""
    with _row_dag(row, SATURDAY, timedelta(hours=3), "Backtests the row each Saturday.") as dag:
        run_job("backtest", lambda day, params: backtest_command(row), None)
    return dag


def _row_dag(row: Row, schedule: str, within: timedelta, about: str):
    named = [f"strategy:{row.strategy}", *([f"account:{row.account}"] if row.account else [])]
    return desk_dag(
        row.dag_id,
        schedule,
        within + timedelta(hours=1),
        within + timedelta(hours=12),
        description=about,
        tags=("strategies", row.mode, *named),
        is_paused_upon_creation=row.mode in TRADING or None,
    )


rows, problems = read(FILE, BOTS)
for problem in problems:
    log.warning(problem)
for each in rows:
    if each.mode == "backtest":
        made = backtest_dag(each)
    elif each.leader == each.dag_id:
        made = trading_dag(each, [one for one in rows if one.leader == each.dag_id])
    else:
        made = watching_dag(each)
    globals()[each.dag_id] = made

with desk_dag(
    "strategies",
    BEFORE_THE_WEEK,
    timedelta(minutes=30),
    timedelta(hours=1),
    description="Fails, and so tells people, where a row of strategies.csv was left out.",
    tags=("strategies",),
    doc_md="\n".join(f"* {line}" for line in (problems or ["Every row has its DAG."])),
) as told:

    @task(task_id="check")
    def check(file: str) -> int:
        """Read the file as the factory does; count the rows that have a DAG."""
        found, wrong = read(Path(file), BOTS)
        if wrong:
            raise AirflowFailException("; ".join(wrong))
        return len(found)

    check(str(FILE))
