"""The report of a run: what it was, what it assumed, what to distrust, and its tables."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from mbats.backtest.curve import curve_of
from mbats.backtest.performance import total
from mbats.backtest.result import RunResult
from mbats.backtest.tables import (
    LEFT,
    Kind,
    Table,
    all_tables,
    figures,
    flat,
    open_at_end,
    shown,
    tone,
)
from mbats.market.bars import Bars

FEW_TRADES = 30
WIDTH = 100
STYLES = {"gain": "green", "loss": "red", "": ""}
WARNINGS = "warnings"

KEY_FIGURES: tuple[tuple[str, str, Kind], ...] = (
    ("Net P&L, closed trades", "net_pnl", "money"),
    ("Total return", "total_return", "change"),
    ("Annual return (CAGR)", "annual_return", "change"),
    ("Annual volatility", "annual_volatility", "share"),
    ("Sharpe", "sharpe", "number"),
    ("Sortino", "sortino", "number"),
    ("Calmar", "calmar", "number"),
    ("Max drawdown", "max_drawdown_fraction", "share"),
    ("Max drawdown, amount", "max_drawdown_amount", "cost"),
    ("Longest under water, days", "max_drawdown_days", "count"),
    ("Time in the market", "exposure_fraction", "share"),
    ("Trades closed", "trades_closed", "count"),
    ("Trades open at the end", "trades_open", "count"),
    ("Win rate", "win_rate", "share"),
    ("Profit factor", "profit_factor", "number"),
    ("Expectancy, a trade", "expectancy", "money"),
    ("SQN", "sqn", "number"),
    ("Best trade", "best_trade", "money"),
    ("Worst trade", "worst_trade", "money"),
    ("Longest winning streak", "longest_win_streak", "count"),
    ("Longest losing streak", "longest_loss_streak", "count"),
    ("Mean bars held", "mean_bars_held", "number"),
    ("Orders refused", "rejected_orders", "count"),
    ("Orders cancelled or expired", "canceled_orders", "count"),
)


def report(result: RunResult, bars: Iterable[Bars] | None = None) -> list[RenderableType]:
    """Return what the console prints of a run, at most 100 columns wide.

    ``bars`` (optional) add what the market did beside what the strategy did.
    """
    currency = result.run["account_currency"]
    parts: list[RenderableType] = [_header(result)]
    found = warnings(result)
    if found:
        parts.append(warnings_block(found))
    parts.append(_key_figures(figures(result), currency))
    parts += [console_table(table, currency) for table in all_tables(result, bars or ())]
    return parts


def document(result: RunResult, bars: Iterable[Bars] | None = None) -> dict[str, Any]:
    """Return the content of :func:`report` as one mapping for JSON, numbers unrounded."""
    return {
        "run": dict(result.run),
        "warnings": warnings(result),
        "figures": dict(figures(result)),
        "tables": {table.key: table.records() for table in all_tables(result, bars or ())},
    }


def facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the run was, as (name, value) lines: the header of every report."""
    currency = run["account_currency"]
    kind, status = run["kind"], run["status"]
    lines = [
        ("Run", f"{run['run_id']}  {kind}, {status}"),
        ("Instruments", ", ".join(run["instruments"])),
        ("Bars", _bars_line(run)),
        ("Span", f"{_time(run.get('data_start'))} to {_time(run.get('data_end'))} UTC"),
        ("Snapshot", run.get("data_snapshot")),
        ("Account", f"{_cash(run, 'starting_cash')} to {_cash(run, 'ending_value')} {currency}"),
        ("Code", run.get("git_sha")),
        ("Image", run.get("image_digest")),
        ("Model", run.get("model_version")),
        ("Part of", run.get("parent_run_id")),
        ("Broker account", run.get("account")),
        ("Begun", f"{_time(run.get('started_at'))} UTC, {_duration(run)}"),
    ]
    return [(name, str(value)) for name, value in lines if value]


