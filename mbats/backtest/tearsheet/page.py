"""The page of the tear sheet: figures, tables and assumptions, in one self-contained file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mbats import __version__
from mbats.backtest import report, tables
from mbats.backtest.result import RunResult
from mbats.backtest.tearsheet.figures import all_figures
from mbats.market.bars import Bars

MOST_TRADES = 2_000
HEADLINES = (
    ("Net P&L", "net_pnl", "money"),
    ("Return", "total_return", "change"),
    ("A year (CAGR)", "annual_return", "change"),
    ("Sharpe", "sharpe", "number"),
    ("Max drawdown", "max_drawdown_fraction", "share"),
    ("Profit factor", "profit_factor", "number"),
    ("Trades", "trades_closed", "count"),
)
TRADE_COLUMNS: tuple[tables.Column, ...] = (
    tables.Column("#", "trade_id", "count"),
    tables.Column("Instrument", "instrument"),
    tables.Column("Side", "direction"),
    tables.Column("Entry, UTC", "entry_time", "time"),
    tables.Column("Exit, UTC", "exit_time", "time"),
    tables.Column("Units", "units", "count"),
    tables.Column("Entry price", "entry_price", "price"),
    tables.Column("Exit price", "exit_price", "price"),
    tables.Column("P&L", "pnl", "money"),
    tables.Column("Return", "return_fraction", "change"),
    tables.Column("MFE", "mfe_fraction", "share"),
    tables.Column("MAE", "mae_fraction", "share"),
    tables.Column("Bars", "bars_held", "count"),
    tables.Column("Exit by", "exit_reason"),
)


def write_tearsheet(result: RunResult, path: Path, bars: Iterable[Bars] | None = None) -> Path:
    """Write the tear sheet of a run to ``path`` (parents are made) and return it.

    ``bars`` (optional) are drawn behind the trades; instruments without are drawn from their
    trades alone. Equal input gives an equal file. The old file stays until the new one is whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(tearsheet_html(result, bars), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def tearsheet_html(result: RunResult, bars: Iterable[Bars] | None = None) -> str:
    """Return the tear sheet as HTML: every script, style and number inside, no address to load."""
    run, given = result.run, list(bars or ())
    currency = run["account_currency"]
    row = tables.figures(result)
    figures = all_figures(result, given)
    made = {table.key: table for table in tables.all_tables(result, given)}
    return (
        _environment()
        .get_template("tearsheet.html.j2")
        .render(
            run=run,
            currency=currency,
            version=__version__,
            facts=report.facts(run),
            parameters=report.parameters(run),
            assumptions=report.assumptions(run),
            warnings=report.warnings(result),
            headlines=[(name, row[key], kind) for name, key, kind in HEADLINES],
            figures_table=[(name, row[key], kind) for name, key, kind in report.KEY_FIGURES],
            tables=made,
            figures=figures,
            page={
                "figures": {figure.key: figure.variants for figure in figures},
                "trades": _trades(result, currency),
            },
            plotly_js=Markup(get_plotlyjs()),
        )
    )


def _trades(result: RunResult, currency: str) -> dict[str, Any]:
    """Return the newest trades: per column its label and kind, per cell what to show and sort."""
    trades = result.tables["trade"].sort_by("trade_id")
    newest = trades.slice(max(0, trades.num_rows - MOST_TRADES)).to_pylist()
    return {
        "columns": [{"name": c.name, "left": c.kind in tables.LEFT} for c in TRADE_COLUMNS],
        "rows": [[_cell(row[c.key], c.kind, currency) for c in TRADE_COLUMNS] for row in newest],
        "total": trades.num_rows,
    }


def _cell(value: Any, kind: tables.Kind, currency: str) -> list[Any]:
    key = value if kind == "text" else f"{value:%Y%m%d%H%M%S}" if kind == "time" else float(value)
    shown = tables.shown(value, kind, currency)
    found = tables.tone(value, kind)
    return [key, shown, found] if found else [key, shown]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mbats.backtest.tearsheet", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["LEFT"] = tables.LEFT
    environment.filters["shown"] = tables.shown
    environment.filters["tone"] = tables.tone
    return environment
