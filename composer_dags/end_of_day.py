"""The end of the day and of the week: does everything that we wrote down agree with the broker?

(Airflow looks for DAGs only in files that say its name and the word dag.)
"""

from datetime import timedelta

from desk.jobs import SESSION_DATE, desk_dag, run_job
from desk.session import day_session

AFTER_THE_CLOSE, AFTER_RECONCILIATION = "30 17 * * 1-5", "0 18 * * 1-5"

with desk_dag(
    "reconciliation",
    AFTER_THE_CLOSE,
    within=timedelta(minutes=45),
    at_most=timedelta(hours=3),
    description="Broker, journal and risk store, position by position and fill by fill.",
    tags=("live",),
    params={"session_date": SESSION_DATE},
) as reconciliation:
    run_job("reconcile", lambda day, params: ["reconcile", "--session-date", str(day)], day_session)

with desk_dag(
    "parity",
    AFTER_RECONCILIATION,
    within=timedelta(hours=2),
    at_most=timedelta(hours=6),
    description="Each bot's session that ended, against a backtest of the ticks it saw.",
    tags=("live",),
    params={"session_date": SESSION_DATE},
) as parity:
    run_job(
        "parity", lambda day, params: ["parity", "--ended-on", str(day), "--record"], day_session
    )
