"""`mbats backtest`: run strategies over the security master, store and show the result."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import backtest_options as options
from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, progress

if TYPE_CHECKING:
    from mbats.backtest.session import BacktestRequest

app = typer.Typer()


@app.command(epilog="Example: mbats backtest rsi_stochastic --instruments EUR_USD,USD_JPY")
def backtest(
    strategies: options.Strategies,
    instruments: options.Instruments = options.SEED_SEVEN,
    first: options.First = None,
    last: options.Last = None,
    granularity: options.GranularityNames = "D",
    vendor: options.Vendor = "ecb",
    cash: options.Cash = "100000",
    account_currency: options.AccountCurrency = None,
    sizer: options.Sizer = "units:1000",
    param: Annotated[
        list[str] | None,
        typer.Option(help="name=value, or strategy.name=value; repeat for more"),
    ] = None,
    no_costs: options.NoCosts = False,
    slippage_pips: options.SlippagePips = 0.2,
    commission_per_million: options.Commission = 0.0,
    commission_per_unit: options.Commission = 0.0,
    log_signals: Annotated[
        bool, typer.Option("--log-signals", help="keep prices and indicators of every bar, for ML")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="where to write the tear sheet")] = None,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="show a stored run that would come out the same, if there is one"
        ),
    ] = False,
    brief: Annotated[
        bool, typer.Option("--brief", help="print only where the results are")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run strategies over stored bars; store the run, print its figures, write a tear sheet.

    Costs are on: spread, slippage, commission, financing, conversion. Several strategies share
    one account; each has its own positions.
    """
    from mbats.backtest.assumptions import Costs
    from mbats.backtest.engine import BacktestSpec
    from mbats.backtest.session import BacktestRequest
    from mbats.strategy.loading import load_strategies, parse_assignments

    settings = context.settings()
    spec = BacktestSpec(
        strategies=load_strategies(strategies, parse_assignments(param or [])),
        cash=options.amount(cash),
        account_currency=account_currency or settings.account_currency,
        sizer=sizer,
        costs=Costs(not no_costs, slippage_pips, commission_per_million, commission_per_unit),
        log_signals=log_signals,
    )
    request = BacktestRequest(
        spec=spec,
        instruments=options.names(instruments),
        granularities=options.granularities(granularity),
        vendor=vendor,
        start=options.midnight(first),
        end=options.midnight(last, timedelta(days=1)),
    )
    _run(request, report, reuse=reuse, brief=brief, as_json=as_json)


def _run(
    request: "BacktestRequest", sheet: Path | None, *, reuse: bool, brief: bool, as_json: bool
) -> None:
    from mbats.backtest.report import document
    from mbats.backtest.report import report as console_report
    from mbats.backtest.session import backtest as run_backtest
    from mbats.backtest.tearsheet import write_tearsheet
    from mbats.desk import Desk

    settings = context.settings()
    with Desk(settings) as desk:
        with progress(quiet=as_json) as bar:
            task = bar.add_task("Backtest", total=100)
            result, inputs = run_backtest(
                request,
                desk.security_master,
                desk.risk_store,
                now=lambda: datetime.now(UTC),
                report_address=lambda run_id: desk.objects.address("reports", f"{run_id}.html"),
                progress=lambda done: bar.update(task, completed=done),
                reuse=reuse,
            )
        run_id = str(result.run["run_id"])
        path = write_tearsheet(
            result, sheet or settings.home / "reports" / f"{run_id}.html", inputs.bars
        )
        desk.objects.write("reports", f"{run_id}.html", path.read_bytes(), content_type="text/html")
    if as_json:
        emit_json({**document(result, inputs.bars), "tear_sheet": path})
        return
    if not brief:
        people.print(*console_report(result, inputs.bars))
    errors.print(f"Run {run_id}; tear sheet {path}", markup=False, soft_wrap=True)
