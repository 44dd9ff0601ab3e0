"""Which session a run is for; the rules are the library's own."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from desk.session import (
    HOLIDAYS,
    MissedError,
    NothingToDoError,
    Run,
    close_of,
    day_session,
    hour_session,
    is_open,
    last_closed,
    run_of,
    week_of,
    week_session,
)
from hypothesis import given
from hypothesis import strategies as st

from mbats.market import newyork
from mbats.market.session import FX

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=newyork.NEW_YORK).astimezone(UTC)


def due(text, scheduled=True, session_date=None):
    return Run(at(text), scheduled, session_date)


@given(MOMENTS)
def test_a_week_closes_when_the_library_says(moment):
    assert close_of(week_of(moment)) == FX.next_close(moment)


@given(MOMENTS)
def test_the_market_is_open_when_the_library_says(moment):
    assert is_open(moment) == bool(FX.is_open(newyork.instant(moment)[None])[0])


@given(MOMENTS)
def test_the_last_closed_session_is_the_librarys_trading_day_before_the_close(moment):
    day = last_closed(moment)
    closed = close_of(day)
    assert closed <= moment < closed + timedelta(days=4)
    inside = newyork.instant(closed - timedelta(seconds=1))[None]
    assert FX.trading_day(inside)[0] == np.datetime64(day)
    assert bool(FX.is_open(inside)[0])


def test_the_holidays_are_the_librarys():
    days = np.arange("2026-01-01", "2027-01-01", dtype="datetime64[D]")
    noons = days.astype("datetime64[us]") + np.timedelta64(16, "h")
    ours = [d for d in days.tolist() if (d.month, d.day) in HOLIDAYS]
    assert days[FX.holiday(noons)].tolist() == ours


@pytest.mark.parametrize(
    ("moment", "session"),
    [
        ("2026-11-23T17:10", "2026-11-23"),
        ("2026-11-23T16:59", "2026-11-20"),
        ("2026-11-01T12:00", "2026-10-30"),  # a Sunday on which the clocks change
        ("2026-03-09T17:00", "2026-03-09"),
    ],
)
def test_a_daily_run_is_for_the_session_that_closed_last(moment, session):
    assert day_session(due(moment), at(moment)) == date.fromisoformat(session)


def test_a_scheduled_run_that_a_later_session_has_overtaken_does_nothing():
    with pytest.raises(NothingToDoError, match="2026-11-20 is past"):
        day_session(due("2026-11-20T17:10"), at("2026-11-23T17:05"))


def test_a_holiday_has_no_session_unless_a_person_asks_for_it():
    with pytest.raises(NothingToDoError, match="holiday"):
        day_session(due("2026-12-25T17:10"), at("2026-12-25T17:11"))
    asked = due("2026-12-28T09:00", scheduled=False, session_date=date(2026, 12, 25))
    assert day_session(asked, at("2026-12-28T09:00")) == date(2026, 12, 25)


def test_a_weekend_is_no_session():
    with pytest.raises(NothingToDoError, match="weekend"):
        day_session(due("2026-11-23T09:00", False, date(2026, 11, 22)), at("2026-11-23T09:00"))


@pytest.mark.parametrize(
    ("moment", "session"),
    [("2026-11-22T17:05", "2026-11-23"), ("2026-11-23T18:05", "2026-11-24")],
)
def test_an_hourly_run_adds_to_the_day_that_is_open(moment, session):
    assert hour_session(due(moment), at(moment)) == date.fromisoformat(session)


def test_an_hourly_run_does_nothing_on_a_weekend_and_when_a_later_one_is_due():
    with pytest.raises(NothingToDoError, match="closed"):
        hour_session(due("2026-11-21T12:05"), at("2026-11-21T12:05"))
    with pytest.raises(NothingToDoError, match="later one"):
        hour_session(due("2026-11-23T12:05"), at("2026-11-23T13:06"))


def test_a_week_is_named_by_its_friday_and_started_before_it_opens():
    assert week_session(due("2026-11-22T16:55"), at("2026-11-22T16:56")) == date(2026, 11, 27)


def test_switching_a_trading_dag_on_in_mid_week_starts_nothing_but_a_person_may():
    with pytest.raises(MissedError, match="by hand"):
        week_session(due("2026-11-22T16:55"), at("2026-11-25T12:00"))
    now = "2026-11-25T12:00"
    assert week_session(due(now, scheduled=False), at(now)) == date(2026, 11, 27)


def test_nothing_is_traded_in_a_week_that_is_over():
    with pytest.raises(NothingToDoError, match="2026-11-20 is over"):
        week_session(due("2026-11-15T16:55"), at("2026-11-20T17:00"))


class DagRun:
    logical_date = None
    run_after = datetime(2026, 11, 23, 12, tzinfo=UTC)
    run_type = "manual"


def test_a_run_by_hand_has_no_logical_date_and_may_name_its_session():
    run = run_of(DagRun(), {"session_date": "2026-11-20"})
    assert run == Run(DagRun.run_after, False, date(2026, 11, 20))
