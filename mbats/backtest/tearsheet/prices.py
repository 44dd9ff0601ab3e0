"""The price chart of each instrument, with its trades."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbats.backtest.curve import amounts, times
from mbats.backtest.result import RunResult
from mbats.backtest.tables import shown
from mbats.backtest.tearsheet.figure import FIRST_X, Figure, Trace, label
from mbats.backtest.tearsheet.series import pack, pack_times, price_buckets
from mbats.market.bars import Bars

MOST_BUCKETS, ALL_BUCKETS = 8_000, 60_000
ALL_TRADES = 5_000
CROWD = 300


def price_figure(result: RunResult, bars: Iterable[Bars]) -> Figure | None:
    """Return one variant an instrument that has bars or trades, or None where there is none.

    Every instrument gets an equal share of the points and markers that the page can hold: long
    series are drawn as the low-high band of buckets of bars, and only the newest trades.
    """
    trades = result.tables["trade"]
    given = {one.instrument: one for one in bars if len(one)}
    traded = set(trades.column("instrument").unique().to_pylist())
    names = [name for name in result.run["instruments"] if name in traded or name in given]
    names += sorted(traded.difference(names))
    if not names:
        return None
    currency = result.run["account_currency"]
    buckets = max(500, min(MOST_BUCKETS, ALL_BUCKETS // len(names)))
    most = max(100, ALL_TRADES // len(names))
    variants = {}
    for name in names:
        own = trades.filter(pc.field("instrument") == name).sort_by("trade_id")
        shown_trades = own.slice(max(0, own.num_rows - most))
        variants[name] = _variant(name, given.get(name), own, shown_trades, buckets, currency)
    note = "Drag to zoom, double-click to see all. Hover over an exit for its P&L and reason."
    return Figure("prices", "Trades on the price", note, 440, variants)


def _variant(
    name: str,
    bars: Bars | None,
    trades: pa.Table,
    newest: pa.Table,
    buckets: int,
    currency: str,
) -> dict[str, Any]:
    note = ""
    if newest.num_rows < trades.num_rows:
        note = f"The newest {newest.num_rows:,} of {trades.num_rows:,} trades are marked. "
    if bars is None:
        data = [_price_of_trades(trades)]
        note += "No bars were given: the line joins the prices of the trades."
    else:
        each, data = _price_of_bars(bars, buckets)
        drawn = "a bar" if each == 1 else f"{each:,} bars"
        note += f"The band is the low to high of {drawn} ({bars.granularity}, mid), the line its"
        note += " close."
    data += [*_paths(newest), *_entries(newest, name), *_exits(newest, name, currency)]
    quote = name.partition("_")[2] or name
    layout = {"yaxis": {"title": {"text": label(quote)}}, "hovermode": "closest"}
    return {"data": data, "layout": layout, "note": note}


def _price_of_bars(bars: Bars, buckets: int) -> tuple[int, list[Trace]]:
    made = price_buckets(bars, buckets)
    thin = {
        "type": "scatter",
        "mode": "lines",
        "x": FIRST_X,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    clear = {"color": "rgba(0,0,0,0)", "width": 0}
    band = {"fill": "tonexty", "fillcolor": "var(--band)", "line": clear}
    close = {"name": "Close", "line": {"color": "var(--muted)", "width": 1}}
    return made["bars_each"], [
        {**thin, "x": pack_times(made["time"]), "y": pack(made["low"], "f4"), "line": clear},
        {**thin, "y": pack(made["high"], "f4"), **band},
        {**thin, "y": pack(made["close"], "f4"), **close},
    ]


def _price_of_trades(trades: pa.Table) -> Trace:
    at = np.concatenate([times(trades, "entry_time"), times(trades, "exit_time")])
    price = np.concatenate([amounts(trades, "entry_price"), amounts(trades, "exit_price")])
    order = np.argsort(at, kind="stable")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Prices of trades",
        "x": pack_times(at[order]),
        "y": pack(price[order]),
        "line": {"color": "var(--muted)", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _paths(trades: pa.Table) -> list[Trace]:
    """Return two traces, gains and losses, of lines from each entry to its exit."""
    won = amounts(trades, "pnl") > 0
    x = np.stack([times(trades, "entry_time"), times(trades, "exit_time")])
    y = np.stack([amounts(trades, "entry_price"), amounts(trades, "exit_price")])
    made = []
    for chosen, colour in ((won, "var(--gain)"), (~won, "var(--loss)")):
        broken = np.full((3, int(chosen.sum())), np.nan)
        broken[:2] = y[:, chosen]
        at = np.concatenate([x[:, chosen], x[1:, chosen]])
        made.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": pack_times(at.T.ravel()),
                "y": pack(broken.T.ravel()),
                "line": {"color": colour, "width": 1.5},
                "opacity": 0.7,
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return made


def _markers(name: str, at: Any, price: Any, text: list[str], look: dict[str, Any]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": pack_times(at),
        "y": pack(price),
        "text": text,
        "marker": {"line": {"width": 0.5, "color": "var(--surface)"}, **look},
        "hovertemplate": "%{text}<br>%{x|%Y-%m-%d %H:%M} UTC<extra></extra>",
    }


def _entries(trades: pa.Table, instrument: str) -> list[Trace]:
    at, price = times(trades, "entry_time"), amounts(trades, "entry_price")
    rows = trades.select(["trade_id", "direction", "units", "entry_price"]).to_pylist()
    made = []
    for side, symbol in (("long", "triangle-up"), ("short", "triangle-down")):
        chosen = [index for index, row in enumerate(rows) if row["direction"] == side]
        text = [
            f"#{rows[i]['trade_id']} {side} {shown(rows[i]['units'], 'count')} {label(instrument)}"
            f" at {shown(rows[i]['entry_price'], 'price')}"
            for i in chosen
        ]
        size = 10 if len(rows) < CROWD else 8
        look = {"symbol": symbol, "color": "var(--accent)", "size": size}
        made.append(_markers(f"{side.capitalize()} entry", at[chosen], price[chosen], text, look))
    return made


def _exits(trades: pa.Table, instrument: str, currency: str) -> list[Trace]:
    at, price = times(trades, "exit_time"), amounts(trades, "exit_price")
    rows = trades.to_pylist()
    made = []
    for won, name, colour in ((True, "Exit, gain", "gain"), (False, "Exit, loss", "loss")):
        chosen = [index for index, row in enumerate(rows) if (row["pnl"] > 0) is won]
        text = [_exit_text(rows[i], instrument, currency) for i in chosen]
        size = 7 if len(rows) < CROWD else 6
        look = {"symbol": "circle", "size": size, "color": f"var(--{colour})"}
        made.append(_markers(name, at[chosen], price[chosen], text, look))
    return made


def _exit_text(row: dict[str, Any], instrument: str, currency: str) -> str:
    return (
        f"#{row['trade_id']} {label(row['direction'])} {label(instrument)} closed by"
        f" {label(row['exit_reason'])} at {shown(row['exit_price'], 'price')}<br>"
        f"{shown(row['pnl'], 'money', currency)} {currency}, {row['bars_held']:,} bars"
    )
