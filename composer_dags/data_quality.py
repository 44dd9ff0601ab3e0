"""Data quality: every stored series against its session calendar. An error fails the run."""

from datetime import timedelta

from airflow.sdk import Param
from desk.jobs import SESSION_DATE, desk_dag, run_job
from desk.session import day_session

AFTER_THE_LOAD = "45 17 * * 1-5"


def command(day, params):
    """Return `mbats data check`."""
    made = ["data", "check", "--strict"]
    return [*made, "--instruments", params["instruments"]] if params["instruments"] else made


with desk_dag(
    "data_quality",
    AFTER_THE_LOAD,
    within=timedelta(hours=1),
    at_most=timedelta(hours=10),
    description="Gaps, stale and impossible bars of what is stored.",
    tags=("market-data",),
    params={
        "session_date": SESSION_DATE,
        "instruments": Param("", type="string", description="only these; empty for all"),
    },
) as quality:
    run_job("download", command, day_session)
