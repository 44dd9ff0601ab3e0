"""Bar alignment: every bar contains its ticks and bars tile time, through both clock changes."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.granularity import Granularity
from mbats.market.newyork import NEW_YORK

# New York's clocks go forward on 2026-03-08 and back on 2026-11-01.
SPRING = datetime(2026, 3, 8, 7, tzinfo=UTC)
AUTUMN = datetime(2026, 11, 1, 6, tzinfo=UTC)

granularities = st.sampled_from(list(Granularity))
near_a_change = st.builds(
    lambda change, seconds: change + timedelta(microseconds=seconds),
    st.sampled_from([SPRING, AUTUMN]),
    st.integers(-4 * 86_400_000_000, 4 * 86_400_000_000),
)
instants = near_a_change | st.datetimes(
    datetime(1981, 1, 1), datetime(2078, 12, 31), timezones=st.just(UTC)
)


@given(granularities, instants)
def test_a_bar_contains_its_tick_and_is_aligned(granularity: Granularity, at: datetime) -> None:
    start, end = granularity.start_of(at), granularity.end_of(at)
    assert start <= at < end
    assert granularity.start_of(start) == start
    local = start.astimezone(NEW_YORK)
    if granularity.intraday and granularity.micros < newyork.HOUR:
        hour = start.replace(minute=0, second=0, microsecond=0)
        assert (start - hour) % timedelta(microseconds=granularity.micros) == timedelta()
    elif granularity in (Granularity.D, Granularity.W, Granularity.M):
        assert (local.hour, local.minute, local.second, local.microsecond) == (17, 0, 0, 0)
    if granularity is Granularity.W:
        assert local.strftime("%a") == "Fri"
    if granularity is Granularity.M:
        assert (local + timedelta(days=1)).day == 1


@given(granularities, instants)
def test_bars_tile_time(granularity: Granularity, at: datetime) -> None:
    end = granularity.end_of(at)
    assert granularity.start_of(end) == end
    just_before = end - timedelta(microseconds=1)
    assert granularity.start_of(just_before) == granularity.start_of(at)


@given(granularities, near_a_change)
def test_the_list_of_starts_is_the_chain_of_ends(granularity: Granularity, at: datetime) -> None:
    length = timedelta(microseconds=granularity.micros or 40 * newyork.DAY)
    first, last = newyork.instant(at), newyork.instant(at + 30 * length)
    starts = granularity.starts(first, last)
    ends = granularity.bar_end(starts)
    assert (ends[:-1] == starts[1:]).all()
    assert starts[0] >= first
    assert starts[-1] < last <= ends[-1]
    assert granularity.bar_start(starts).tolist() == starts.tolist()


@given(granularities, st.lists(instants, min_size=1, max_size=20))
def test_arrays_and_scalars_agree(granularity: Granularity, at: list[datetime]) -> None:
    times = np.array([t.replace(tzinfo=None) for t in at], dtype="datetime64[us]")
    starts = granularity.bar_start(times)
    ends = granularity.bar_end(starts)
    assert [newyork.to_datetime(t) for t in starts] == [granularity.start_of(t) for t in at]
    assert [newyork.to_datetime(t) for t in ends] == [granularity.end_of(t) for t in at]


@pytest.mark.parametrize(("change", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_the_day_of_a_clock_change_has_23_or_25_hours(change: datetime, hours: int) -> None:
    day = Granularity.D
    assert day.end_of(change) - day.start_of(change) == timedelta(hours=hours)
    for inside in ("H2", "H3", "H4", "H6", "H8", "H12"):
        bar = Granularity(inside)
        starts = bar.starts(
            newyork.instant(day.start_of(change)), newyork.instant(day.end_of(change))
        )
        assert len(starts) == 24 // int(inside[1:])
        assert newyork.to_datetime(bar.bar_end(starts)[-1]) == day.end_of(change)


def test_the_daily_bar_starts_at_21_utc_in_summer_and_22_in_winter() -> None:
    # OANDA's own answer, hootnot/oanda-api-v20 issue 192: 2022-05-12T21:00:00Z.
    at = datetime(2022, 5, 13, 12, tzinfo=UTC)
    assert Granularity.D.start_of(at) == datetime(2022, 5, 12, 21, tzinfo=UTC)
    at = datetime(2022, 1, 13, 12, tzinfo=UTC)
    assert Granularity.D.start_of(at) == datetime(2022, 1, 12, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("granularity", "start", "end"),
    [
        ("M1", datetime(2026, 3, 10, 12, 34), datetime(2026, 3, 10, 12, 35)),
        ("M15", datetime(2026, 3, 10, 12, 30), datetime(2026, 3, 10, 12, 45)),
        ("H4", datetime(2026, 3, 10, 9), datetime(2026, 3, 10, 13)),
        ("D", datetime(2026, 3, 9, 21), datetime(2026, 3, 10, 21)),
        ("W", datetime(2026, 3, 6, 22), datetime(2026, 3, 13, 21)),
        ("M", datetime(2026, 2, 28, 22), datetime(2026, 3, 31, 21)),
    ],
)
def test_known_bars(granularity: str, start: datetime, end: datetime) -> None:
    bar = Granularity.parse(granularity)
    at = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)
    assert bar.start_of(at) == start.replace(tzinfo=UTC)
    assert bar.end_of(at) == end.replace(tzinfo=UTC)


def test_an_unknown_granularity_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="'M3' is not a granularity") as raised:
        Granularity.parse("M3")
    assert "S5" in str(raised.value)
    assert "H12, D, W, M" in str(raised.value)
    assert Granularity.parse(" h4 ") is Granularity.H4


@pytest.mark.parametrize("granularity", ["M1", "H4", "D", "M"])
def test_missing_times_are_refused(granularity: str) -> None:
    times = np.array(["2026-01-01", "NaT"], dtype="datetime64[us]")
    with pytest.raises(DataError, match="missing"):
        Granularity.parse(granularity).bar_start(times)


def test_times_out_of_range_and_without_zone_are_refused() -> None:
    with pytest.raises(DataError, match="not between 1980 and 2079"):
        Granularity.D.bar_start(np.array(["2200-01-01"], dtype="datetime64[us]"))
    with pytest.raises(DataError, match="no time zone"):
        Granularity.D.start_of(datetime(2026, 1, 1))


def test_empty_arrays_stay_empty() -> None:
    none = np.empty(0, dtype="datetime64[us]")
    for granularity in Granularity:
        assert len(granularity.bar_end(granularity.bar_start(none))) == 0
        assert len(granularity.starts(newyork.instant(SPRING), newyork.instant(SPRING))) == 0
