"""Days computed apart make the bars that the whole makes; what nobody knows is left out."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market.aggregate import aggregate
from mbats.market.bars import table_from_bars
from mbats.market.granularity import Granularity
from mbats.market.tick import each_once, ticks_from_table
from mbats.market.tick_bars import (
    findings,
    named,
    parse_granularities,
    piece_of,
    tick_bars,
)
from tests.market.made_ticks import SUNDAY, busy, mark, row, table

G = (Granularity.S5, Granularity.M1, Granularity.H4, Granularity.D)
LATER = datetime(2070, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def whole(rows, granularities=G, until=LATER):
    return tick_bars([piece_of(table(rows), granularities, until)], granularities)


def by_day(rows):
    days = {}
    for each in rows:
        days.setdefault(Granularity.D.start_of(each["time"]), []).append(each)
    return list(days.values())


def starts(made, granularity=Granularity.M1):
    return [at.strftime("%H:%M") for at in made.tables[granularity].column("start").to_pylist()]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_days_in_any_order_from_rows_in_any_order_make_what_the_whole_makes(seed):
    rows = busy(count=300, seed=seed, mean_s=900)
    rng = np.random.default_rng(seed)
    days = by_day([rows[i] for i in rng.permutation(len(rows))])
    pieces = [piece_of(table(day), G, LATER) for day in days]
    apart = tick_bars([pieces[i] for i in rng.permutation(len(pieces))], G)
    assert apart == whole(rows)


def test_without_interruptions_they_are_the_aggregators_bars():
    rows = [r for r in busy() if r["mark"] is None]
    ticks = ticks_from_table(each_once(table(rows)))
    made = whole(rows)
    for granularity in G:
        expected = table_from_bars(aggregate(ticks, granularity, "oanda"), 5, "ticks")
        assert made.tables[granularity].num_rows > 3
        assert made.tables[granularity].equals(expected), granularity


def test_every_row_is_counted_once():
    rows = busy()
    count = whole(rows).count
    assert sum(vars(count).values()) == len(rows)
    assert min(vars(count).values()) > 0
    assert count.used == sum(
        bars.column("volume").to_pylist()[i] for bars in [unbroken(rows)] for i in range(len(bars))
    )


def unbroken(rows):
    return whole([r for r in rows if r["mark"] is None]).tables[Granularity.S5]


def minutes(*numbers):
    return [row(NOON + timedelta(minutes=n, seconds=30), n) for n in numbers]


def at(minute, second=0):
    return NOON + timedelta(minutes=minute, seconds=second)


def test_a_bar_that_an_interruption_touches_is_left_out():
    rows = [*minutes(0, 1, 2, 3, 4), mark(at(1, 40), "lost"), mark(at(3, 10), "back")]
    made = whole(rows)
    assert starts(made) == ["12:00", "12:04"]
    assert made.left_out[Granularity.M1] == [(at(1), at(4), 3)]
    assert made.tables[Granularity.D].num_rows == 0


def test_an_interruption_that_begins_and_ends_with_a_bar_leaves_its_neighbours():
    rows = [*minutes(0, 1, 2), mark(at(1), "lost"), mark(at(2), "back")]
    assert starts(whole(rows)) == ["12:00", "12:02"]


def test_a_killed_streamers_interruption_begins_with_its_last_message():
    rows = [*minutes(0, 1, 5, 6), mark(at(5, 20), "back")]
    assert starts(whole(rows)) == ["12:00", "12:06"]


def test_the_last_message_may_be_days_before():
    friday = [{**r, "event_id": f"f{r['event_id']}"} for r in minutes(0, 1)]
    friday = [{**r, "time": r["time"] - timedelta(days=3)} for r in friday]
    rows = [*friday, mark(at(0, 10), "back"), *minutes(0, 1)]
    pieces = [piece_of(table(day), G, LATER) for day in by_day(rows)]
    assert starts(tick_bars(pieces, G)) == ["12:00", "12:01"]
    assert tick_bars(pieces, G).tables[Granularity.M1].column("start")[0].as_py() == (
        NOON - timedelta(days=3)
    )
    assert tick_bars(pieces, G) == whole(rows)


def test_a_recording_that_begins_in_the_middle_of_a_bar_makes_no_bar_of_it():
    assert starts(whole([mark(at(0, 10), "back"), *minutes(0, 1)])) == ["12:01"]


def test_an_interruption_that_has_not_ended_leaves_out_all_that_follows():
    rows = [*minutes(0, 1, 2), mark(at(1, 40), "lost")]
    assert starts(whole(rows)) == ["12:00"]


def test_a_bar_that_has_not_ended_is_not_made():
    assert starts(whole(minutes(0, 1, 2), until=at(2, 59))) == ["12:00", "12:01"]


def test_the_first_copy_of_an_event_counts_whatever_was_read_first():
    first = row(at(0), 1, bid="1.1", published_at=at(0, 1))
    copy = {**first, "published_at": at(0, 2), "tradeable": False}
    rows = each_once(table([copy, first]))
    assert rows.to_pylist() == table([first]).to_pylist()
    assert whole([copy, first]).count.repeated == 1


def test_two_series_or_two_pieces_of_one_day_are_refused():
    with pytest.raises(DataError, match="one instrument"):
        piece_of(table([row(at(0), 1), row(at(0), 2, instrument="USD_JPY")]), G, LATER)
    with pytest.raises(DataError, match="one vendor"):
        piece_of(table([row(at(0), 1), row(at(0), 2, vendor="other")]), G, LATER)
    pieces = [piece_of(table(minutes(0)), G, LATER)] * 2
    with pytest.raises(DataError, match="Two pieces"):
        tick_bars(pieces, G)


def test_marks_alone_make_no_bars():
    made = whole([mark(at(0), "lost"), mark(at(5), "back")])
    assert {t.num_rows for t in made.tables.values()} == {0}


def test_findings_name_what_was_left_out_and_what_is_wrong():
    crossed = row(at(3, 30), 3, bid="1.2", ask="1.1")
    rows = [*minutes(0, 1, 2), crossed, mark(at(1, 40), "lost"), mark(at(1, 50), "back")]
    made = named(whole(rows), "oanda-ticks")
    found = findings(made, Granularity.M1, "fx", at(4), LATER)
    said = {r["check_name"]: r for r in found}
    assert said["stream_gap"]["start"] == at(1)
    assert said["bid_above_ask"]["start"] == at(3)
    assert {r["vendor"] for r in found} == {"oanda-ticks"}
    assert {r["checked_at"] for r in found} == {LATER}
    vendors = made.tables[Granularity.M1].column("vendor").unique()
    assert vendors.equals(pa.array(["oanda-ticks"]))


def test_weeks_are_not_made_from_ticks():
    assert parse_granularities(["m1", "D", "M1"]) == (Granularity.M1, Granularity.D)
    with pytest.raises(DataError, match="W bars"):
        parse_granularities(["W"])
    with pytest.raises(DataError):
        parse_granularities([])
    assert Granularity.D.start_of(SUNDAY) == SUNDAY
