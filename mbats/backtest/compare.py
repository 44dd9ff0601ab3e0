"""Runs side by side: their figures, what differed between them, and whether that is fair."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mbats.backtest.report import KEY_FIGURES, WARNINGS
from mbats.backtest.tables import Kind, flat

Run = Mapping[str, Any]

ORIGIN: Mapping[str, Kind] = {
    "strategy": "text",
    "kind": "text",
    "status": "text",
    "instruments": "text",
    "granularity": "text",
    "vendor": "text",
    "data_start": "time",
    "data_end": "time",
    "bars": "count",
    "data_snapshot": "text",
    "account_currency": "text",
    "starting_cash": "cost",
    "model_version": "text",
    "git_sha": "text",
}
SAME_GROUND = {
    "data_snapshot": "they read different bars",
    "instruments": "they traded different instruments",
    "granularity": "their bars are of different lengths",
    "account_currency": "their amounts are in different currencies",
    "starting_cash": "they started with different cash",
}


@dataclass(frozen=True)
class Line:
    """One line of a comparison: a value a run, in the order of the runs."""

    section: str
    name: str
    kind: Kind
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same value."""
        return any(value != self.values[0] for value in self.values[1:])


@dataclass(frozen=True)
class Comparison:
    """Figures, then parameters, assumptions and origins; warnings say what makes it unfair."""

    run_ids: tuple[str, ...]
    lines: tuple[Line, ...]
    warnings: tuple[str, ...]


def compare(runs: Sequence[Run], figures: Sequence[Mapping[str, Any]]) -> Comparison:
    """Compare runs (rows of ``risk.run``) by their ALL rows of ``risk.performance``.

    ``figures`` has an empty mapping for a run without results.
    """
    lines = [
        Line("figures", name, kind, tuple(row.get(key) for row in figures))
        for name, key, kind in KEY_FIGURES
    ]
    parameters = [dict(flat(run["parameters"] or {})) for run in runs]
    assumptions = [dict(flat(_without_warnings(run))) for run in runs]
    lines += _lines("parameters", parameters)
    lines += _lines("assumptions", assumptions)
    origins = [{key: _comparable(run.get(key)) for key in ORIGIN} for run in runs]
    lines += _lines("origin", origins, ORIGIN)
    ids = tuple(str(run["run_id"]) for run in runs)
    return Comparison(ids, tuple(lines), tuple(_warnings(lines, runs)))


def _lines(
    section: str, mappings: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind] | None = None
) -> list[Line]:
    kinds = kinds or {}
    names = dict.fromkeys(name for mapping in mappings for name in mapping)
    return [
        Line(section, name, kinds.get(name, "text"), tuple(m.get(name) for m in mappings))
        for name in names
    ]


def _warnings(lines: Iterable[Line], runs: Sequence[Run]) -> list[str]:
    differing = {(line.section, line.name) for line in lines if line.differs}
    found = [
        f"Apples and oranges: {why}."
        for name, why in SAME_GROUND.items()
        if ("origin", name) in differing
    ]
    spans = {("origin", "data_start"), ("origin", "data_end")}
    if spans & differing:
        found.append("Apples and oranges: they cover different spans of time.")
    if any(run.get("data_snapshot") is None for run in runs):
        found.append("A run has no data snapshot: whether the bars are the same is unknown.")
    costs = sorted(name for section, name in differing if section == "assumptions")
    if costs:
        shown = ", ".join(costs[:4]) + (", ..." if len(costs) > 4 else "")
        found.append(f"Apples and oranges: their assumptions differ ({shown}).")
    found += [
        f"Run {run['run_id']} is {run['status']}: it has no whole result."
        for run in runs
        if run["status"] != "done"
    ]
    return found


def _without_warnings(run: Run) -> dict[str, Any]:
    return {key: value for key, value in (run["assumptions"] or {}).items() if key != WARNINGS}


def _comparable(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