def parameters(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the strategy's parameters as (name, value)."""
    return [(name, _plain(value)) for name, value in flat(run["parameters"] or {})]


def assumptions(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every assumption as (name, value); its warnings are shown as warnings."""
    given = {k: v for k, v in (run["assumptions"] or {}).items() if k != WARNINGS}
    return [(name, _plain(value)) for name, value in flat(given)]


def warnings(result: RunResult) -> list[str]:
    """Return why the figures may flatter: what the engine said, then what the rows show."""
    run, tables = result.run, result.tables
    found = list((run["assumptions"] or {}).get(WARNINGS, ()))
    if run["status"] != "done":
        why = f": {run['error']}" if run.get("error") else ""
        found.append(f"The run is {run['status']}{why}. What follows is not a whole result.")
    found += _warnings_of_costs(result)
    count = figures(result)["trades_closed"]
    if count > tables["trade"].num_rows:
        found.append(
            "This member of a sweep kept its figures alone; its trades and curve are made again "
            "by mbats backtest with the same parameters."
        )
    if count < FEW_TRADES:
        noun = "trade" if count == 1 else "trades"
        found.append(f"{count or 'No'} closed {noun}: fewer than {FEW_TRADES} show little.")
    held = open_at_end(result).rows
    if held:
        amount = shown(sum(row[4] for row in held), "money", run["account_currency"])
        found.append(
            f"{len(held)} open at the end: {amount} {run['account_currency']} of unrealised P&L"
            " is in the curve, not in the trades."
        )
    curve = curve_of(run, tables["equity"])
    if len(curve) and curve.nav.min() <= 0:
        found.append("The net asset value fell to zero or below: a broker had closed it out.")
    if str(run.get("git_sha") or "").endswith("-dirty"):
        found.append("The code had uncommitted changes: the run cannot be made again from git.")
    return found


def _warnings_of_costs(result: RunResult) -> list[str]:
    trades = result.tables["trade"]
    if not trades.num_rows:
        return []
    costs = ("spread_cost", "slippage_cost", "commission", "financing")
    free = {name for name in costs if not total(trades, name)}
    if len(free) == len(costs):
        return ["Costs are off: no spread, slippage, commission or financing was paid."]
    overnight = pc.any(
        pc.greater(
            pc.cast(trades.column("exit_time"), "date32"),
            pc.cast(trades.column("entry_time"), "date32"),
        )
    ).as_py()
    found = []
    if {"spread_cost", "commission"} <= free:
        found.append("No spread and no commission were paid.")
    if "slippage_cost" in free:
        found.append("No slippage: every order filled at the quoted price.")
    if "financing" in free and overnight:
        found.append("No financing, though positions were held overnight.")
    return found


def _header(result: RunResult) -> RenderableType:
    run = result.run
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts(run):
        grid.add_row(name, Text(value))
    for title, lines in (("Parameters", parameters(run)), ("Assumptions", assumptions(run))):
        for index, (name, value) in enumerate(lines):
            grid.add_row("" if index else title, Text(f"{name} = {value}"))
    return Group(Text(str(run["strategy"]), style="bold"), grid)


def warnings_block(lines: Sequence[str]) -> RenderableType:
    """Return warnings as the console prints them."""
    grid = RichTable.grid(padding=(0, 1))
    for line in lines:
        grid.add_row(Text(" !", style="bold yellow"), Text(line, style="yellow"))
    return Padding(Group(Text("Warnings", style="bold yellow"), grid), (1, 0, 1, 0))


def _key_figures(row: Mapping[str, Any], currency: str) -> RenderableType:
    cells = [(name, row[key], kind) for name, key, kind in KEY_FIGURES]
    half = (len(cells) + 1) // 2
    table = RichTable(
        title=f"Figures, {currency}", title_justify="left", box=SIMPLE_HEAD, show_header=False,
        title_style="bold",
    )  # fmt: skip
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify, no_wrap=True)
    for left, right in zip(cells[:half], [*cells[half:], ("", None, "text")], strict=False):
        table.add_row(*_figure(left, currency), *_figure(right, currency))
    return table


def _figure(cell: tuple[str, Any, Kind], currency: str) -> tuple[Text, Text]:
    name, value, kind = cell
    return Text(name, style="dim"), _cell(value, kind, currency, empty="-" if name else "")


def console_table(table: Table, currency: str) -> RichTable:
    """Return a table as the console prints it, amounts in ``currency``."""
    made = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, _side_padding(table, currency)),
        show_footer=table.footer is not None,
        caption=table.note or None,
        caption_justify="left",
    )
    for index, column in enumerate(table.columns):
        value = table.footer[index] if table.footer else None
        made.add_column(
            column.name,
            justify="left" if column.kind in LEFT else "right",
            no_wrap=True,
            footer=_cell(value, column.kind, currency),
        )
    for row in table.rows:
        made.add_row(*(_cell(v, c.kind, currency) for v, c in zip(row, table.columns, strict=True)))
    return made


def _side_padding(table: Table, currency: str) -> int:
    """Return 1, or 0 where the table would be wider than the page: a number is never cut."""
    rows = (*table.rows, table.footer) if table.footer else table.rows
    widest = [
        max(len(column.name), *(len(shown(row[i], column.kind, currency)) for row in rows))
        for i, column in enumerate(table.columns)
    ]
    return 1 if sum(widest) + 3 * len(widest) + 1 <= WIDTH else 0


def _cell(value: Any, kind: Kind, currency: str, empty: str = "") -> Text:
    return Text(shown(value, kind, currency) or empty, style=STYLES[tone(value, kind)])


def _bars_line(run: Mapping[str, Any]) -> str:
    count = "" if run.get("bars") is None else f"{run['bars']:,} "
    vendor = f" from {run['vendor']}" if run.get("vendor") else ""
    return f"{count}{run['granularity']}{vendor}"


def _cash(run: Mapping[str, Any], name: str) -> str:
    return shown(run.get(name), "cost", run["account_currency"]) or "?"


def _time(value: Any) -> str:
    return shown(value, "time") or "?"


def _duration(run: Mapping[str, Any]) -> str:
    if not run.get("ended_at"):
        return "not ended"
    return f"took {(run['ended_at'] - run['started_at']).total_seconds():,.1f} s"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | Decimal):
        return f"{value:,.10g}" if isinstance(value, float) else f"{value.normalize():f}"
    return "none" if value is None else str(value)
