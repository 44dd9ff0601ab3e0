"""Market data: from the last stored bar to now, for what is on the watchlist. Twice adds nothing.

The watchlist is a workbook in the control bucket, which the control-file function loads into
`security_master.watchlist`; `mbats data load` reads it from there.
"""

import os
from datetime import timedelta

from airflow.sdk import Param
from desk.jobs import SESSION_DATE, desk_dag, run_job
from desk.session import NothingToDoError, day_session, hour_session

VENDOR = os.environ.get("MARKET_DATA_VENDOR", "oanda")
AFTER_THE_CLOSE, EACH_HOUR = "10 17 * * 1-5", "5 * * * *"
FORM = {
    "session_date": SESSION_DATE,
    "vendor": Param(VENDOR, enum=["ecb", "oanda"], description="whose bars"),
    "instruments": Param("", type="string", description="EUR_USD,USD_JPY; empty for the watchlist"),
}


def load(granularity):
    """Return what makes the command line of a load; a session given by hand is read anew."""

    def command(day, params):
        if granularity == "M1" and params["vendor"] == "ecb":
            raise NothingToDoError("The ECB has daily rates only.")
        made = ["data", "load", "--vendor", params["vendor"], "--granularity", granularity]
        if params["instruments"]:
            made += ["--instruments", params["instruments"]]
        return [*made, "--from", str(day)] if params["session_date"] else made

    return command


with desk_dag(
    "market_data_daily",
    AFTER_THE_CLOSE,
    within=timedelta(hours=1),
    at_most=timedelta(hours=10),
    description="Daily bars of the session that closed.",
    tags=("market-data",),
    params=FORM,
) as daily:
    run_job("download", load("D"), day_session)

with desk_dag(
    "market_data_minute",
    EACH_HOUR,
    within=timedelta(minutes=50),
    at_most=timedelta(hours=3, minutes=30),
    description="Minute bars, each hour of the FX week.",
    tags=("market-data",),
    params=FORM,
) as minute:
    run_job("download", load("M1"), hour_session)
