"""The best members of a sweep, and how much of their being best is chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import pvariance
from typing import Any

from mbats.backtest.curve import TRADING_DAYS_A_YEAR
from mbats.backtest.overfitting import Returns, deflated_sharpe, expected_best_sharpe
from mbats.backtest.tables import Column, Kind, Table, flat
from mbats.errors import ConfigError

Row = Mapping[str, Any]

FIGURES: Mapping[str, tuple[str, Kind, bool]] = {
    "sharpe": ("Sharpe", "number", True),
    "sortino": ("Sortino", "number", True),
    "calmar": ("Calmar", "number", True),
    "net_pnl": ("Net P&L", "round", True),
    "total_return": ("Return", "change", True),
    "annual_return": ("A year", "change", True),
    "profit_factor": ("Factor", "number", True),
    "expectancy": ("Mean P&L", "money", True),
    "sqn": ("SQN", "number", True),
    "win_rate": ("Won", "share", True),
    "trades_closed": ("Trades", "count", True),
    "max_drawdown_fraction": ("DD", "share", False),
    "max_drawdown_days": ("DD days", "count", False),
    "annual_volatility": ("Volatility", "share", False),
}
"""The figures members can be ranked by: what it is called, how it is shown, whether more is better.

They are columns of ``risk.performance``.
"""

_SHOWN = ("sharpe", "net_pnl", "total_return", "max_drawdown_fraction", "trades_closed")


@dataclass(frozen=True)
class Ranking:
    """The best members, best first, and what to think of them.

    ``expected_sharpe`` is the annual Sharpe ratio to expect of the best of ``trials`` worthless
    strategies; ``deflated_sharpe`` the probability that the best one's is truly above it.
    """

    table: Table
    currency: str
    trials: int
    expected_sharpe: float | None
    deflated_sharpe: float | None
    warnings: tuple[str, ...]


def rank(members: Sequence[Row], figures: Mapping[str, Row], by: str, top: int = 10) -> Ranking:
    """Rank the members of one sweep, rows of ``risk.run``, by a figure.

    ``figures`` holds the ALL row of ``risk.performance`` by run id. Members without the figure
    come last. Raises :class:`ConfigError` for a figure that there is not.
    """
    if by not in FIGURES:
        raise ConfigError(f"Members cannot be ranked by {by!r}.", tried=list(FIGURES))
    done = [row for row in members if row["status"] == "done" and row["run_id"] in figures]
    better = -1 if FIGURES[by][2] else 1

    def place(row: Row) -> tuple[bool, float, str]:
        value = figures[row["run_id"]][by]
        return value is None, better * float(value or 0), row["run_id"]

    ordered = sorted(done, key=place)
    ratios = [f["sharpe"] for row in done if (f := figures[row["run_id"]])["sharpe"] is not None]
    year = sqrt(TRADING_DAYS_A_YEAR)
    variance = pvariance([ratio / year for ratio in ratios]) if ratios else 0.0
    best = _returns(figures[ordered[0]["run_id"]], year) if ordered else None
    expected = expected_best_sharpe(len(ratios), variance) * year if len(ratios) > 1 else None
    deflated = deflated_sharpe(best, len(ratios), variance) if best and ratios else None
    return Ranking(
        _table(ordered[:top], done, figures, by),
        done[0]["account_currency"] if done else "",
        len(done),
        expected,
        deflated,
        tuple(_warnings(members, done, expected, deflated)),
    )


def _returns(figures: Row, year: float) -> Returns | None:
    known = ("sharpe", "return_days", "return_skewness", "return_kurtosis")
    if any(figures.get(name) is None for name in known):
        return None
    ratio, *moments = (figures[name] for name in known)
    return Returns(ratio / year, *moments)


def _table(best: Sequence[Row], done: Sequence[Row], figures: Mapping[str, Row], by: str) -> Table:
    parameters = {row["run_id"]: dict(flat(row["parameters"] or {})) for row in done}
    names = dict.fromkeys(name for given in parameters.values() for name in given)
    varied = [name for name in names if len({str(p.get(name)) for p in parameters.values()}) > 1]
    chosen = tuple(dict.fromkeys((by, *_SHOWN)))
    columns = (
        Column("Run", "run_id"),
        *(Column(name, name) for name in varied),
        *(Column(FIGURES[name][0], name, FIGURES[name][1]) for name in chosen),
    )
    rows = tuple(
        (
            row["run_id"],
            *(parameters[row["run_id"]].get(name) for name in varied),
            *(figures[row["run_id"]][name] for name in chosen),
        )
        for row in best
    )
    return Table("best", f"Best by {FIGURES[by][0]}, in sample", columns, rows)


def _warnings(
    members: Sequence[Row], done: Sequence[Row], expected: float | None, deflated: float | None
) -> list[str]:
    found = []
    if done:
        found.append(
            f"In-sample: the best of {len(done):,} trials on the same bars. Being best here does "
            "not make it good on bars it has not seen."
        )
    if expected is not None:
        chance = "" if deflated is None else f" The chance that this one's is truly above that: " \
            f"{deflated:.0%}"  # fmt: skip
        found.append(
            f"The best of so many worthless strategies would show a Sharpe ratio of "
            f"{expected:.2f} by luck alone.{chance} (deflated Sharpe ratio, Bailey and Lopez de "
            "Prado 2014)."
        )
    for name, what in (("data_snapshot", "different bars"), ("git_sha", "different code")):
        if len({row[name] for row in done}) > 1:
            found.append(f"The sweep holds members that ran on {what}: compare them with care.")
    failed = sum(row["status"] == "failed" for row in members)
    if failed:
        found.append(f"{failed:,} members failed: they are not in this table.")
    return found
