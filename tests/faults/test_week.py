"""The end of a trading week, accelerated; `make week` lives through all of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults.week import CLOSES, Script
from tests.faults.week_report import live_through

OPENS = CLOSES - timedelta(hours=26)  # Thursday afternoon: a rollover, a night, the week's end
LATE = Script(
    opens=OPENS,
    restarts=[
        (OPENS + timedelta(hours=1, minutes=59, seconds=20), True),  # over the rollover
        (OPENS + timedelta(hours=4, minutes=3), False),
    ],
)


@pytest.mark.slow
def test_a_week_ends_with_parity_and_flat_memory():
    week = live_through(LATE)
    assert week.problems == []
    assert week.figures["financings"] > 0
    assert min(week.figures[name] for name in ("fills", "price_cuts", "stream_cuts")) > 0


@pytest.mark.slow
def test_a_leak_is_found():
    week = live_through(replace(LATE, closes=OPENS + timedelta(hours=8), restarts=(), leaks=True))
    assert [problem.partition(":")[0] for problem in week.problems] == ["memory"]
