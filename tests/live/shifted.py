"""Run `mbats` with the wall clock moved, so that markets are open: shifted.py SECONDS ARG...

LEASE_SECONDS in the environment is how long a lease lives without a renewal.
"""

import os
import sys
from datetime import UTC, datetime, timedelta

from mbats.gcp.lease import TTL_SECONDS, ObjectLease
from mbats.live.wall_clock import WallClock

if __name__ == "__main__":
    shift = timedelta(seconds=float(sys.argv.pop(1)))
    WallClock.now = lambda self: datetime.now(UTC) + shift
    ObjectLease.__init__.__kwdefaults__["ttl_s"] = float(
        os.environ.get("LEASE_SECONDS", TTL_SECONDS)
    )

    from mbats.cli.main import main

    main()
