"""The figures of a run: a row of ``risk.performance`` for the whole and for each instrument.

Sums and counts are of closed trades, exact decimals, so that
``net_pnl = gross - commission + financing`` holds to the last digit; what is still open at the
end is in the net asset value, hence in every figure of the equity curve, and nowhere else.

=========================  =======================================================================
figure                     formula
=========================  =======================================================================
win_rate                   trades with pnl > 0, over trades
profit_factor              sum of winning pnl / -(sum of losing pnl)
expectancy                 mean pnl a trade
sqn                        sqrt(n) * mean(pnl) / std(pnl), n trades, sample deviation (ddof 1).
                           Van Tharp, *Definitive Guide to Position Sizing* (2008), with pnl for
                           R multiples, as a run does not record the risk of each trade
total_return               last net asset value / starting cash - 1; for one instrument its net
                           pnl / starting cash, its contribution
annual_return              CAGR: (last / first) ** (1 / years) - 1, years of 365.25 calendar days
annual_volatility          std(r, ddof 1) * sqrt(252)
sharpe                     mean(r) / std(r, ddof 1) * sqrt(252), no risk-free rate. Sharpe, *The
                           Sharpe Ratio*, Journal of Portfolio Management 21 (1994)
sortino                    mean(r) / sqrt(mean(min(r, 0) ** 2)) * sqrt(252), target zero. Sortino
                           and Price, Journal of Investing 3 (1994)
calmar                     annual_return / max_drawdown_fraction, over the whole run (Young 1991
                           took 36 months)
max_drawdown_fraction      max over bars of (peak - nav) / peak, the starting cash a peak too;
                           never above 1: a loss of more than everything shows in the amount
max_drawdown_amount        max over bars of peak - nav
max_drawdown_days          longest time from a peak to its recovery, or to the end
exposure_fraction          bars at whose end a position was held / bars
return_skewness            mean(z ** 3), z = (r - mean(r)) / std(r, ddof 0)
return_kurtosis            mean(z ** 4); 3 for a normal distribution. Both are what the deflated
                           Sharpe ratio needs (:mod:`mbats.backtest.overfitting`)
streaks                    longest runs of won or lost trades, in order of exit
=========================  =======================================================================

``r`` are daily returns, New York trading days (:mod:`mbats.backtest.curve`). What has no meaning
(no trades, no variance, no losses, a net asset value of zero or below) is null, never NaN or
infinite. Figures of the equity curve are null for a single instrument: a run has one curve.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mbats import schemas
from mbats.backtest.curve import (
    TRADING_DAYS_A_YEAR,
    Curve,
    Floats,
    amounts,
    curve_of,
    times,
)

ALL = "ALL"
SHORTEST_FOR_ANNUAL_DAYS = 30
REFUSED = ("rejected", "margin")
WITHDRAWN = ("canceled", "expired")

_BILLIONTH = Decimal("1e-9")
_FLAT = 1e-12  # a deviation below this is rounding, not variance


def performance_table(run: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the rows of ``risk.performance`` of one run.

    ``run`` has the columns of ``risk.run``; ``tables`` holds ``trade``, ``fill``, ``equity``,
    ``order_event`` and ``position`` in the Arrow schemas of :func:`mbats.schemas.table`. The
    first row is ALL, then one for each instrument of the run, in its order, and for any other
    that traded.
    """
    curve = curve_of(run, tables["equity"])
    whole = _row(run, ALL, tables, amounts(tables["equity"], "gross_exposure"))
    whole |= _curve_figures(run, curve)
    rows = [whole]
    for instrument in _instruments(run, tables):
        own = {
            name: tables[name].filter(pc.field("instrument") == instrument)
            for name in ("trade", "fill", "order_event", "position")
        }
        held = _held(own["fill"], tables["equity"])
        row = _row(run, instrument, own, held)
        row["total_return"] = _over(float(row["net_pnl"]), _cash(run))
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schemas.table("risk", "performance").arrow)


