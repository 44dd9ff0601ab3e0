"""`mbats sweep`: one strategy over many parameter sets, in tasks and processes."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import backtest_options as options
from mbats.cli import context
from mbats.cli.gathering import FAILURES_SHOWN, gather
from mbats.cli.output import JsonFlag, emit_json, errors, progress
from mbats.cli.ranking import ranking_document, ranking_of, show_ranking
from mbats.errors import RunFailedError

if TYPE_CHECKING:
    from mbats.backtest.ranking import Ranking
    from mbats.backtest.sweep import SweepRequest, Swept

app = typer.Typer()


@app.command(epilog="Example: mbats sweep sma_reversal --param period=5:60:5 --jobs 2")
def sweep(
    strategies: options.Strategies,
    param: Annotated[
        list[str] | None,
        typer.Option(help="name=a,b,c or name=low:high:step; repeat for more: every combination"),
    ] = None,
    sets: Annotated[
        Path | None, typer.Option(help="file of parameter sets: JSON list, or CSV with a header")
    ] = None,
    instruments: options.Instruments = options.SEED_SEVEN,
    first: options.First = None,
    last: options.Last = None,
    granularity: options.GranularityNames = "D",
    vendor: options.Vendor = "ecb",
    cash: options.Cash = "100000",
    account_currency: options.AccountCurrency = None,
    sizer: options.Sizer = "units:1000",
    no_costs: options.NoCosts = False,
    slippage_pips: options.SlippagePips = 0.2,
    commission_per_million: options.Commission = 0.0,
    commission_per_unit: options.Commission = 0.0,
    keep: Annotated[
        str, typer.Option(help="what a member leaves behind: figures, trades or all")
    ] = "figures",
    by: Annotated[str, typer.Option(help="figure to rank by, for example sharpe")] = "sharpe",
    top: Annotated[int, typer.Option(min=1, help="how many of the best to show")] = 10,
    jobs: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    task: Annotated[
        int, typer.Option(min=0, envvar="CLOUD_RUN_TASK_INDEX", help="this task's number, from 0")
    ] = 0,
    tasks: Annotated[
        int, typer.Option(min=1, envvar="CLOUD_RUN_TASK_COUNT", help="number of tasks")
    ] = 1,
    sweep_id: Annotated[
        str | None,
        typer.Option("--id", help="name of the sweep; follows from the question if none"),
    ] = None,
    gathers: Annotated[
        bool,
        typer.Option("--gather", help="play nothing: store what the --tasks tasks have left"),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run strategies with every parameter set; store each as a run, show the best.

    Run again, or in many tasks, it plays only what is not stored. Tasks leave their members in the
    data bucket until --gather. The best in sample is not the best to trade: the table says how
    much of it is chance.
    """
    from mbats.backtest.assumptions import Costs
    from mbats.backtest.engine import BacktestSpec
    from mbats.backtest.grid import parameter_sets
    from mbats.backtest.ranking import rank
    from mbats.backtest.session import BacktestRequest
    from mbats.backtest.sweep import SweepRequest, keep_of
    from mbats.strategy.loading import load_strategies

    settings = context.settings()
    spec = BacktestSpec(
        strategies=load_strategies(strategies),
        cash=options.amount(cash),
        account_currency=account_currency or settings.account_currency,
        sizer=sizer,
        costs=Costs(not no_costs, slippage_pips, commission_per_million, commission_per_unit),
    )
    asked = BacktestRequest(
        spec=spec,
        instruments=options.names(instruments),
        granularities=options.granularities(granularity),
        vendor=vendor,
        start=options.midnight(first),
        end=options.midnight(last, timedelta(days=1)),
    )
    every = parameter_sets(param or [], sets)
    request = SweepRequest(asked, every, sweep_id, keep_of(keep), task, tasks)
    rank([], {}, by)  # a figure that there is not must be told before the work
    if gathers:
        gather(request, by, top, as_json)
    else:
        _run(request, jobs, by, top, as_json)


def _run(request: "SweepRequest", jobs: int, by: str, top: int, as_json: bool) -> None:
    from mbats.backtest.executor import Interpreter
    from mbats.desk import Desk, sweeps

    with Desk(context.settings()) as desk:
        with progress(quiet=as_json) as bar:
            line = bar.add_task("Sweep", total=None)
            swept = sweeps.play(
                desk,
                request,
                Interpreter(jobs),
                now=partial(datetime.now, UTC),
                progress=lambda done, of: bar.update(line, completed=done, total=of),
            )
        # One of many tasks leaves the ranking to who gathers.
        alone = request.tasks == 1
        ranking = ranking_of(desk.risk_store, swept.sweep_id, by, top) if alone else None
    if as_json:
        emit_json(_document(swept, ranking))
    else:
        if ranking is not None:
            show_ranking(ranking)
        said = f"{swept.played} played, {swept.stored_before} stored before"
        more = f"All: mbats runs list --sweep {swept.sweep_id}"
        errors.print(
            f"Sweep {swept.sweep_id}: task {request.task} of {request.tasks} has {swept.share} of "
            f"{len(swept.members)} members: {said}. "
            + (more if alone else f"When all have ended: --tasks {request.tasks} --gather"),
            markup=False,
            soft_wrap=True,
        )
    if swept.failed:
        raise RunFailedError(
            f"{len(swept.failed)} of {swept.share} members failed; the others are stored.",
            tried=[f"{run}: {why}" for run, why in list(swept.failed.items())[:FAILURES_SHOWN]],
            mend="correct the strategy or leave those sets out, and run the sweep again",
        )


def _document(swept: "Swept", ranking: "Ranking | None") -> dict[str, Any]:
    return {
        "sweep": swept.sweep_id,
        "members": len(swept.members),
        "share": swept.share,
        "played": swept.played,
        "stored_before": swept.stored_before,
        "failed": swept.failed,
        **(ranking_document(ranking) if ranking is not None else {}),
    }
