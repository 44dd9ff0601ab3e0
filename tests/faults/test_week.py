"""The end of a trading week, accelerated; `make week` lives through all of it."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.week import CLOSES, Script
from tests.faults.week_report import (
    FEWEST_SAMPLES,
    WARM_UP_SAMPLES,
    Sample,
    Week,
    _memory,
    live_through,
)

OPENS = CLOSES - timedelta(hours=26)  # Thursday afternoon: a rollover, a night, the week's end
LATE = Script(
    opens=OPENS,
    restarts=[
        (OPENS + timedelta(hours=1, minutes=59, seconds=20), True),  # over the rollover
        (OPENS + timedelta(hours=4, minutes=3), False),
    ],
)


def remembered(hours, objects, noise=0, megabytes=0.0):
    """A bot's memory that grows by so much an hour; ``noise`` comes and goes every other hour."""
    return [
        Sample(
            OPENS + timedelta(hours=n), 1, 500_000 + n * objects + (n % 2) * noise,
            round(1e8 + n * megabytes * 1e6),
        )
        for n in range(int(hours))
    ]  # fmt: skip


def found_in(memory, hours, orders=0):
    return _memory(Week([], memory=memory, figures={"market_hours": hours, "orders": orders}))


@pytest.mark.parametrize("hours", [8, 12, 26, 120])
def test_noise_is_no_leak_however_short_the_week(hours):
    assert found_in(remembered(hours, 0, noise=3_000), hours) == []


@pytest.mark.parametrize("hours", [8, 12, 26, 120])
def test_what_comes_with_orders_may_stay_and_what_does_not_may_not(hours):
    assert found_in(remembered(hours, 1_000), hours, orders=60 * hours) == []
    leak = 6_000 / (hours - WARM_UP_SAMPLES - 1) + 300
    assert "objects" in found_in(remembered(hours, round(leak)), hours)[0]
    assert "MB" in found_in(remembered(hours, 0, megabytes=1.0), hours)[0]


@pytest.mark.parametrize("hours", [0, 1, WARM_UP_SAMPLES + FEWEST_SAMPLES - 1])
def test_too_short_a_life_is_not_judged(hours):
    (said,) = found_in(remembered(hours, 0), max(hours, 1))
    assert "7 hours is the shortest" in said


def test_a_week_that_cannot_be_judged_is_refused_before_it_runs():
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.week_report", "--hours", "6"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give 7 hours or more" in done.stderr


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
