"""The clock of the wall: everything else takes its time from an injected one."""

import time
from datetime import UTC, datetime


def elapsed() -> float:
    """Return seconds of a clock that nobody sets and that counts a sleeping machine's time."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class WallClock:
    """A :class:`mbats.live.orders.ports.Clock` that gives the machine's time."""

    def now(self) -> datetime:
        """Return the current time, UTC and aware."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Return seconds that nobody sets; a sleep of the machine counts."""
        return elapsed()
