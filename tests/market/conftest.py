"""Bar tables for the tests of the market room."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from mbats.market.bars import BAR_SCHEMA, PARTS, SIDES
from mbats.market.numeric import from_float64
from mbats.market.session import calendar

MakeTable = Callable[..., pa.Table]

# No timed asserts: a deadline would make tests fail on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def bar_table(
    granularity: str = "M1",
    start: datetime = datetime(2026, 3, 8, 21, tzinfo=UTC),
    end: datetime = datetime(2026, 3, 10, tzinfo=UTC),
    *,
    sides: Sequence[str] = SIDES,
    calendar_name: str = "fx",
    seed: int = 7,
) -> pa.Table:
    """Return clean bars of EUR_USD for every expected start: a seeded random walk."""
    times = calendar(calendar_name)
    starts = times.expected_starts(granularity, start, end)
    ends = times.bar_end(granularity, starts)
    rng = np.random.default_rng(seed)
    close = 1.1 + np.cumsum(rng.normal(0, 1e-4, len(starts)))
    opened = np.concatenate([[1.1], close[:-1]])
    high = np.maximum(opened, close) + rng.integers(2, 9, len(starts)) * 1e-5
    low = np.minimum(opened, close) - rng.integers(2, 9, len(starts)) * 1e-5
    columns: dict[str, Any] = {
        "instrument": pa.array(["EUR_USD"] * len(starts)),
        "start": pa.array(starts, pa.timestamp("us")).cast(BAR_SCHEMA.field("start").type),
        "vendor": pa.array(["test"] * len(starts)),
    }
    for side in SIDES:
        shift = {"bid": -7e-5, "mid": 0.0, "ask": 7e-5}[side]
        for part, values in zip(PARTS, (opened, high, low, close), strict=True):
            columns[f"{side}_{part}"] = (
                from_float64(values + shift, 5)
                if side in sides
                else pa.nulls(len(starts), BAR_SCHEMA.field("mid_open").type)
            )
    columns["volume"] = pa.array(rng.integers(1, 500, len(starts)))
    columns["complete"] = pa.array([True] * len(starts))
    columns["end_time"] = pa.array(ends, pa.timestamp("us")).cast(BAR_SCHEMA.field("start").type)
    columns["basis"] = pa.array(["quotes"] * len(starts))
    return pa.table(columns, schema=BAR_SCHEMA)


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Return the maker of clean bar tables."""
    return bar_table
