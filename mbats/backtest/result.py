"""What a run leaves behind, and the store it is left in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

RESULT_TABLES = (
    "order_event",
    "fill",
    "trade",
    "position",
    "equity",
    "performance",
    "signal",
)


@dataclass(frozen=True)
class RunResult:
    """One finished run: its row of ``risk.run`` and its rows of every result table.

    ``run`` has the columns of ``risk.run``; JSON columns hold plain Python values. ``tables``
    has one Arrow table for each of :data:`RESULT_TABLES`, with the Arrow schema of
    :func:`mbats.schemas.table`, possibly empty.
    """

    run: Mapping[str, Any]
    tables: Mapping[str, pa.Table]


class RunStore(Protocol):
    """The risk store, as backtests see it. A run is whole or marked failed, never half there."""

    def start(self, run: Mapping[str, Any]) -> None:
        """Record that the run has begun (status ``running``)."""
        ...

    def finish(self, result: RunResult) -> None:
        """Store the results and mark the run ``done``, whole or not at all, once."""
        ...

    def fail(self, run_id: str, error: str) -> None:
        """Mark the run ``failed`` with its reason."""
        ...

    def runs(self, limit: int = 50) -> Sequence[Mapping[str, Any]]:
        """Return the newest runs, without the members of sweeps.

        One still running past its deadline or process is failed.
        """
        ...

    def performance(self, run_ids: Sequence[str]) -> pa.Table:
        """Return the rows of ``risk.performance`` of these runs, for lists and comparisons."""
        ...

    def load(self, run_id: str) -> RunResult:
        """Return a run with its tables; ``run_id`` may be an unambiguous prefix."""
        ...
