"""Ticks to bars: one by one and all at once give the same, and no tick vanishes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.market import newyork
from mbats.market.aggregate import Bar, BarBuilder, aggregate
from mbats.market.bars import BAR_SCHEMA, bars_from_table, table_from_bars
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick, Ticks, ticks_from_table
from mbats.schemas import table

NAME = "EUR_USD"
START = datetime(2026, 3, 10, 12, tzinfo=UTC)
CHANGES = (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC))


def tick(at: datetime, bid: str | None = "1.10000", ask: str | None = "1.10010") -> Tick:
    return Tick(NAME, at, Decimal(bid) if bid else None, Decimal(ask) if ask else None)


def columns(ticks: Sequence[Tick]) -> Ticks:
    return Ticks(
        NAME,
        np.array([t.time.replace(tzinfo=None) for t in ticks], dtype="datetime64[us]"),
        np.array([np.nan if t.bid is None else float(t.bid) for t in ticks]),
        np.array([np.nan if t.ask is None else float(t.ask) for t in ticks]),
        np.array([t.tradeable for t in ticks], dtype=np.bool_),
    )


def one_by_one(ticks: Sequence[Tick], granularity: Granularity) -> tuple[list[Bar], BarBuilder]:
    builder = BarBuilder(NAME, granularity)
    bars = [bar for t in ticks for bar in builder.add(t)]
    return bars + builder.advance(datetime(2070, 1, 1, tzinfo=UTC)), builder


def rows_of(bars: Sequence[Bar]) -> list[dict[str, object]]:
    return [
        {
            "start": bar.start,
            "end_time": bar.end,
            "volume": bar.volume,
            **{
                f"{side}_{part}": price
                for side in ("bid", "ask", "mid")
                for part, price in getattr(bar, side)._asdict().items()
            },
        }
        for bar in bars
    ]


def rows_at_once(ticks: Sequence[Tick], granularity: Granularity) -> list[dict[str, object]]:
    rows = table_from_bars(aggregate(columns(ticks), granularity, "test"), 5).to_pylist()
    dropped = ("instrument", "vendor", "complete", "basis")
    return [{k: v for k, v in row.items() if k not in dropped} for row in rows]


prices = st.integers(1, 900_000_000_000).map(lambda i: Decimal(i) / 100_000)
ticks_near_a_change = st.lists(
    st.builds(
        lambda change, offset, bid, ask, tradeable: Tick(
            NAME, change + timedelta(microseconds=offset), bid, ask, tradeable=tradeable
        ),
        st.sampled_from(CHANGES),
        st.integers(-40 * newyork.HOUR, 40 * newyork.HOUR)
        | st.sampled_from([0, 1, newyork.HOUR, 14 * newyork.HOUR, 15 * newyork.HOUR]),
        st.none() | prices,
        st.none() | prices,
        st.booleans(),
    ),
    max_size=40,
)
granularities = st.sampled_from(list(Granularity))


@given(ticks_near_a_change, granularities)
def test_one_by_one_and_at_once_give_the_same_bars(
    ticks: list[Tick], granularity: Granularity
) -> None:
    ordered = sorted(ticks, key=lambda t: t.time)
    bars, builder = one_by_one(ordered, granularity)
    assert rows_of(bars) == rows_at_once(ordered, granularity)
    count = builder.count
    assert count.used == sum(bar.volume for bar in bars)
    assert count.used + count.untradeable + count.empty_book == len(ticks)
    assert count.late == count.out_of_order == 0


@given(ticks_near_a_change, granularities)
def test_at_once_the_order_of_arrival_of_different_times_does_not_matter(
    ticks: list[Tick], granularity: Granularity
) -> None:
    ordered = sorted(ticks, key=lambda t: t.time)
    assert rows_at_once(ticks, granularity) == rows_at_once(ordered, granularity)


@given(ticks_near_a_change, granularities)
def test_every_tick_in_any_order_is_used_late_or_counted(
    ticks: list[Tick], granularity: Granularity
) -> None:
    late: list[Tick] = []
    builder = BarBuilder(NAME, granularity, on_late=late.append)
    bars = [bar for t in ticks for bar in builder.add(t)]
    bars += builder.advance(datetime(2070, 1, 1, tzinfo=UTC))
    count = builder.count
    assert len(late) == count.late
    assert count.used + count.untradeable + count.empty_book + count.late == len(ticks)
    assert [bar.start for bar in bars] == sorted({bar.start for bar in bars})
    # What was not late makes the bars that the same ticks make in order.
    remaining = [t for t in ticks if not any(t is lost for lost in late)]
    assert rows_of(bars) == rows_at_once(remaining, granularity)


@given(ticks_near_a_change, st.lists(st.integers(0, 80), max_size=20))
def test_a_clock_that_follows_the_ticks_changes_nothing(
    ticks: list[Tick], hours: list[int]
) -> None:
    ordered = sorted(ticks, key=lambda t: t.time)
    builder = BarBuilder(NAME, "H1")
    bars = []
    for one in ordered:
        bars += builder.advance(one.time)
        bars += builder.add(one)
        bars += builder.advance(one.time - timedelta(hours=hours[0] if hours else 0))
    bars += builder.advance(datetime(2070, 1, 1, tzinfo=UTC))
    assert rows_of(bars) == rows_at_once(ordered, Granularity.H1)
    assert builder.count.late == 0


def test_a_bar_by_hand() -> None:
    seconds = [0, 10, 20, 59.999999, 60]
    bids = ["1.10000", "1.10020", "1.09990", "1.10005", "1.20000"]
    builder = BarBuilder(NAME, "M1")
    done = []
    for second, bid in zip(seconds, bids, strict=True):
        at = START + timedelta(seconds=second)
        done += builder.add(tick(at, bid, str(Decimal(bid) + Decimal("0.0001"))))
    [bar] = done
    assert (bar.start, bar.end) == (START, START + timedelta(minutes=1))
    assert [str(p) for p in bar.bid] == ["1.10000", "1.10020", "1.09990", "1.10005"]
    assert [str(p) for p in bar.mid] == ["1.10005", "1.10025", "1.09995", "1.10010"]
    assert [str(p) for p in bar.ask] == ["1.10010", "1.10030", "1.10000", "1.10015"]
    assert (bar.volume, bar.complete) == (4, True)
    forming = builder.forming
    assert forming is not None
    assert (forming.complete, forming.volume, forming.bid.open) == (False, 1, Decimal("1.2"))


def test_empty_intervals_have_no_bar() -> None:
    bars, _ = one_by_one([tick(START), tick(START + timedelta(minutes=10))], Granularity.M1)
    assert [bar.start for bar in bars] == [START, START + timedelta(minutes=10)]


def test_the_clock_closes_a_bar_at_its_end_and_not_before() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.add(tick(START))
    end = START + timedelta(minutes=1)
    assert builder.advance(end - timedelta(microseconds=1)) == []
    [bar] = builder.advance(end)
    assert bar.start == START
    assert builder.advance(end) == []
    assert builder.forming is None


def test_a_tick_for_a_closed_bar_is_late_and_reported() -> None:
    late: list[Tick] = []
    builder = BarBuilder(NAME, "M1", on_late=late.append)
    builder.add(tick(START))
    builder.advance(START + timedelta(minutes=1))
    straggler = tick(START + timedelta(seconds=59), "1.5", "1.6")
    assert builder.add(straggler) == []
    assert late == [straggler]
    assert builder.count.late == 1
    builder.add(tick(START + timedelta(minutes=5)))
    assert builder.add(tick(START + timedelta(minutes=4, seconds=59))) == []
    assert builder.count.late == 2


def test_a_clock_that_steps_back_reopens_nothing() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.advance(START + timedelta(hours=1))
    builder.advance(START)
    builder.add(tick(START + timedelta(minutes=30)))
    assert builder.count.late == 1


def test_ticks_out_of_order_in_an_open_bar_count_by_their_time() -> None:
    builder = BarBuilder(NAME, "M1")
    for second, bid in ((30, "1.3"), (10, "1.1"), (20, "1.2"), (30, "1.4"), (10, "1.15")):
        builder.add(tick(START + timedelta(seconds=second), bid, "2"))
    [bar] = builder.advance(START + timedelta(minutes=1))
    # The first of the two ticks at :10 opens, the second of the two at :30 closes.
    assert [str(p) for p in bar.bid] == ["1.1", "1.4", "1.1", "1.4"]
    assert builder.count.out_of_order == 3


def test_stale_and_empty_ticks_make_no_price_and_close_no_bar() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.add(tick(START))
    later = START + timedelta(minutes=3)
    assert builder.add(replace(tick(later), tradeable=False)) == []
    assert builder.add(tick(later, None, "1.2")) == []
    assert builder.add(tick(later, "1.2", None)) == []
    assert (builder.count.untradeable, builder.count.empty_book, builder.count.used) == (1, 2, 1)
    assert builder.forming is not None


def test_until_leaves_out_the_bar_that_had_not_ended() -> None:
    ticks = columns([tick(START + timedelta(seconds=s)) for s in (0, 70, 130, 150)])
    bars = aggregate(ticks, "M1", "test", until=START + timedelta(minutes=2))
    assert bars.volume is not None
    assert bars.volume.tolist() == [1, 1]
    assert len(aggregate(ticks, "M1", "test", until=START)) == 0
    assert len(aggregate(ticks, "M1", "test")) == 3


def test_at_once_ticks_of_one_time_keep_their_order_of_arrival() -> None:
    # Many of them: NumPy's unstable sorts are stable on a handful.
    ticks = [tick(START + timedelta(seconds=59 - i % 3), f"1.{1000 + i}", "3") for i in range(999)]
    bars = aggregate(columns(ticks), "M1", "test")
    assert bars.bid is not None
    assert bars.bid.open.tolist() == [1.1002]  # the first to arrive at :57
    assert bars.bid.close.tolist() == [1.1996]  # the last to arrive at :59


def test_no_ticks_make_no_bars() -> None:
    for granularity in Granularity:
        assert len(aggregate(columns([]), granularity, "test")) == 0


def test_bars_of_ticks_go_to_the_stored_form_and_back() -> None:
    ticks = columns([tick(START + timedelta(seconds=7 * i), f"1.1{i:04}", "2") for i in range(99)])
    bars = aggregate(ticks, "M1", "test")
    stored = table_from_bars(bars, 5, basis="ticks")
    assert stored.schema == BAR_SCHEMA
    again = bars_from_table(stored, "M1")
    assert again.bid is not None
    assert bars.bid is not None
    assert [a.tolist() for a in again.bid] == [b.tolist() for b in bars.bid]
    assert again.end.tolist() == bars.end.tolist()


def test_ticks_are_read_from_the_stored_form() -> None:
    row = {"instrument": NAME, "vendor": "v", "ask": Decimal("1.2"), "tradeable": True}
    rows = [
        {**row, "event_id": "1", "time": START, "bid": Decimal("1.1")},
        {**row, "event_id": "2", "time": START, "bid": None},
    ]
    ticks = ticks_from_table(pa.Table.from_pylist(rows, table("security_master", "tick").arrow))
    assert ticks.bid.tolist()[0] == 1.1
    assert np.isnan(ticks.bid[1])
    assert ticks.time.tolist() == [START.replace(tzinfo=None)] * 2
    with pytest.raises(DataError, match="one instrument"):
        ticks_from_table(pa.Table.from_pylist([], table("security_master", "tick").arrow))


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "0", "-1.1"])
def test_malformed_prices_are_refused(bad: str) -> None:
    with pytest.raises(DataError, match="has the bid"):
        tick(START, bad)


def test_ticks_of_another_instrument_and_without_zone_are_refused() -> None:
    with pytest.raises(DataError, match="USD_JPY came to the bars of EUR_USD"):
        BarBuilder(NAME, "M1").add(replace(tick(START), instrument="USD_JPY"))
    with pytest.raises(DataError, match="without zone"):
        tick(datetime(2026, 1, 1))
    with pytest.raises(DataError, match="differ in length"):
        replace(columns([tick(START)]), bid=np.empty(0))


def forming_after(ticks: Sequence[Tick]) -> Bar:
    builder = BarBuilder(NAME, "M1")
    for each in ticks:
        builder.add(each)
    assert builder.forming is not None
    return builder.forming


MINUTE_OF_TICKS = [
    tick(START + timedelta(seconds=2 * i), f"1.1000{i % 7}", f"1.1001{i % 5}") for i in range(40)
]


@pytest.mark.parametrize("seen", [1, 7, 29])
@pytest.mark.parametrize("again", [0, 1, 3])
def test_a_bar_that_goes_on_from_what_others_saw_is_the_whole_bar(seen: int, again: int) -> None:
    whole = BarBuilder(NAME, "M1")
    (expected,) = [bar for t in MINUTE_OF_TICKS for bar in whole.add(t)]
    builder = BarBuilder(NAME, "M1")
    builder.resume(MINUTE_OF_TICKS[seen].time, forming_after(MINUTE_OF_TICKS[:seen]))
    rest = MINUTE_OF_TICKS[max(seen - again, 0) :]
    (bar,) = [bar for t in rest for bar in builder.add(t)]
    assert bar == replace(expected, volume=bar.volume)
    assert bar.volume == 30 + min(again, seen)


def test_a_bar_whose_beginning_nobody_knows_is_left_out() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.resume(START + timedelta(seconds=20))
    bars = [bar for t in MINUTE_OF_TICKS[10:] for bar in builder.add(t)]
    assert bars == []
    assert builder.count.partial == 20
    (bar,) = builder.advance(START + timedelta(minutes=2))
    assert (bar.start, bar.volume) == (START + timedelta(minutes=1), 10)


def test_the_clock_closes_nothing_of_a_bar_that_is_left_out() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.resume(START + timedelta(seconds=20))
    builder.add(tick(START + timedelta(seconds=30)))
    assert builder.advance(START + timedelta(minutes=1)) == []
    builder.add(tick(START + timedelta(seconds=50)))
    assert (builder.count.partial, builder.count.late) == (1, 1)


@pytest.mark.parametrize(("at", "empty"), [(0, False), (20, True)])
def test_a_bar_without_a_tick_so_far_begins_with_the_next(at: int, empty: bool) -> None:
    builder = BarBuilder(NAME, "M1")
    builder.resume(START + timedelta(seconds=at), empty=empty)
    builder.add(tick(START + timedelta(seconds=30)))
    (bar,) = builder.advance(START + timedelta(minutes=1))
    assert (bar.start, bar.volume) == (START, 1)


def test_going_on_after_a_gap_drops_what_was_open() -> None:
    builder = BarBuilder(NAME, "M1")
    builder.add(tick(START))
    builder.resume(START + timedelta(minutes=5, seconds=1), empty=True)
    assert builder.advance(START + timedelta(minutes=6)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"instrument": "USD_JPY"},
        {"granularity": Granularity.M5},
        {"start": START + timedelta(seconds=1)},
        {"start": START + timedelta(minutes=1)},
    ],
)
def test_a_bar_of_another_series_cannot_go_on(wrong: dict[str, object]) -> None:
    forming = forming_after(MINUTE_OF_TICKS[:3])
    builder = BarBuilder(NAME, "M1")
    with pytest.raises(DataError, match="cannot go on"):
        builder.resume(START + timedelta(seconds=9), replace(forming, **wrong))