def _instruments(run: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> list[str]:
    traded: set[str] = set()
    for name in ("trade", "fill", "order_event", "position"):
        traded.update(tables[name].column("instrument").unique().to_pylist())
    named = list(dict.fromkeys(run["instruments"]))
    return named + sorted(traded.difference(named))


def _row(
    run: Mapping[str, Any], instrument: str, tables: Mapping[str, pa.Table], exposure: Floats
) -> dict[str, Any]:
    trades, events = tables["trade"].sort_by("trade_id"), tables["order_event"]
    pnl: list[Decimal] = trades.column("pnl").to_pylist()
    won = [value > 0 for value in pnl]
    profit = sum((value for value in pnl if value > 0), Decimal(0))
    loss = sum((value for value in pnl if value <= 0), Decimal(0))
    return {
        "run_id": run["run_id"],
        "instrument": instrument,
        "strategy": run["strategy"],
        "trades_open": len(open_positions(tables["position"])),
        "trades_closed": len(pnl),
        "trades_won": sum(won),
        "trades_lost": len(won) - sum(won),
        "longest_win_streak": _longest(won, True),
        "longest_loss_streak": _longest(won, False),
        "net_pnl": profit + loss,
        "gross_profit": profit,
        "gross_loss": loss,
        "spread_cost": total(trades, "spread_cost"),
        "slippage_cost": total(trades, "slippage_cost"),
        "commission": total(trades, "commission"),
        "financing": total(trades, "financing"),
        "win_rate": _over(sum(won), len(won)),
        "profit_factor": _over(float(profit), -float(loss)),
        "expectancy": _over(float(profit + loss), len(pnl)),
        "sqn": _sqn(np.array(pnl, dtype=np.float64)),
        "exposure_fraction": _over(int(np.count_nonzero(exposure)), len(exposure)),
        "mean_bars_held": pc.mean(trades.column("bars_held")).as_py(),
        "best_trade": max(pnl, default=None),
        "worst_trade": min(pnl, default=None),
        "rejected_orders": _orders(events, REFUSED),
        "canceled_orders": _orders(events, WITHDRAWN),
    }


def _curve_figures(run: Mapping[str, Any], curve: Curve) -> dict[str, Any]:
    if not len(curve):
        return {}
    _, daily = curve.daily_returns()
    start, end = float(curve.nav[0]), float(curve.nav[-1])
    falls = curve.drawdown_amounts()
    drawdowns = curve.drawdowns()
    deepest = max((d.fraction for d in drawdowns if d.fraction is not None), default=0.0)
    fraction = min(deepest, 1.0) if start > 0 else None
    annual = _annual_return(start, end, curve.years)
    return {
        "total_return": _over(end - start, start),
        "annual_return": annual,
        **_daily_figures(daily),
        "calmar": None if annual is None or fraction is None else _over(annual, fraction),
        "max_drawdown_fraction": fraction,
        "max_drawdown_amount": Decimal(repr(float(falls.max()))).quantize(_BILLIONTH),
        "max_drawdown_days": max((d.days for d in drawdowns), default=0.0),
    }


def _daily_figures(daily: Floats) -> dict[str, float | None]:
    if len(daily) < 2:
        return {"return_days": len(daily)}
    root = np.sqrt(TRADING_DAYS_A_YEAR)
    mean, deviation = float(daily.mean()), float(daily.std(ddof=1))
    downside = float(np.sqrt(np.mean(np.minimum(daily, 0.0) ** 2)))
    return {
        **_moments(daily),
        "annual_volatility": deviation * float(root),
        "sharpe": _finite(mean / deviation * root) if deviation > _FLAT else None,
        "sortino": _finite(mean / downside * root) if downside > _FLAT else None,
    }


def _moments(daily: Floats) -> dict[str, float | None]:
    away = daily - daily.mean()
    deviation = float(np.sqrt(np.mean(away**2)))
    if deviation <= _FLAT:
        return {"return_days": len(daily)}
    standard = away / deviation
    return {
        "return_days": len(daily),
        "return_skewness": _finite(np.mean(standard**3)),
        "return_kurtosis": _finite(np.mean(standard**4)),
    }


def _annual_return(start: float, end: float, years: float) -> float | None:
    if start <= 0 or end <= 0 or years * 365.25 < SHORTEST_FOR_ANNUAL_DAYS:
        return None
    with np.errstate(over="ignore"):
        return _finite(np.float64(end / start) ** (1 / years) - 1)


def _sqn(pnl: Floats) -> float | None:
    if len(pnl) < 2:
        return None
    deviation = float(pnl.std(ddof=1))
    if deviation <= _FLAT * max(1.0, float(np.abs(pnl).max())):
        return None
    return _finite(np.sqrt(len(pnl)) * pnl.mean() / deviation)


def _longest(won: Iterable[bool], wanted: bool) -> int:
    longest = now = 0
    for outcome in won:
        now = now + 1 if outcome is wanted else 0
        longest = max(longest, now)
    return longest


def _orders(events: pa.Table, kinds: Iterable[str]) -> int:
    chosen = events.filter(pc.field("event").isin(list(kinds)))
    return len(chosen.column("order_key").unique())


def _held(fills: pa.Table, equity: pa.Table) -> Floats:
    """Return 1.0 for each bar of the curve at whose end the instrument was held, else 0.0.

    A fill's position lasts from after its time to the end of the next fill's; strategies that
    share an instrument are followed apart.
    """
    ends = np.sort(times(equity, "time"))
    held = np.zeros(len(ends) + 1)
    for strategy in fills.column("strategy").unique().to_pylist():
        own = fills.filter(pc.field("strategy") == strategy).sort_by("time")
        first = np.searchsorted(ends, times(own, "time"), side="right")
        after = np.append(first[1:], len(ends))
        holding = amounts(own, "position_units") != 0
        np.add.at(held, first[holding], 1)
        np.add.at(held, after[holding], -1)
    return (np.cumsum(held[:-1]) > 0).astype(np.float64)


def open_positions(positions: pa.Table) -> pa.Table:
    """Return the newest row of each (strategy, instrument) that is not flat."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in positions.sort_by("time").to_pylist():
        newest[row["strategy"], row["instrument"]] = row
    held = [row for row in newest.values() if row["units"] != 0]
    return pa.Table.from_pylist(held, schema=positions.schema)


def total(table: pa.Table, column: str) -> Decimal:
    """Return the exact sum of a NUMERIC column, zero where there are no rows."""
    return pc.sum(table.column(column)).as_py() or Decimal(0)


def _cash(run: Mapping[str, Any]) -> float:
    return float(run.get("starting_cash") or 0)


def _over(part: float, whole: float) -> float | None:
    """Return ``part / whole``, or None where it has no meaning."""
    return _finite(part / whole) if whole > 0 else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
