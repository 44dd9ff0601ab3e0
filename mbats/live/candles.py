"""Bars that others saw: what a feed starts with, and what it missed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mbats.market.aggregate import Bar
from mbats.market.bars import Bars
from mbats.market.granularity import Granularity


@dataclass(frozen=True)
class Recent:
    """Complete bars in ascending order, and the open one, as it was at ``read_at`` (aware).

    ``forming`` is None where nobody can say what the open bar held until then, or, with ``empty``,
    where it had no price yet. Ticks must have been on their way to the inbox since before
    ``read_at``.
    """

    bars: Bars | None
    read_at: datetime
    forming: Bar | None = None
    empty: bool = False


class BarSource(Protocol):
    """Where the bars before now come from: the security master, then the broker's candles."""

    def recent(self, instrument: str, granularity: Granularity, after: datetime | None) -> Recent:
        """Return the bars that end after ``after``; None means as many as warm a strategy up.

        Raises OSError or :class:`~mbats.errors.NotReadyError` while they cannot be read.
        """
        ...
