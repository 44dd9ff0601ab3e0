"""Prices and candles: seeded walks, replays, weekends, alignment, what `complete` means."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.local.oanda_sim import (
    Behaviour,
    Quote,
    RandomWalk,
    Replay,
    SimConfig,
    quotes_of_bars,
    quotes_of_file,
    spec_of,
)
from mbats.local.oanda_sim.alignment import OANDA, Alignment, bar_ends, bar_starts
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.calendar import market_open, next_quoting, quoting
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.rest_prices import instrument_candles, latest_candles, pricing
from mbats.local.oanda_sim.times import DAY, SECOND, parse_time, rfc3339, unix
from mbats.market.bars import Bars, Ohlc
from mbats.market.granularity import Granularity
from mbats.market.session import FX

NAMES = ("EUR_USD", "USD_JPY", "EUR_JPY")
SPECS = tuple(spec_of(name) for name in NAMES)
START = parse_time("2026-09-23T14:00:00Z")
MINUTE = 60 * SECOND
instants = st.integers(parse_time("2024-01-01T00:00:00Z"), parse_time("2030-01-01T00:00:00Z"))


def _walk(seed=1, start=START, step_ms=1000):
    return RandomWalk(SPECS, seed, start, step_ms, 0.08, True)


def _take(source, number):
    return [source.take() for _ in range(number)]


def test_one_seed_one_walk():
    assert _take(_walk(), 500) == _take(_walk(), 500)
    assert _take(_walk(seed=2), 500) != _take(_walk(), 500)


def test_walk_is_in_order_and_never_crossed():
    quotes = _take(_walk(), 2000)
    assert [q.time_ns for q in quotes] == sorted(q.time_ns for q in quotes)
    assert all(0 < q.bid < q.ask for q in quotes)


def test_crosses_hang_together():
    newest = {q.instrument: q for q in _take(_walk(), 3000)}
    implied = newest["EUR_USD"].middle * newest["USD_JPY"].middle
    assert abs(newest["EUR_JPY"].middle / implied - 1) < Decimal("0.001")


def test_skipping_lands_on_the_same_walk():
    whole, skipped = _walk(), _walk()
    until = START + 100 * SECOND
    skipped.skip_to(until)
    while (quote := whole.take()).time_ns <= until:
        pass
    assert skipped.take() == quote


def test_walk_stops_with_a_stale_wide_price_and_resumes_on_sunday():
    source = _walk(start=parse_time("2026-09-25T20:58:58Z"))
    quotes = _take(source, 40)
    stale = [q for q in quotes if not q.tradeable]
    assert {q.instrument for q in stale} == set(NAMES)
    assert all(q.ask - q.bid > 50 for q in stale)
    later = [q for q in quotes if q.time_ns > stale[-1].time_ns]
    assert rfc3339(later[0].time_ns).startswith("2026-09-27T21:05")


@given(instants)
def test_calendar_agrees_with_the_market_room(ns):
    assert market_open(ns) == bool(FX.is_open(np.array([ns // 1000]).view("datetime64[us]"))[0])
    resumes = next_quoting(ns, daily_break=True)
    assert resumes >= ns
    assert quoting(resumes, daily_break=True)
    assert (resumes == ns) == quoting(ns, daily_break=True)


@given(instants)
def test_times_survive_both_forms(ns):
    assert parse_time(rfc3339(ns)) == ns == parse_time(unix(ns))


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01T00:00:00Z", "-5", "1e9", "12:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        parse_time(text)


# Replays


def _bars(mid, bid=None, ask=None):
    start = np.array(["2026-09-23T14:00"], dtype="datetime64[us]")
    sides = [Ohlc(*(np.array([p]) for p in side)) if side else None for side in (mid, bid, ask)]
    return Bars("EUR_USD", "M1", "test", start, start + np.timedelta64(60, "s"), *sides)


@pytest.mark.parametrize(
    ("mid", "path"),
    [((1.1, 1.3, 1.0, 1.2), (1.1, 1.0, 1.3, 1.2)), ((1.2, 1.3, 1.0, 1.1), (1.2, 1.3, 1.0, 1.1))],
)
def test_a_bar_is_replayed_as_four_prices_nearer_extreme_first(mid, path):
    quotes = list(quotes_of_bars(_bars(mid), SPECS[0]))
    assert [float(q.middle) for q in quotes] == pytest.approx(list(path))
    assert [(q.time_ns - START) // SECOND for q in quotes] == [0, 15, 30, 45]


def test_a_bars_own_bid_and_ask_are_replayed():
    bars = _bars((1.1, 1.3, 1.0, 1.2), (1.05, 1.25, 0.95, 1.15), (1.15, 1.35, 1.05, 1.25))
    first = next(iter(quotes_of_bars(bars, SPECS[0])))
    assert (first.best_bid, first.best_ask) == (Decimal("1.05000"), Decimal("1.15000"))


def test_ticks_of_a_csv_file_are_replayed_in_order(tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_text(
        "time,instrument,bid,ask\n"
        "2026-09-23T14:00:01.5Z,EUR_USD,1.10000,1.10010\n"
        "2026-09-23T14:00:00Z,USD_JPY,150.000,150.010\n"
    )
    quotes = quotes_of_file(path, {spec.name: spec for spec in SPECS})
    assert [(q.instrument, q.bid, q.ask) for q in quotes] == [
        ("USD_JPY", 150_000, 150_010),
        ("EUR_USD", 110_000, 110_010),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,bid,ask\n", "no column 'instrument'"),
        ("time,instrument,bid,ask\n2026-09-23T14:00:00Z,EUR_USD,cheap,1.1\n", "row 2"),
        ("time,instrument,bid,ask\nnoon,EUR_USD,1.0,1.1\n", "row 2"),
        ("time,instrument,bid,ask\n2026-09-23T14:00:00Z,XAU_EUR,1.0,1.1\n", "row 2"),
    ],
)
def test_bad_tick_files_are_named(tmp_path, text, says):
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        quotes_of_file(path, {spec.name: spec for spec in SPECS})


def test_replay_that_runs_backwards_is_refused():
    quotes = [Quote("EUR_USD", ns, 10, 11, 5) for ns in (5, 4)]
    with pytest.raises(DataError, match="backwards"):
        Replay(quotes).take()


# Candles


def _engine(points, behaviour=None, **more):
    """An engine whose EUR_USD had the (seconds, bid) given; asks are ten points higher."""
    quotes = [Quote("EUR_USD", START + int(s * SECOND), b, b + 10, 5) for s, b in points]
    config = SimConfig(
        start=datetime(2026, 9, 23, 14, tzinfo=UTC), speed=0, specs=SPECS,
        behaviour=behaviour or Behaviour(), **more,
    )  # fmt: skip
    return Engine(config, Replay(quotes))


def _candles(engine, name="EUR_USD", **query):
    query = {key.replace("from_", "from"): str(value) for key, value in query.items()}
    return instrument_candles(engine, Request("GET", "", query, {}, b""), name).body["candles"]


def test_candles_come_from_the_prices_that_fill_orders():
    engine = _engine([(0, 100), (2, 130), (3, 90), (4.9, 110), (5, 120), (61, 140)])
    engine.advance(START + 70 * SECOND)
    five, next_five, _ = _candles(engine, granularity="S5", price="BAM")
    assert five["bid"] == {"o": "0.00100", "h": "0.00130", "l": "0.00090", "c": "0.00110"}
    assert five["ask"] == {"o": "0.00110", "h": "0.00140", "l": "0.00100", "c": "0.00120"}
    assert five["mid"]["o"] == "0.00105"
    assert (five["volume"], five["time"]) == (4, "2026-09-23T14:00:00.000000000Z")
    assert next_five["time"] == "2026-09-23T14:00:05.000000000Z"
    minute, running = _candles(engine, granularity="M1")
    assert (minute["complete"], running["complete"], minute["volume"]) == (True, False, 5)
    assert "bid" not in minute


def test_middle_of_an_odd_spread_is_rounded_to_even():
    engine = _engine([])
    engine.put_price(Quote("EUR_USD", START, 100, 103, 5))
    engine.put_price(Quote("EUR_USD", START, 101, 104, 5))
    (candle,) = _candles(engine, granularity="S5")
    assert (candle["mid"]["o"], candle["mid"]["c"]) == ("0.00102", "0.00102")


def test_no_price_no_candle():
    engine = _engine([(0, 100), (600, 100)])
    engine.advance(START + 700 * SECOND)
    assert len(_candles(engine, granularity="M1")) == 2


def test_from_to_count_and_include_first():
    engine = _engine([(60 * i, 100 + i) for i in range(10)])
    engine.advance(START + 600 * SECOND)

    def minutes(**query):
        return [candle["time"][14:16] for candle in _candles(engine, granularity="M1", **query)]

    third = "2026-09-23T14:03:30Z"
    assert minutes(from_=third, count=2) == ["03", "04"]
    assert minutes(from_=third, count=2, includeFirst="False") == ["04", "05"]
    assert minutes(from_=third, to="2026-09-23T14:06:00Z") == ["03", "04", "05"]
    assert minutes(count=3) == ["07", "08", "09"]
    assert minutes(to="2026-09-23T14:02:00Z", count=1) == ["01"]


@pytest.mark.parametrize(
    "query",
    [
        {"count": 5001},
        {"count": 0},
        {"granularity": "M3"},
        {"price": "X"},
        {"from_": "2027-01-01T00:00:00Z"},
        {"from_": "noon"},
        {"from_": "2026-09-01T00:00:00Z", "to": "2026-09-02T00:00:00Z", "count": 5},
        {"dailyAlignment": 24},
        {"alignmentTimezone": "Mars/Olympus"},
        {"weeklyAlignment": "Someday"},
        {"smooth": "maybe"},
    ],
)
def test_candle_requests_that_make_no_sense_are_refused(query):
    with pytest.raises(Refusal) as caught:
        _candles(_engine([(0, 100)]), **query)
    assert caught.value.status == 400


def test_span_of_more_than_five_thousand_candles_is_refused():
    engine = Engine(SimConfig(start=datetime(2026, 9, 23, 14, tzinfo=UTC), speed=0, specs=SPECS))
    with pytest.raises(Refusal, match="Maximum value for 'count'"):
        _candles(engine, granularity="M1", from_="2026-09-17T00:00:00Z", to="2026-09-23T14:00:00Z")


def test_complete_may_come_late():
    late = _engine([(0, 100)], Behaviour(candle_complete_delay_ms=20_000))
    late.advance(START + 70 * SECOND)
    assert not _candles(late, granularity="M1")[0]["complete"]
    late.advance(START + 80 * SECOND)
    assert _candles(late, granularity="M1")[0]["complete"]
    waits = _engine([(0, 100), (90, 101)], Behaviour(candle_complete_on_next_tick=True))
    waits.advance(START + 80 * SECOND)
    assert not _candles(waits, granularity="M1")[0]["complete"]
    waits.advance(START + 90 * SECOND)
    assert _candles(waits, granularity="M1")[0]["complete"]


def test_generated_past_fills_the_cap_and_joins_the_present():
    engine = Engine(SimConfig(start=datetime(2026, 9, 23, 14, tzinfo=UTC), speed=0, specs=SPECS))
    engine.advance(START + 150 * SECOND)
    minutes = _candles(engine, granularity="M1", count=5000)
    assert len(minutes) == 5000
    times = [candle["time"] for candle in minutes]
    assert times == sorted(set(times))
    assert [m["time"][11:16] for m in minutes[-3:]] == ["14:00", "14:01", "14:02"]
    before, first = minutes[-4], minutes[-3]
    gap = abs(Decimal(before["mid"]["c"]) - Decimal(first["mid"]["o"]))
    assert gap < Decimal("0.0005")
    days = _candles(engine, granularity="D", count=200)
    assert len(days) == 200
    assert {candle["time"][11:13] for candle in days} == {
        "21",
        "22",
    }  # 17:00 New York, both seasons


def test_hours_of_the_past_are_made_of_its_minutes():
    engine = Engine(SimConfig(start=datetime(2026, 9, 23, 14, tzinfo=UTC), speed=0, specs=SPECS))
    hour = _candles(engine, granularity="H1", from_="2026-09-22T10:00:00Z", count=1)[0]["mid"]
    minutes = _candles(engine, granularity="M1", from_="2026-09-22T10:00:00Z", count=60)
    assert hour["h"] == max(candle["mid"]["h"] for candle in minutes)
    assert (hour["o"], hour["c"]) == (minutes[0]["mid"]["o"], minutes[-1]["mid"]["c"])


@settings(max_examples=50)
@given(st.lists(instants, min_size=1, max_size=20), st.sampled_from(list(Granularity)))
def test_default_alignment_is_the_market_rooms_and_own_alignment_agrees(times, granularity):
    ns = np.sort(np.array(times, dtype=np.int64))
    theirs = bar_starts(granularity, ns, OANDA)
    if granularity in (Granularity.D, Granularity.H12, Granularity.H4):
        weekdays = np.array([market_open(int(t)) for t in ns])
        same = Alignment(17, "America/New_York", "Monday")  # counted by hand, but for the weekday
        assert (bar_starts(granularity, ns, same) == theirs)[weekdays].all()
    assert (theirs <= ns).all()
    assert (bar_ends(granularity, theirs, OANDA) > ns).all()


def test_days_may_start_at_midnight_utc():
    starts = np.array([parse_time("2026-09-23T14:00:00Z")])
    midnight = Alignment(0, "UTC", "Monday")
    assert rfc3339(int(bar_starts("D", starts, midnight)[0])).startswith("2026-09-23T00:00")
    assert rfc3339(int(bar_starts("W", starts, midnight)[0])).startswith("2026-09-21T00:00")
    assert rfc3339(int(bar_starts("M", starts, midnight)[0])).startswith("2026-09-01T00:00")
    assert int(bar_ends("W", bar_starts("W", starts, midnight), midnight)[0]) == parse_time(
        "2026-09-28T00:00:00Z"
    )
    assert rfc3339(int(bar_starts("H4", starts, midnight)[0])).startswith("2026-09-23T12:00")


def test_latest_candles_and_home_conversions():
    engine = _engine([(0, 113_841)])
    engine.advance(START + SECOND)
    (account,) = engine.accounts.values()
    engine.put_price(Quote("EUR_USD", START, 113_841, 113_860, 5))
    query = {"candleSpecifications": "EUR_USD:S5:BM"}
    made = latest_candles(engine, account, Request("GET", "", query, {}, b"")).body
    assert made["latestCandles"][0]["granularity"] == "S5"
    query = {"instruments": "EUR_USD", "includeHomeConversions": "True"}
    made = pricing(engine, account, Request("GET", "", query, {}, b"")).body
    assert made["homeConversions"][0] == {  # as recorded
        "currency": "EUR",
        "accountGain": "1.127115",
        "accountLoss": "1.149885",
        "positionValue": "1.1385",
        "unrealizedAccountGain": "1.13841",
        "unrealizedAccountLoss": "1.1386",
    }


def test_a_week_runs_in_order_and_holds_its_invariants():
    config = SimConfig(
        start=datetime(2026, 9, 20, 20, tzinfo=UTC), speed=0, specs=SPECS, walk_step_ms=60_000
    )
    engine = Engine(config)
    engine.advance(engine.now_ns + 7 * DAY)
    hours = _candles(engine, granularity="H1", from_="2026-09-20T21:00:00Z", count=200)
    assert len(hours) == 120
