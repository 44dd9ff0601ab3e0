"""Rows of security_master.tick, made from a seed: gaps, repeats, empty books, any order."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from mbats import schemas

TICK = schemas.table("security_master", "tick").arrow
SUNDAY = datetime(2026, 3, 8, 21, tzinfo=UTC)  # the hour that New York's clocks went forward


def row(at, number, bid="1.10000", ask="1.10010", instrument="EUR_USD", **changes):
    made = {
        "instrument": instrument,
        "time": at,
        "vendor": "oanda",
        "event_id": f"{instrument}-{number}",
        "bid": None if bid is None else Decimal(bid),
        "ask": None if ask is None else Decimal(ask),
        "tradeable": True,
        "published_at": at,
        "mark": None,
    }
    return {**made, **changes}


def mark(at, kind, instrument="EUR_USD"):
    return row(
        at, f"{kind}-{at.timestamp()}", None, None, instrument, tradeable=False, mark=str(kind)
    )


def table(rows):
    return pa.Table.from_pylist(list(rows), schema=TICK)


def busy(instrument="EUR_USD", count=2000, seed=1, begin=SUNDAY, mean_s=120.0):
    """Some days of ticks with everything that happens to them, in order of time."""
    rng = np.random.default_rng([seed, *map(ord, instrument)])
    rows, at, level = [], begin, 110_000
    for number in range(count):
        # whole seconds now and then, so that ticks meet each other and the edges of bars
        at += timedelta(microseconds=int(rng.exponential(mean_s * 1e6)))
        if rng.random() < 0.2:
            at = at.replace(microsecond=0, second=at.second // 5 * 5)
        level += int(rng.integers(-4, 5))
        bid, ask = Decimal(level) / 100_000, Decimal(level + int(rng.integers(5, 20))) / 100_000
        if rng.random() < 0.03:
            bid = None
        made = row(at, number, bid, ask, instrument, tradeable=bool(rng.random() > 0.02))
        rows.append(made)
        if rng.random() < 0.05:  # delivered twice, published later
            rows.append({**made, "published_at": at + timedelta(seconds=1)})
        if rng.random() < 0.002:
            rows.append(mark(at + timedelta(seconds=2), "lost", instrument))
            at += timedelta(minutes=int(rng.integers(1, 400)))
            rows.append(mark(at, "back", instrument))
        if rng.random() < 0.001:  # the streamer was killed: nothing says that it was lost
            at += timedelta(minutes=int(rng.integers(1, 300)))
            rows.append(mark(at, "back", instrument))
    return rows
