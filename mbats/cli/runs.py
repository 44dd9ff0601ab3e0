"""`mbats runs`: the runs of the risk store, listed, shown and compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people
from mbats.cli.ranking import figures_of, ranking_document, ranking_of, show_ranking
from mbats.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mbats.backtest.compare import Comparison, Line
    from mbats.backtest.result import RunResult, RunStore
    from mbats.desk import Desk
    from mbats.market.bars import Bars

app = typer.Typer(
    name="runs", no_args_is_help=True, help="Runs: list them, look at one, compare several."
)

LAST = "last"
MOST_COMPARED = 6
RunArgument = Annotated[str, typer.Argument(help="run id, the beginning of one, or `last`")]


@app.command("list", epilog="Example: mbats runs list --limit 10")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, help="how many, the newest first")] = 20,
    strategy: Annotated[str | None, typer.Option(help="only of this strategy")] = None,
    sweep: Annotated[
        str | None, typer.Option(help="the members of this sweep instead, the best first")
    ] = None,
    by: Annotated[str, typer.Option(help="figure to rank a sweep's members by")] = "sharpe",
    as_json: JsonFlag = False,
) -> None:
    """List the newest runs with their main figures, or the members of one sweep."""
    if sweep is not None:
        _list_members(sweep, by, limit, as_json)
        return
    with _desk() as desk:
        runs = desk.risk_store.runs(limit=limit if strategy is None else 1_000)
        runs = [run for run in runs if strategy in (None, run["strategy"])][:limit]
        figures = figures_of(desk.risk_store, [run["run_id"] for run in runs])
    if as_json:
        emit_json([{**run, "figures": figures.get(run["run_id"])} for run in runs])
        return
    if not runs:
        people.print("No runs yet. Make one with: mbats backtest STRATEGY", markup=False)
        return
    people.print(_listing(runs, figures))


def _list_members(sweep: str, by: str, limit: int, as_json: bool) -> None:
    with _desk() as desk:
        ranking = ranking_of(desk.risk_store, sweep, by, limit)
    if as_json:
        emit_json({"sweep": sweep, **ranking_document(ranking)})
    elif ranking.trials or ranking.warnings:
        show_ranking(ranking)
    else:
        people.print(f"No members of {sweep} yet. Make them with: mbats sweep", markup=False)


@app.command(epilog="Example: mbats runs show last --html tearsheet.html")
def show(
    run: RunArgument = LAST,
    html: Annotated[Path | None, typer.Option(help="also write the tear sheet here")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the report of a run; --html writes its tear sheet again."""
    from mbats.backtest.report import document, report

    with _desk() as desk:
        result = _load(desk.risk_store, run)
        bars = _bars(desk, result) if html else []
    if html:
        from mbats.backtest.tearsheet import write_tearsheet

        write_tearsheet(result, html, bars)
    if as_json:
        emit_json(document(result, bars) | {"tear_sheet": html})
        return
    people.print(*report(result, bars))
    if html:
        people.print(f"Tear sheet: {html}", markup=False, soft_wrap=True)


@app.command(epilog="Example: mbats runs compare 3f2a 91bc")
def compare(
    runs: Annotated[list[str], typer.Argument(help="run ids, beginnings of them, or `last`")],
    as_json: JsonFlag = False,
) -> None:
    """Compare runs side by side: figures, and which parameters and assumptions differ."""
    from mbats.backtest.compare import compare as compared

    if not 2 <= len(runs) <= MOST_COMPARED:
        raise ConfigError(
            f"compare takes 2 to {MOST_COMPARED} runs, got {len(runs)}.", mend="mbats runs list"
        )
    with _desk() as desk:
        store = desk.risk_store
        rows = [_load(store, run).run for run in runs]
        ids = [row["run_id"] for row in rows]
        if len(set(ids)) < len(ids):
            raise ConfigError(f"{' '.join(runs)} names one run twice.", mend="mbats runs list")
        figures = figures_of(store, ids)
    comparison = compared(rows, [figures.get(run_id, {}) for run_id in ids])
    if as_json:
        emit_json(_comparison_document(comparison))
        return
    people.print(*_side_by_side(comparison, rows))


