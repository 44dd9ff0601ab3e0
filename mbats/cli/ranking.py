"""The best members of a sweep, as `mbats sweep` and `mbats runs list --sweep` show them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mbats.cli.output import people

if TYPE_CHECKING:
    from mbats.backtest.ranking import Ranking
    from mbats.backtest.result import RunStore
    from mbats.gcp.risk_store import RiskStore


def ranking_of(store: "RiskStore", sweep_id: str, by: str, top: int) -> "Ranking":
    """Return the ranking of all members of a sweep that are stored."""
    from mbats.backtest.ranking import rank

    members = store.members(sweep_id)
    return rank(members, figures_of(store, [run["run_id"] for run in members]), by, top)


def figures_of(store: "RunStore", run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the ALL row of ``risk.performance`` of each run, by run id."""
    if not run_ids:
        return {}
    rows = store.performance(run_ids).to_pylist()
    return {row["run_id"]: row for row in rows if row["instrument"] == "ALL"}


def ranking_document(ranking: "Ranking") -> dict[str, Any]:
    """Return a ranking for JSON."""
    return {
        "trials": ranking.trials,
        "expected_sharpe": ranking.expected_sharpe,
        "deflated_sharpe": ranking.deflated_sharpe,
        "warnings": ranking.warnings,
        "best": ranking.table.records(),
    }


def show_ranking(ranking: "Ranking") -> None:
    """Print a ranking for people."""
    from mbats.backtest.report import console_table, warnings_block

    people.print(console_table(ranking.table, ranking.currency))
    people.print(warnings_block(ranking.warnings))
