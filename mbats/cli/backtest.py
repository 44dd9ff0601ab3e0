"""`mbats backtest`: run strategies over the security master, store and show the result."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, progress
from mbats.errors import ConfigError

if TYPE_CHECKING:
    from mbats.backtest.session import BacktestRequest

SEED_SEVEN = "AUD_USD,USD_JPY,EUR_USD,GBP_USD,EUR_JPY,GBP_JPY,NZD_USD"


app = typer.Typer()


@app.command(epilog="Example: mbats backtest rsi_stochastic --instruments EUR_USD,USD_JPY")
def backtest(
    strategies: Annotated[
        list[str], typer.Argument(metavar="STRATEGY...", help="name in strategies/, or a file")
    ],
    instruments: Annotated[str, typer.Option(help="names, comma-separated")] = SEED_SEVEN,
    first: Annotated[str | None, typer.Option("--from", help="first day, YYYY-MM-DD")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last day, inclusive")] = None,
    granularity: Annotated[str, typer.Option(help="D, M1, or several: D,M1")] = "D",
    vendor: Annotated[str, typer.Option(help="whose bars")] = "ecb",
    cash: Annotated[str, typer.Option(help="starting balance, account currency")] = "100000",
    account_currency: Annotated[str | None, typer.Option(help="three letters")] = None,
    sizer: Annotated[
        str, typer.Option(help="units:1000, equity:10 (percent) or risk:1 (percent)")
    ] = "units:1000",
    param: Annotated[
        list[str] | None,
        typer.Option(help="name=value, or strategy.name=value; repeat for more"),
    ] = None,
    no_costs: Annotated[
        bool, typer.Option("--no-costs", help="mid prices, nothing charged")
    ] = False,
    slippage_pips: Annotated[float, typer.Option(min=0, help="on market and stop fills")] = 0.2,
    commission_per_million: Annotated[
        float, typer.Option(min=0, help="account currency, per side")
    ] = 0.0,
    commission_per_unit: Annotated[
        float, typer.Option(min=0, help="account currency, per side")
    ] = 0.0,
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

    settings = context.settings()
    spec = BacktestSpec(
        strategies=_loaded(strategies, param or []),
        cash=_amount(cash),
        account_currency=account_currency or settings.account_currency,
        sizer=sizer,
        costs=Costs(not no_costs, slippage_pips, commission_per_million, commission_per_unit),
        log_signals=log_signals,
    )
    request = BacktestRequest(
        spec=spec,
        instruments=_names(instruments),
        granularities=[g.strip().upper() for g in granularity.split(",") if g.strip()],
        vendor=vendor,
        start=_midnight(first),
        end=_midnight(last, timedelta(days=1)),
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


def _loaded(references: list[str], assignments: list[str]) -> list:  # type: ignore[type-arg]
    from mbats.strategy.loading import load_strategy, parse_assignments

    given = parse_assignments(assignments)
    loaded = []
    for reference in references:
        stem = Path(reference.removeprefix("strategies.")).stem
        own = {n.removeprefix(f"{stem}."): v for n, v in given.items() if n.startswith(f"{stem}.")}
        shared = {n: v for n, v in given.items() if "." not in n}
        loaded.append(load_strategy(reference, {**shared, **own}))
    prefixes = {Path(r.removeprefix("strategies.")).stem for r in references}
    for name in given:
        if "." in name and name.split(".")[0] not in prefixes:
            raise ConfigError(
                f"--param {name} names a strategy that is not run.", tried=sorted(prefixes)
            )
    return loaded


def _names(text: str) -> list[str]:
    from mbats.market.instrument import parse_name

    return list(dict.fromkeys(parse_name(part) for part in text.split(",") if part.strip()))


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise ConfigError(f"--cash {text!r} is not an amount.", mend="--cash 100000") from None


def _midnight(text: str | None, later: timedelta = timedelta()) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a day.", mend="write it as YYYY-MM-DD") from None
    return datetime.combine(day, time(), UTC) + later
