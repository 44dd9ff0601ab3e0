"""What a report says, as data: tables with typed cells, for the console, JSON and HTML alike."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from mbats.backtest.curve import Curve, curve_of
from mbats.backtest.performance import (
    ALL,
    REFUSED,
    WITHDRAWN,
    open_positions,
    performance_table,
    total,
)
from mbats.backtest.result import RunResult
from mbats.market.bars import Bars

Kind = Literal[
    "text",
    "count",
    "money",
    "round",
    "cost",
    "change",
    "points",
    "share",
    "number",
    "price",
    "time",
    "day",
]
"""How a cell is shown. ``money``, ``round`` (money without cents), ``change`` and ``points``
(fractions, the latter without its percent sign) are signed and coloured; ``cost`` and ``share``
(a fraction) are not."""

EXTREMES = 5
WITHOUT_CENTS = ("HUF", "JPY", "KRW")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Column:
    """A column: ``name`` for people, ``key`` in JSON."""

    name: str
    key: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """Rows of raw values (Decimal, float, int, str, datetime or None), shown by column kind."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    footer: tuple[Any, ...] | None = None
    note: str = ""

    def records(self) -> list[dict[str, Any]]:
        """Return the rows, and the footer last, as mappings by column key."""
        rows = (*self.rows, self.footer) if self.footer else self.rows
        return [{c.key: v for c, v in zip(self.columns, row, strict=True)} for row in rows]


def all_tables(result: RunResult, bars: Iterable[Bars] = ()) -> list[Table]:
    """Return every table of the report that has something to say, in reading order."""
    made = (
        per_instrument(result, bars),
        exits(result),
        extreme_trades(result, worst=True),
        extreme_trades(result, worst=False),
        monthly(curve_of(result.run, result.tables["equity"])),
        costs(result),
        drawdowns(curve_of(result.run, result.tables["equity"])),
        open_at_end(result),
        orders_not_filled(result),
    )
    return [table for table in made if table.rows]


def figures(result: RunResult, instrument: str = ALL) -> Mapping[str, Any]:
    """Return one row of ``risk.performance``; computed where the run has none (it failed)."""
    rows = result.tables["performance"]
    if not rows.num_rows:
        rows = performance_table(result.run, result.tables)
    return next(row for row in rows.to_pylist() if row["instrument"] == instrument)


def per_instrument(result: RunResult, bars: Iterable[Bars] = ()) -> Table:
    """Return the figures of each instrument and of the whole; ``bars`` add the market's change."""
    market = {one.instrument: _change(one) for one in bars if len(one)}
    columns: tuple[Column, ...] = (
        Column("Instrument", "instrument"),
        Column("Trades", "trades_closed", "count"),
        Column("Won", "win_rate", "share"),
        Column("Factor", "profit_factor", "number"),
        Column("Mean P&L", "expectancy", "money"),
        Column("Net P&L", "net_pnl", "money"),
        Column("Return", "total_return", "change"),
        Column("Best", "best_trade", "round"),
        Column("Worst", "worst_trade", "round"),
        Column("Held", "exposure_fraction", "share"),
    )
    if market:
        columns += (Column("Market", "market_change", "change"),)
    performance = result.tables["performance"]
    if not performance.num_rows:
        performance = performance_table(result.run, result.tables)
    rows = []
    for row in performance.to_pylist():
        row["market_change"] = market.get(row["instrument"])
        label = "TOTAL" if row["instrument"] == ALL else row["instrument"]
        rows.append((label, *(row[column.key] for column in columns[1:])))
    rows.sort(key=lambda row: row[0] == "TOTAL")
    return Table("instruments", "By instrument", columns, tuple(rows[:-1]), rows[-1])


def _change(bars: Bars) -> float:
    return float(bars.mid.close[-1] / bars.mid.open[0] - 1)


def exits(result: RunResult) -> Table:
    """Return trades by the reason they were closed, the most frequent first."""
    trades = result.tables["trade"]
    columns = (
        Column("Exit", "exit_reason"),
        Column("Trades", "trades", "count"),
        Column("Won", "win_rate", "share"),
        Column("Mean P&L", "mean_pnl", "money"),
        Column("Net P&L", "net_pnl", "money"),
        Column("Mean return", "mean_return", "change"),
        Column("Mean bars", "mean_bars", "number"),
    )
    rows = []
    for reason, count in _counts(trades.column("exit_reason")):
        rows.append((reason, *_group(trades.filter(pc.field("exit_reason") == reason), count)))
    footer = ("TOTAL", *_group(trades, trades.num_rows)) if rows else None
    return Table("exits", "By exit", columns, tuple(rows), footer)


