"""`mbats sweep --gather`: what the tasks of a sweep left, stored; what is lost, named."""

from typing import TYPE_CHECKING, Any

from mbats.cli import context
from mbats.cli.output import emit_json, errors
from mbats.cli.ranking import ranking_document, ranking_of, show_ranking
from mbats.errors import RunFailedError

if TYPE_CHECKING:
    from mbats.backtest.gathering import Gathered
    from mbats.backtest.sweep import SweepRequest

FAILURES_SHOWN = 5
LOST_SHOWN = 20


def gather(request: "SweepRequest", by: str, top: int, as_json: bool) -> None:
    """Gather and show the best. Raises :class:`RunFailedError` where something is not there."""
    from mbats.desk import Desk, sweeps

    with Desk(context.settings()) as desk:
        gathered = sweeps.gather(desk, request)
        ranking = ranking_of(desk.risk_store, gathered.sweep_id, by, top)
    if as_json:
        emit_json({**_document(gathered), **ranking_document(ranking)})
    else:
        show_ranking(ranking)
        errors.print(
            f"Sweep {gathered.sweep_id}: {gathered.stored} members stored, "
            f"{gathered.stored_before} stored before. "
            f"All: mbats runs list --sweep {gathered.sweep_id}",
            markup=False,
            soft_wrap=True,
        )
    _refuse_gaps(gathered)


def _refuse_gaps(gathered: "Gathered") -> None:
    """Raise :class:`RunFailedError` for what a sweep lacks, the worst first."""
    if gathered.lost:
        raise RunFailedError(
            f"{len(gathered.lost)} of {gathered.tasks} tasks have not ended, or on other code or "
            "data than the others; what was left is stored.",
            tried=_lost(gathered),
            mend=f"run the sweep again in {gathered.tasks} tasks, then gather again: what is "
            "stored is not played twice",
        )
    if gathered.missing:
        raise RunFailedError(
            f"{len(gathered.missing)} of {gathered.members} members are not where their tasks "
            "left them; the others are stored.",
            tried=gathered.missing[:FAILURES_SHOWN],
            mend="run the sweep again, then gather again: what is stored is not played twice",
        )
    if gathered.failed:
        raise RunFailedError(
            f"{len(gathered.failed)} of {gathered.members} members failed; the others are stored.",
            tried=[f"{run}: {why}" for run, why in list(gathered.failed.items())[:FAILURES_SHOWN]],
            mend="correct the strategy or leave those sets out, and run the sweep again",
        )


def _lost(gathered: "Gathered") -> list[str]:
    from mbats.backtest.gathering import ranges

    spans = ranges(gathered.lost)
    more = f" and {len(spans) - LOST_SHOWN} spans more" if len(spans) > LOST_SHOWN else ""
    told = [f"tasks {', '.join(spans[:LOST_SHOWN])}{more}"]
    return told + [f"there are results of {count} tasks" for count in gathered.other_counts]


def _document(gathered: "Gathered") -> dict[str, Any]:
    return {
        "sweep": gathered.sweep_id,
        "tasks": gathered.tasks,
        "members": gathered.members,
        "stored": gathered.stored,
        "stored_before": gathered.stored_before,
        "failed": gathered.failed,
        "lost": gathered.lost,
        "missing": gathered.missing,
    }
