"""Run `mbats` with the wall clock moved, so that markets are open: shifted.py SECONDS ARG..."""

import sys
from datetime import UTC, datetime, timedelta

from mbats.live.wall_clock import WallClock

if __name__ == "__main__":
    shift = timedelta(seconds=float(sys.argv.pop(1)))
    WallClock.now = lambda self: datetime.now(UTC) + shift

    from mbats.cli.main import main

    main()