def _group(trades: pa.Table, count: int) -> tuple[Any, ...]:
    net = total(trades, "pnl")
    won = pc.sum(pc.greater(trades.column("pnl"), Decimal(0))).as_py()
    mean_return = pc.mean(trades.column("return_fraction")).as_py()
    mean_bars = pc.mean(trades.column("bars_held")).as_py()
    return count, won / count, net / count, net, mean_return, mean_bars


def extreme_trades(result: RunResult, worst: bool) -> Table:
    """Return the few worst or best trades by P&L; never a winner among the worst."""
    trades = result.tables["trade"]
    won = pc.greater(trades.column("pnl"), Decimal(0))
    trades = trades.filter(pc.invert(won) if worst else won)
    order = [("pnl", "ascending" if worst else "descending"), ("trade_id", "ascending")]
    keys = ("trade_id", "instrument", "direction", "entry_time", "exit_time", "units")
    columns = (
        Column("#", "trade_id", "count"),
        Column("Instrument", "instrument"),
        Column("Side", "direction"),
        Column("Entry, UTC", "entry_time", "time"),
        Column("Exit, UTC", "exit_time", "time"),
        Column("Units", "units", "count"),
        Column("P&L", "pnl", "money"),
        Column("Return", "return_fraction", "change"),
        Column("Exit by", "exit_reason"),
    )
    chosen = trades.sort_by(order).slice(0, EXTREMES).to_pylist()
    last = ("pnl", "return_fraction", "exit_reason")
    rows = tuple(tuple(row[key] for key in (*keys, *last)) for row in chosen)
    name = "worst" if worst else "best"
    return Table(f"{name}_trades", f"{name.capitalize()} trades", columns, rows)


