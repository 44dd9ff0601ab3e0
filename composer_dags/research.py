"""Backtests and sweeps by hand: fill in the form, press Trigger."""

from datetime import timedelta

from airflow.sdk import Param
from desk.commands import form_command
from desk.jobs import desk_dag, run_job

SEED_SEVEN = "AUD_USD,USD_JPY,EUR_USD,GBP_USD,EUR_JPY,GBP_JPY,NZD_USD"
DAY = {"type": ["null", "string"], "format": "date"}
FORM = {
    "strategy": Param(
        "sma_reversal",
        type="string",
        pattern="^[a-z][a-z0-9_]*$",
        description="a file in strategies/",
    ),
    "instruments": Param(
        SEED_SEVEN, type="string", pattern="^[A-Z0-9_]+(,[A-Z0-9_]+)*$", description="with commas"
    ),
    "from": Param(None, **DAY, description="first day"),
    "to": Param(None, **DAY, description="last day, inclusive"),
    "granularity": Param("D", enum=["D", "M1", "D,M1"], description="bars"),
    "vendor": Param("ecb", enum=["ecb", "oanda", "file"], description="whose bars"),
    "cash": Param(100_000, type="number", exclusiveMinimum=0, description="account currency"),
    "sizer": Param(
        "units:1000",
        type="string",
        pattern=r"^(units|equity|risk):[0-9.]+$",
        description="how much",
    ),
    "slippage_pips": Param(0.2, type="number", minimum=0, description="on market and stop fills"),
    "no_costs": Param(False, type="boolean", description="mid prices, nothing charged"),
}
OPTIONS = {
    "instruments": "--instruments",
    "from": "--from",
    "to": "--to",
    "granularity": "--granularity",
    "vendor": "--vendor",
    "cash": "--cash",
    "sizer": "--sizer",
    "slippage_pips": "--slippage-pips",
    "no_costs": "--no-costs",
    "param": "--param",
}
PAIR = {"type": "string", "pattern": r"^[a-z_][A-Za-z0-9_.]*=\S+$"}


with desk_dag(
    "backtest",
    None,
    within=timedelta(hours=2),
    at_most=timedelta(hours=6),
    max_active_runs=8,
    description="One backtest, costs on: a run in the risk store and a tear sheet.",
    tags=("research",),
    params={
        **FORM,
        "param": Param([], type="array", items=PAIR, description="name=value, one a line"),
        "reuse": Param(
            True, type="boolean", description="show a stored run that would be the same"
        ),
    },
) as backtest:
    run_job(
        "backtest",
        lambda day, form: form_command("backtest", form, OPTIONS | {"reuse": "--reuse"}),
    )

with desk_dag(
    "sweep",
    None,
    within=timedelta(hours=6),
    at_most=timedelta(hours=26),
    max_active_runs=4,
    description="A grid of parameters, shared out over many tasks.",
    tags=("research",),
    params={
        **FORM,
        "param": Param(
            ["period=5:50:5"],
            type="array",
            items=PAIR,
            description="name=a,b,c or name=low:high:step, one a line",
        ),
        # As many as Cloud Run starts in one execution.
        "tasks": Param(10, type="integer", minimum=1, maximum=10_000, description="in parallel"),
    },
) as sweep:
    run_job(
        "sweep",
        lambda day, form: form_command("sweep", form, OPTIONS),
        tasks=lambda form: form["tasks"],
        gather=lambda day, form: [
            *form_command("sweep", form, OPTIONS),
            *("--tasks", str(form["tasks"]), "--gather"),
        ],
    )
