"""The figures of the tear sheet, as Plotly JSON. Colours are CSS variables: the page's theme."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from mbats.backtest import tables
from mbats.backtest.curve import TRADING_DAYS_A_YEAR, Curve, Floats, amounts, curve_of, times
from mbats.backtest.result import RunResult
from mbats.backtest.tearsheet.figure import Figure, Trace, label, single
from mbats.backtest.tearsheet.prices import price_figure
from mbats.backtest.tearsheet.series import keep_extremes, pack, pack_times
from mbats.market.bars import Bars

POINTS = 6_000
ROLLING_DAYS = (126, 63, 21)
BEYOND = "The outermost bars hold all beyond."
COLOURS = tuple(f"var(--series-{n})" for n in range(1, 8))
DAY = "%{x|%Y-%m-%d}"


def all_figures(result: RunResult, bars: Iterable[Bars] = ()) -> list[Figure]:
    """Return every figure that the run has data for, in reading order."""
    curve = curve_of(result.run, result.tables["equity"])
    currency = result.run["account_currency"]
    made = (
        _equity(result, curve, currency),
        _underwater(curve),
        _monthly(curve),
        price_figure(result, bars),
        _contribution(result, currency),
        _trade_returns(result),
        _excursions(result),
        _rolling(curve),
        _costs(result, currency),
        _exits(result, currency),
    )
    return [figure for figure in made if figure is not None]


def _line(name: str, time: Any, values: Floats, colour: str, hover: str, **more: Any) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": pack_times(time),
        "y": pack(values),
        "line": {"color": colour, "width": 1.5},
        "hovertemplate": hover,
        **more,
    }


def _equity(result: RunResult, curve: Curve, currency: str) -> Figure | None:
    if not len(curve):
        return None
    equity = result.tables["equity"].sort_by("time")
    balance = np.append(curve.nav[:1], amounts(equity, "balance"))
    amount = f"%{{y:,.2f}} {currency}<extra>%{{fullData.name}}</extra>"
    kept, steps = keep_extremes(curve.nav, POINTS), keep_extremes(balance, POINTS)
    flat = {"shape": "hv", "color": "var(--muted)", "width": 1}
    data = [
        _line("Balance", curve.time[steps], balance[steps], "", amount, line=flat),
        _line("Net asset value", curve.time[kept], curve.nav[kept], "var(--accent)", amount),
    ]
    layout = {"yaxis": {"title": {"text": currency}}, "hovermode": "x unified"}
    note = "Net asset value holds the unrealised P&L of open positions; balance does not."
    return single("equity", "Equity", note, 340, data, layout)


def _underwater(curve: Curve) -> Figure | None:
    if not len(curve) or curve.nav[0] <= 0:
        return None
    fraction = -curve.drawdown_amounts() / np.maximum.accumulate(curve.nav)
    kept = keep_extremes(fraction, POINTS)
    fill = {"fill": "tozeroy", "fillcolor": "var(--loss-soft)"}
    hover = f"{DAY}: %{{y:.2%}}<extra></extra>"
    data = [_line("Drawdown", curve.time[kept], fraction[kept], "var(--loss)", hover, **fill)]
    layout = {"yaxis": {"tickformat": ".0%" if fraction.min() < -0.05 else ".1%"}}
    note = "Fall from the highest net asset value so far."
    return single("underwater", "Drawdown", note, 200, data, layout)


def _monthly(curve: Curve) -> Figure | None:
    rows = tables.monthly(curve).rows
    if not rows:
        return None
    labels = [*tables.MONTHS, "Year"]
    grid = [[None if cell is None else round(cell * 100, 4) for cell in row[1:]] for row in rows]
    months = [abs(cell) for row in grid for cell in row[:12] if cell is not None]
    edge = max(float(np.quantile(months, 0.95)), 0.1)
    heat = {
        "type": "heatmap",
        "x": labels,
        "y": [row[0] for row in rows],
        "z": grid,
        "zmin": -edge,
        "zmax": edge,
        "colorscale": [[0, "var(--heat-loss)"], [0.5, "var(--surface)"], [1, "var(--heat-gain)"]],
        "text": [["" if c is None else tables.shown(c / 100, "points") for c in r] for r in grid],
        "texttemplate": "%{text}",
        "hovertemplate": "%{x} %{y}: %{z:.2f}%<extra></extra>",
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    layout = {
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False, "ticks": ""},
        "xaxis": {"type": "category", "side": "top", "showgrid": False, "ticks": ""},
    }
    note = "Percent, by New York trading day. The last column is the whole year."
    return single("monthly", "Monthly returns", note, 70 + 26 * len(rows), [heat], layout)


def _contribution(result: RunResult, currency: str) -> Figure | None:
    trades = result.tables["trade"].sort_by([("exit_time", "ascending"), ("trade_id", "ascending")])
    if not trades.num_rows:
        return None
    names = np.array(trades.column("instrument").to_pylist())
    exits, pnl = times(trades, "exit_time"), amounts(trades, "pnl")
    data = []
    found = sorted(set(names))
    for index, name in enumerate(found):
        own = names == name
        total = np.cumsum(pnl[own])
        kept = keep_extremes(total, max(100, 2 * POINTS // len(found)))
        step = {"shape": "hv", "color": COLOURS[index % len(COLOURS)], "width": 1.5}
        hover = f"%{{y:,.2f}} {currency}<extra>{label(name)}</extra>"
        data.append(_line(label(name), exits[own][kept], total[kept], "", hover, line=step))
    layout = {"yaxis": {"title": {"text": currency}}, "hovermode": "x unified"}
    note = "Cumulative net P&L of closed trades, at the bar of their exit."
    return single("contribution", "Cumulative P&L by instrument", note, 300, data, layout)


def _histogram(values: Floats, bins: int = 40) -> tuple[Floats, Any, float]:
    """Return bin centres, counts and bin width, percent; zero is always an edge of a bin.

    The bins span 99 of 100 values; what lies beyond is counted in the outermost.
    """
    low, high = np.quantile(values, [0.005, 0.995])
    values = np.clip(values, low, high)
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    width = max((high - low) / bins, 1e-6)
    edges = np.arange(np.floor(low / width), np.ceil(high / width) + 2) * width
    counts, _ = np.histogram(values, edges)
    return (edges[:-1] + width / 2) * 100, counts, width * 100


def _bars(name: str, values: Floats, colour: str, unit: str) -> Trace:
    centres, counts, width = _histogram(values)
    return {
        "type": "bar",
        "name": name,
        "x": pack(centres),
        "y": pack(counts, "i4"),
        "width": width * 0.92,
        "marker": {"color": colour},
        "hovertemplate": f"%{{x:.2f}}%: %{{y}} {unit}<extra>{name}</extra>",
    }


def _trade_returns(result: RunResult) -> Figure | None:
    returns = amounts(result.tables["trade"], "return_fraction")
    if not len(returns):
        return None
    trace = _bars("Trades", returns, "", "trades")
    centres, _, _ = _histogram(returns)
    trace["marker"] = {"color": ["var(--gain)" if c > 0 else "var(--loss)" for c in centres]}
    layout = {
        "xaxis": {"title": {"text": "Return on net asset value, %"}},
        "yaxis": {"title": {"text": "Trades"}},
        "showlegend": False,
    }
    return single("returns", "Trade returns", f"Net of all costs. {BEYOND}", 280, [trace], layout)


def _excursions(result: RunResult) -> Figure | None:
    trades = result.tables["trade"]
    if not trades.num_rows:
        return None
    data = [
        _bars("Adverse (MAE)", amounts(trades, "mae_fraction"), "var(--loss)", "trades"),
        _bars("Favourable (MFE)", amounts(trades, "mfe_fraction"), "var(--gain)", "trades"),
    ]
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": "Excursion from the entry price, %"}},
        "yaxis": {"title": {"text": "Trades"}},
    }
    note = f"How far each trade went for and against it before it closed. {BEYOND}"
    return single("excursions", "Excursions", note, 280, data, layout)


def _rolling(curve: Curve) -> Figure | None:
    days, daily = curve.daily_returns()
    window = next((w for w in ROLLING_DAYS if len(daily) >= 2 * w), None)
    if window is None:
        return None
    views = np.lib.stride_tricks.sliding_window_view(daily, window)
    deviation = views.std(axis=1, ddof=1)
    root = np.sqrt(TRADING_DAYS_A_YEAR)
    moved = deviation > 1e-12
    sharpe = np.full(len(deviation), np.nan)
    sharpe[moved] = views.mean(axis=1)[moved] / deviation[moved] * root
    ends = days[window - 1 :]
    data = [
        _line("Sharpe", ends, sharpe, "var(--accent)", f"{DAY}: %{{y:.2f}}<extra>Sharpe</extra>"),
        _line(
            "Volatility", ends, deviation * root, "var(--series-2)",
            f"{DAY}: %{{y:.1%}}<extra>Volatility</extra>", yaxis="y2",
        ),
    ]  # fmt: skip
    layout = {
        "yaxis": {"title": {"text": "Sharpe"}, "domain": [0.54, 1], "zeroline": True},
        "yaxis2": {"title": {"text": "Volatility"}, "domain": [0, 0.46], "tickformat": ".0%"},
        "xaxis": {"anchor": "y2"},
        "showlegend": False,
    }
    note = f"Over {window} trading days, annualised by the root of {TRADING_DAYS_A_YEAR}."
    return single("rolling", "Rolling Sharpe and volatility", note, 340, data, layout)


def _costs(result: RunResult, currency: str) -> Figure | None:
    table = tables.costs(result)
    if not table.footer:
        return None
    labels = ("Gross", "Spread", "Slippage", "Commission", "Financing", "Net")
    values = [float(row[1]) for row in (*table.rows, table.footer)]
    waterfall = {
        "type": "waterfall",
        "orientation": "h",
        "y": list(labels),
        "x": values,
        "measure": ["absolute", *["relative"] * 4, "total"],
        "text": [tables.shown(value, "round", currency) for value in values],
        "textposition": "auto",
        "cliponaxis": False,
        "connector": {"line": {"color": "var(--line)", "width": 1}},
        "increasing": {"marker": {"color": "var(--gain)"}},
        "decreasing": {"marker": {"color": "var(--loss)"}},
        "totals": {"marker": {"color": "var(--accent)"}},
        "hovertemplate": f"%{{y}}: %{{text}} {currency}<extra></extra>",
    }
    layout = {
        "yaxis": {"type": "category", "autorange": "reversed"},
        "xaxis": {"title": {"text": currency}, "nticks": 6},
        "margin": {"l": 56, "r": 48, "t": 8, "b": 24},
        "showlegend": False,
    }
    note = "Gross is what the closed trades would have made at mid prices."
    return single("costs", "From gross to net", note, 300, [waterfall], layout)


def _exits(result: RunResult, currency: str) -> Figure | None:
    rows = tables.exits(result).rows
    if not rows:
        return None
    net = [float(row[4]) for row in rows]
    bar = {
        "type": "bar",
        "x": [label(row[0]) for row in rows],
        "y": net,
        "marker": {"color": ["var(--gain)" if value > 0 else "var(--loss)" for value in net]},
        "text": [f"{row[1]:,} trades" for row in rows],
        "textposition": "auto",
        "textangle": 0,
        "width": 0.6,
        "hovertemplate": f"%{{x}}: %{{y:,.2f}} {currency}, %{{text}}<extra></extra>",
    }
    layout = {
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": currency}},
        "showlegend": False,
    }
    return single("exits", "By exit reason", "Net P&L of closed trades.", 300, [bar], layout)