def _desk() -> "Desk":
    from mbats.desk import Desk

    return Desk(context.settings())


def _load(store: "RunStore", run: str) -> "RunResult":
    if run != LAST:
        return store.load(run)
    newest = store.runs(limit=1)
    if not newest:
        raise DataError("There are no runs yet.", mend="mbats backtest STRATEGY")
    return store.load(newest[0]["run_id"])


def _bars(desk: "Desk", result: "RunResult") -> "list[Bars]":
    """Return the stored bars of the run's span; none of a vendor that the store has not."""
    from mbats.market.bars import bars_from_table

    run = result.run
    if not run["vendor"] or not run["data_start"]:
        return []
    key = (run["granularity"], run["vendor"], run["data_start"], run["data_end"])
    found = (desk.security_master.bars(name, *key) for name in run["instruments"])
    return [bars_from_table(table, run["granularity"]) for table in found if table.num_rows]


def _listing(runs: Sequence[Mapping[str, Any]], figures: Mapping[str, Mapping[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from mbats.backtest.report import STYLES
    from mbats.backtest.tables import Kind, shown, tone

    columns: tuple[tuple[str, str, Kind], ...] = (
        ("Net P&L", "net_pnl", "round"),
        ("Return", "total_return", "change"),
        ("DD", "max_drawdown_fraction", "share"),
        ("Sharpe", "sharpe", "number"),
        ("Trades", "trades_closed", "count"),
    )
    made = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column("Run", no_wrap=True)
    made.add_column("Strategy", overflow="ellipsis")  # the one that gives way
    for name in ("Traded", "Span", "Status"):
        made.add_column(name, no_wrap=True)
    for name, _, _ in columns:
        made.add_column(name, no_wrap=True, justify="right")
    for run in runs:
        row = figures.get(run["run_id"], {})
        start, end = run["data_start"], run["data_end"]
        span = f"{start:%Y}-{end:%Y}" if start and end else ""
        status = Text(run["status"], style="red" if run["status"] == "failed" else "")
        cells = [
            Text(
                shown(row.get(key), kind, run["account_currency"]), STYLES[tone(row.get(key), kind)]
            )
            for _, key, kind in columns
        ]
        made.add_row(run["run_id"], Text(run["strategy"]), _traded(run), span, status, *cells)
    return made


def _traded(run: Mapping[str, Any]) -> str:
    first, *others = run["instruments"] or [""]
    return f"{first}+{len(others)}" if others else first


def _comparison_document(comparison: "Comparison") -> dict[str, Any]:
    def entry(line: "Line") -> dict[str, Any]:
        values = dict(zip(comparison.run_ids, line.values, strict=True))
        return {"section": line.section, "name": line.name, "differs": line.differs, **values}

    return {
        "runs": comparison.run_ids,
        "warnings": comparison.warnings,
        "lines": [entry(line) for line in comparison.lines],
    }


def _side_by_side(comparison: "Comparison", runs: Sequence[Mapping[str, Any]]) -> list[Any]:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from mbats.backtest.tables import shown

    warned = [Text(f"! {line}", style="yellow") for line in comparison.warnings]
    parts: list[Any] = [Group(*warned)] if warned else []
    for section in dict.fromkeys(line.section for line in comparison.lines):
        made = Table(
            title=section.capitalize(), title_justify="left", title_style="bold", box=SIMPLE_HEAD
        )
        made.add_column("", no_wrap=True)
        for run_id in comparison.run_ids:
            made.add_column(run_id, justify="right", overflow="fold")
        for line in comparison.lines:
            if line.section != section:
                continue
            style = "bold yellow" if line.differs and section != "figures" else ""
            mark = "* " if style else "  "
            cells = [
                Text(shown(value, line.kind, run["account_currency"]) or "-", style=style)
                for value, run in zip(line.values, runs, strict=True)
            ]
            made.add_row(Text(mark + line.name, style=style or "dim"), *cells)
        parts.append(made)
    parts.append(Text("* differs between the runs", style="dim"))
    return parts
