"""The FX week and the calendars, against known dates and the real series of fixings."""

import csv
import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import currency_converter
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.granularity import Granularity
from mbats.market.newyork import NEW_YORK
from mbats.market.session import ECB, FX, calendar
from mbats.market.target import fixing_dates, published_at

instants = st.datetimes(datetime(1999, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
sundays = st.integers(0, 2000).map(
    lambda week: datetime(1999, 1, 3, 17, tzinfo=NEW_YORK) + timedelta(weeks=week)
)


def new_york(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK)


def times(*at: datetime) -> np.ndarray:
    return np.stack([newyork.instant(t) for t in at])


@given(instants)
def test_open_means_sunday_to_friday_17_new_york(at: datetime) -> None:
    local = at.astimezone(NEW_YORK)
    hours = local.isoweekday() % 7 * 24 + local.hour
    assert FX.is_open(times(at)).tolist() == [17 <= hours < 5 * 24 + 17]


@given(instants)
def test_the_day_of_one_instant_is_that_of_arrays(at: datetime) -> None:
    day = FX.day_of(at)
    assert [day.date] == FX.trading_day(times(at)).tolist()
    assert [day.is_open] == FX.is_open(times(at)).tolist()


@given(sundays, st.sampled_from([g for g in Granularity if g.micros]))
def test_every_week_has_the_same_number_of_bars(sunday: datetime, bar: Granularity) -> None:
    week_end = sunday + timedelta(weeks=1)  # wall-clock arithmetic: 167 to 169 hours
    starts = FX.expected_starts(bar, sunday, week_end, optional=True)
    assert len(starts) == 5 * newyork.DAY // bar.micros
    required = FX.expected_starts(bar, sunday, week_end)
    holiday = FX.holiday(starts)
    if not holiday.any():
        in_the_break = {"M1": 6, "M2": 2, "M4": 1, "M5": 1}
        per_day = in_the_break.get(bar.value, 0)
        if not bar.value.startswith("S"):
            assert len(required) == len(starts) - 5 * per_day


def test_christmas_and_new_year_are_optional() -> None:
    start, end = new_york(2026, 12, 20, 17), new_york(2027, 1, 3, 17)
    required = FX.trading_day(FX.expected_starts("D", start, end))
    every = FX.trading_day(FX.expected_starts("D", start, end, optional=True))
    missing = set(every.tolist()) - set(required.tolist())
    assert missing == {date(2026, 12, 25), date(2027, 1, 1)}
    assert len(every) == 10


def test_17_new_york_opens_the_next_trading_day() -> None:
    at = times(new_york(2026, 3, 9, 16, 59, 59), new_york(2026, 3, 9, 17))
    assert FX.trading_day(at).tolist() == [date(2026, 3, 9), date(2026, 3, 10)]


def test_a_week_of_rollovers_charges_seven_days_three_on_wednesday() -> None:
    rollovers = FX.rollovers(new_york(2026, 3, 8, 17), new_york(2026, 3, 15, 17))
    assert [(r.instant.astimezone(NEW_YORK).strftime("%a %H:%M"), r.days) for r in rollovers] == [
        ("Mon 17:00", 1),
        ("Tue 17:00", 1),
        ("Wed 17:00", 3),
        ("Thu 17:00", 1),
        ("Fri 17:00", 1),
    ]


def test_a_rollover_charges_who_holds_through_it_not_who_opens_on_it() -> None:
    at = new_york(2026, 3, 11, 17)
    before, after = at - timedelta(seconds=1), at + timedelta(seconds=1)
    assert [r.days for r in FX.rollovers(before, at)] == [3]
    assert FX.rollovers(at, after) == []
    assert FX.rollovers(before - timedelta(hours=2), before) == []


@given(instants, st.integers(0, 60 * 24 * 60))
def test_the_array_form_of_financing_agrees_with_the_list(start: datetime, minutes: int) -> None:
    end = start + timedelta(minutes=minutes)
    listed = sum(r.days for r in FX.rollovers(start, end))
    assert FX.financing_days(times(start), times(end)).tolist() == [listed]


@given(instants)
def test_the_next_open_and_close_are_where_the_market_turns(at: datetime) -> None:
    opens, closes = FX.next_open(at), FX.next_close(at)
    tick = timedelta(microseconds=1)
    assert at < opens <= at + timedelta(days=7, hours=1)
    assert at < closes <= at + timedelta(days=7, hours=1)
    around = times(opens - tick, opens, closes - tick, closes)
    assert FX.is_open(around).tolist() == [False, True, True, False]
    assert (opens < closes) == (not FX.is_open(times(at))[0])


def test_the_ecb_calendar_equals_the_days_of_the_real_series() -> None:
    archive = Path(currency_converter.__file__).with_name("eurofxref-hist.zip")
    with zipfile.ZipFile(archive) as files, files.open(files.namelist()[0]) as file:
        rows = csv.reader(io.TextIOWrapper(file))
        next(rows)
        real = sorted(date.fromisoformat(row[0]) for row in rows)
    dates = fixing_dates()
    mine = dates[(dates >= np.datetime64(real[0])) & (dates <= np.datetime64(real[-1]))]
    assert mine.tolist() == real


def test_a_fixing_bar_runs_from_publication_to_publication() -> None:
    # Easter 2026: Thursday 2 April is followed by Tuesday the 7th; both are in summer time.
    starts = ECB.expected_starts(
        "D", datetime(2026, 4, 2, tzinfo=UTC), datetime(2026, 4, 8, tzinfo=UTC)
    )
    assert starts.astype(str).tolist() == [
        "2026-04-02T14:00:00.000000",
        "2026-04-07T14:00:00.000000",
    ]
    assert ECB.bar_end("D", starts)[0] == starts[1]
    assert ECB.aligned("D", starts).all()
    assert not ECB.aligned("D", starts + np.timedelta64(1, "h")).any()
    winter = published_at(np.array(["2026-01-02"], dtype="datetime64[D]"))
    assert winter.astype(str).tolist() == ["2026-01-02T15:00:00.000000"]


def test_the_ecb_calendar_has_only_days() -> None:
    with pytest.raises(DataError, match="no bars of M1"):
        ECB.expected_starts(
            "M1", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        )


def test_calendars_are_found_by_name() -> None:
    assert calendar("fx") is FX
    assert calendar("ecb") is ECB
    with pytest.raises(DataError, match="no calendar 'nyse'") as raised:
        calendar("nyse")
    assert raised.value.tried == ("fx", "ecb")
