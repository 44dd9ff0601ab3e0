"""The checks find what was planted, say it once, and find nothing on clean bars."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market.bars import BAR_SCHEMA
from mbats.market.checks import CHECKS
from mbats.market.quality import check_bars
from mbats.schemas import table

MakeTable = Callable[..., pa.Table]
Rows = list[dict[str, Any]]

# `make_table` ends here by default: an ordinary Tuesday 00:00 UTC.
NOW = datetime(2026, 3, 10, 0, 0, 30, tzinfo=UTC)


def check(rows: pa.Table, granularity: str = "M1", now: datetime = NOW, cal: str = "fx") -> Rows:
    return check_bars(rows, granularity, cal, now)


def found(rows: Rows) -> list[tuple[str, str, datetime, int]]:
    return [(r["check_name"], r["severity"], r["start"], r["bars"]) for r in rows]


def with_value(rows: pa.Table, column: str, at: int, value: Any) -> pa.Table:
    values = rows.column(column).to_pylist()
    values[at] = value
    index = rows.schema.get_field_index(column)
    field = BAR_SCHEMA.field(column)
    return rows.set_column(index, field, pa.array(values, field.type))


def without(rows: pa.Table, first: int, last: int) -> pa.Table:
    return pa.concat_tables([rows.slice(0, first), rows.slice(last)])


def start_of(rows: pa.Table, at: int) -> datetime:
    return rows.column("start")[at].as_py().astimezone(UTC)


@pytest.mark.parametrize(
    ("granularity", "start", "end", "cal"),
    [
        ("M1", datetime(2026, 3, 5), datetime(2026, 3, 11), "fx"),  # clocks forward, a weekend
        ("M1", datetime(2026, 10, 30), datetime(2026, 11, 3), "fx"),  # clocks back
        ("S5", datetime(2026, 3, 9), datetime(2026, 3, 10), "fx"),
        ("H4", datetime(2025, 10, 1), datetime(2026, 4, 1), "fx"),  # Christmas and New Year
        ("D", datetime(2005, 1, 1), datetime(2026, 1, 1), "fx"),
        ("W", datetime(2005, 1, 1), datetime(2026, 1, 1), "fx"),
        ("M", datetime(2005, 1, 1), datetime(2026, 1, 1), "fx"),
        ("D", datetime(1999, 1, 1), datetime(2026, 1, 1), "ecb"),
    ],
)
def test_clean_bars_have_no_findings(
    make_table: MakeTable, granularity: str, start: datetime, end: datetime, cal: str
) -> None:
    rows = make_table(
        granularity, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), calendar_name=cal
    )
    last = rows.column("end_time")[-1].as_py()
    assert check(rows, granularity, last + timedelta(hours=1), cal) == []


@given(seed=st.integers(0, 2**32 - 1))
def test_no_random_walk_is_called_faulty(make_table: MakeTable, seed: int) -> None:
    assert check(make_table(seed=seed)) == []


@given(first=st.integers(1, 1000), length=st.integers(1, 500))
def test_a_planted_gap_is_found_where_it_is(make_table: MakeTable, first: int, length: int) -> None:
    rows = make_table()
    count = min(length, len(rows) - 1 - first)
    start, end = start_of(rows, first), start_of(rows, first + count)
    in_market = timedelta(minutes=count)
    [gap] = check(without(rows, first, first + count))
    assert gap["bars"] == count
    if in_market < timedelta(minutes=5):
        assert gap["check_name"] == "sparse"
    else:
        severity = "error" if in_market >= timedelta(hours=1) else "warning"
        assert (gap["check_name"], gap["severity"]) == ("gap", severity)
        assert (gap["start"], gap["end_time"]) == (start, end)


def test_a_gap_over_the_weekend_is_one_gap(make_table: MakeTable) -> None:
    rows = make_table("H1", datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 11, tzinfo=UTC))
    friday = rows.column("start").to_pylist().index(datetime(2026, 3, 6, 21, tzinfo=UTC))
    [gap] = check(without(rows, friday, friday + 2), "H1", datetime(2026, 3, 11, tzinfo=UTC))
    assert gap["bars"] == 2
    assert gap["end_time"] == datetime(2026, 3, 8, 22, tzinfo=UTC)


def test_a_missing_day_is_an_error_and_a_holiday_is_not(make_table: MakeTable) -> None:
    span = (datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 15, tzinfo=UTC))
    rows = make_table("D", *span)
    now = datetime(2026, 1, 15, 23, tzinfo=UTC)
    missing = check(without(rows, 5, 6), "D", now)
    assert found(missing) == [("gap", "error", start_of(rows, 5), 1)]


@pytest.mark.parametrize(
    ("column", "value", "name", "severity"),
    [
        ("bid_close", Decimal("1.5"), "bid_above_ask", "error"),
        ("mid_high", Decimal("1.0"), "ohlc", "error"),
        ("mid_low", Decimal("1.2"), "ohlc", "error"),
        ("ask_open", Decimal("1.3"), "ohlc", "error"),
        ("bid_low", Decimal(0), "non_positive", "error"),
        ("mid_low", Decimal(-1), "non_positive", "error"),
        ("mid_high", Decimal("1.2"), "spike", "warning"),
        ("mid_close", None, "missing_price", "error"),
        ("complete", False, "incomplete", "error"),
    ],
)
def test_a_planted_fault_in_one_bar_is_found(
    make_table: MakeTable, column: str, value: Any, name: str, severity: str
) -> None:
    rows = make_table()
    faulty = check(with_value(rows, column, 700, value))
    assert (name, severity, start_of(rows, 700), 1) in found(faulty)


def test_a_low_between_open_and_close_is_disorder(make_table: MakeTable) -> None:
    rows = make_table()
    opened, close = (rows.column(f"mid_{part}")[50].as_py() for part in ("open", "close"))
    assert opened != close
    faulty = check(with_value(rows, "mid_low", 50, (opened + close) / 2))
    assert found(faulty) == [("ohlc", "error", start_of(rows, 50), 1)]


def test_a_faulty_feed_gives_a_row_a_day(make_table: MakeTable) -> None:
    rows = make_table()
    for at in (10, 20, 300):
        rows = with_value(rows, "bid_close", at, Decimal("1.09"))
        rows = with_value(rows, "ask_close", at, Decimal("1.08"))
    crossed = [r for r in check(rows) if r["check_name"] == "bid_above_ask"]
    assert found(crossed) == [("bid_above_ask", "error", start_of(rows, 10), 3)]
    assert crossed[0]["end_time"] == start_of(rows, 301)


def test_doubled_bars_are_found_and_not_taken_for_gaps(make_table: MakeTable) -> None:
    # Seed defect D15: running the loader twice doubled every bar.
    rows = make_table("D", datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    now = datetime(2026, 3, 1, tzinfo=UTC)
    twice = pa.concat_tables([rows, rows])
    assert found(check(twice, "D", now)) == [
        ("duplicate", "error", start_of(rows, 0), len(rows)),
    ]
    once = pa.concat_tables([rows, rows.slice(7, 1)])
    assert found(check(once, "D", now)) == [("duplicate", "error", start_of(rows, 7), 1)]


def test_an_unfinished_bar_is_found(make_table: MakeTable) -> None:
    # Seed defect D3: a bar stored while it was still open.
    rows = make_table()
    now = start_of(rows, len(rows) - 1) + timedelta(seconds=20)
    assert ("incomplete", "error", start_of(rows, len(rows) - 1), 1) in found(check(rows, now=now))


def test_an_old_newest_bar_is_stale_but_not_over_a_weekend(make_table: MakeTable) -> None:
    rows = make_table("D", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC))
    friday_close = datetime(2026, 3, 6, 22, tzinfo=UTC)  # the end of the newest bar
    monday = datetime(2026, 3, 9, 12, tzinfo=UTC)
    assert rows.column("end_time")[-1].as_py() == friday_close
    assert check(rows, "D", monday) == []
    late = check(rows, "D", datetime(2026, 3, 12, 12, tzinfo=UTC))
    assert found(late) == [("stale", "error", datetime(2026, 3, 8, 21, tzinfo=UTC), 2)]


def test_a_shifted_and_a_weekend_bar_are_found(make_table: MakeTable) -> None:
    # Seed defect D23: labels that move with daylight saving, and weekend stubs.
    rows = make_table("D", datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 7, tzinfo=UTC))
    now = datetime(2026, 2, 8, tzinfo=UTC)
    shifted = with_value(rows, "start", 8, start_of(rows, 8) - timedelta(hours=1))
    names = {name for name, *_ in found(check(shifted, "D", now))}
    assert names == {"misaligned", "gap"}
    stub = with_value(rows, "start", len(rows) - 1, datetime(2026, 2, 6, 22, tzinfo=UTC))
    stub = with_value(stub, "end_time", len(rows) - 1, datetime(2026, 2, 7, 22, tzinfo=UTC))
    weekend = check(stub, "D", now)
    assert ("outside_session", "warning", datetime(2026, 2, 6, 22, tzinfo=UTC), 1) in found(weekend)


def test_a_close_known_too_early_is_found(make_table: MakeTable) -> None:
    rows = make_table()
    early = with_value(rows, "end_time", 9, start_of(rows, 9) + timedelta(seconds=59))
    assert found(check(early)) == [("known_early", "error", start_of(rows, 9), 1)]


def test_a_frozen_feed_is_found(make_table: MakeTable) -> None:
    rows = make_table()
    for at in range(100, 140):
        for column in ("mid_open", "mid_high", "mid_low", "mid_close"):
            rows = with_value(rows, column, at, Decimal("1.1"))
    names = found(check(rows))
    assert ("zero_range", "warning", start_of(rows, 100), 40) in names
    assert ("unchanged", "warning", start_of(rows, 101), 39) in names


def test_rows_fit_the_table_and_keys_are_unique_and_repeatable(make_table: MakeTable) -> None:
    rows = make_table()
    for at in (5, 900, 1500):
        rows = with_value(rows, "bid_close", at, Decimal("1.5"))
        rows = with_value(rows, "mid_high", at, Decimal("1.0"))
    rows = pa.concat_tables([without(rows, 1000, 1100), rows.slice(20, 3)])
    first = check(rows)
    schema = table("security_master", "data_quality")
    assert pa.Table.from_pylist(first, schema=schema.arrow).num_rows == len(first)
    keys = [tuple(row[name] for name in schema.primary_key) for row in first]
    assert len(set(keys)) == len(keys) == 6
    shuffled = rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))
    later = check(shuffled, now=NOW + timedelta(hours=1))
    assert [tuple(row[name] for name in schema.primary_key) for row in later] == keys


def test_checks_are_documented_and_named_once() -> None:
    names = [one.name for one in CHECKS]
    assert len(set(names)) == len(names)
    assert all(one.description.endswith(".") for one in CHECKS)


def test_several_instruments_and_none_are_refused(make_table: MakeTable) -> None:
    rows = make_table("H1")
    other = with_value(rows, "instrument", 0, "USD_JPY")
    with pytest.raises(DataError, match="bars of one instrument"):
        check(other, "H1")
    with pytest.raises(DataError, match="none"):
        check(rows.slice(0, 0), "H1")