def monthly(curve: Curve) -> Table:
    """Return the return of each month, years down and months across, and of each year."""
    months, by_month = curve.period_returns("M")
    years, by_year = curve.period_returns("Y")
    grid: dict[int, list[float | None]] = {int(y): [None] * 12 for y in years.astype(int) + 1970}
    for month, change in zip(months.astype(int), by_month, strict=True):
        grid[1970 + month // 12][month % 12] = float(change)
    columns = (
        Column("Year", "year", "text"),
        *(Column(name, name.lower(), "points") for name in MONTHS),
        Column("Year", "return", "points"),
    )
    rows = tuple(
        (str(year), *grid[year], float(change)) for year, change in zip(grid, by_year, strict=True)
    )
    return Table("monthly", "Monthly returns, %", columns, rows)


def costs(result: RunResult) -> Table:
    """Return the way from gross to net: what trading at mid would have made, and each cost.

    Spread and slippage are in the fill prices, so gross at mid is ``gross_pnl`` plus both.
    """
    trades = result.tables["trade"]
    spread, slippage = total(trades, "spread_cost"), total(trades, "slippage_cost")
    commission, financing = total(trades, "commission"), total(trades, "financing")
    gross = total(trades, "gross_pnl") + spread + slippage
    columns = (
        Column("", "item"),
        Column("Amount", "amount", "money"),
        Column("Of gross", "of_gross", "change"),
        Column("A trade", "per_trade", "money"),
    )
    steps = (
        ("Gross, at mid prices", gross),
        ("Spread", -spread),
        ("Slippage", -slippage),
        ("Commission", -commission),
        ("Financing", financing),
    )
    count = trades.num_rows

    def row(label: str, amount: Decimal) -> tuple[Any, ...]:
        share = float(amount / gross) if gross > 0 else None
        return label, amount, share, amount / count

    if not count:
        return Table("costs", "Costs", columns, ())
    net = row("Net of closed trades", total(trades, "pnl"))
    return Table("costs", "Costs", columns, tuple(row(*step) for step in steps), net)


def drawdowns(curve: Curve, count: int = EXTREMES) -> Table:
    """Return the deepest drawdowns; an empty recovery means still under water."""
    columns = (
        Column("Peak", "peak", "day"),
        Column("Trough", "trough", "day"),
        Column("Recovery", "recovery", "day"),
        Column("Depth", "fraction", "share"),
        Column("Amount", "amount", "count"),
        Column("Days", "days", "count"),
    )
    rows = tuple(
        (d.peak, d.trough, d.recovery, d.fraction, d.amount, d.days)
        for d in curve.drawdowns()[:count]
    )
    open_ended = any(row[2] is None for row in rows)
    note = "Without a recovery: still under water at the end." if open_ended else ""
    return Table("drawdowns", "Worst drawdowns", columns, rows, note=note)


def open_at_end(result: RunResult) -> Table:
    """Return the positions still open at the end."""
    keys = ("instrument", "units", "average_price", "price", "unrealised_pnl", "notional")
    columns = (
        Column("Instrument", "instrument"),
        Column("Units", "units", "count"),
        Column("Entry", "average_price", "price"),
        Column("Price", "price", "price"),
        Column("Unrealised", "unrealised_pnl", "money"),
        Column("Notional", "notional", "cost"),
    )
    rows = open_positions(result.tables["position"]).to_pylist()
    return Table(
        "open", "Open at the end", columns, tuple(tuple(row[key] for key in keys) for row in rows)
    )


def orders_not_filled(result: RunResult) -> Table:
    """Return how many orders were refused or withdrawn, by event, role and reason."""
    events = result.tables["order_event"]
    chosen = events.filter(pc.field("event").isin([*REFUSED, *WITHDRAWN]))
    seen = {
        (row["order_key"], row["event"]): (row["event"], row["role"] or "", row["reason"] or "")
        for row in chosen.select(["order_key", "event", "role", "reason"]).to_pylist()
    }
    columns = (
        Column("Orders", "event"),
        Column("Role", "role"),
        Column("Reason", "reason"),
        Column("Count", "count", "count"),
    )
    counted = sorted(Counter(seen.values()).items(), key=lambda item: (-item[1], item[0]))
    return Table(
        "orders_not_filled",
        "Orders refused or withdrawn",
        columns,
        tuple((*key, count) for key, count in counted),
    )


def _counts(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    return sorted(Counter(column.to_pylist()).items(), key=lambda item: (-item[1], item[0]))


LEFT: tuple[Kind, ...] = ("text", "time", "day")
"""Kinds that are aligned left; the others are numbers."""


def shown(value: object, kind: Kind, currency: str = "USD") -> str:
    """Return a cell as people read it; empty for None. Fractions become percent."""
    if value is None:
        return ""
    text = _SHOWN[kind](value, currency)
    zero = text.startswith("-") and kind != "text" and not text.strip("-0.,%")
    return text.removeprefix("-") if zero else text


def tone(value: object, kind: Kind) -> Literal["gain", "loss", ""]:
    """Return whether a signed cell is a gain or a loss; costs and shares are neither."""
    if kind not in ("money", "round", "change", "points") or not isinstance(
        value, int | float | Decimal
    ):
        return ""
    if not value:
        return ""
    return "gain" if value > 0 else "loss"


def _money(value: Any, currency: str) -> str:
    return f"{value:,.{0 if currency in WITHOUT_CENTS else 2}f}"


def _price(value: Any, _: str) -> str:
    return f"{value:.3f}" if abs(value) >= 20 else f"{value:.5f}"


_SHOWN: Mapping[Kind, Callable[[Any, str], str]] = {
    "text": lambda value, _: str(value),
    "count": lambda value, _: f"{value:,.0f}",
    "money": _money,
    "round": lambda value, _: f"{value:,.0f}",
    "cost": _money,
    "change": lambda value, _: f"{value:.2%}",
    "points": lambda value, _: f"{value * 100:.1f}",
    "share": lambda value, _: f"{value:.1%}",
    "number": lambda value, _: f"{value:,.2f}",
    "price": _price,
    "time": lambda value, _: f"{value:%Y-%m-%d %H:%M}",
    "day": lambda value, _: f"{value:%Y-%m-%d}",
}


def flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested JSON as (dotted name, value), in its order; lists become one line."""
    rows: list[tuple[str, Any]] = []
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            rows.append((prefix + name, ", ".join(map(str, value))))
        else:
            rows.append((prefix + name, value))
    return rows
