"""The clock of the wall: everything else takes its time from an injected one."""

from datetime import UTC, datetime


class WallClock:
    """A :class:`mbats.live.ports.Clock` that gives the machine's time."""

    def now(self) -> datetime:
        """Return the current time, UTC and aware."""
        return datetime.now(UTC)
