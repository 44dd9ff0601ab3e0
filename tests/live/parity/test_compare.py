"""Every reason is planted in a synthetic session, and found; a real bot's session has none."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.backtest.assumptions import Costs
from mbats.errors import DataError
from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason, split
from mbats.live.parity.intrabar import WithinBars
from mbats.live.parity.replay import Expected, tick_bars
from mbats.market.bars import Ohlc
from mbats.market.granularity import Granularity
from mbats.market.tick import Ticks
from mbats.trading.order import order_key
from tests.live import rig
from tests.live.parity.sessions import (
    ACCOUNT,
    MINUTE,
    START,
    Alternating,
    Rising,
    Turning,
    instant_of,
    quote_at,
    random_columns,
    session,
    traded,
)

PIP = Decimal("0.0001")


def reasons(report):
    return [d.reason for d in report.differences]


def cost(difference, fill):
    sign = 1 if fill["side"] == "buy" else -1
    return sign * (fill["price"] - difference.replay_price) * fill["units"]


@pytest.mark.parametrize("strategy", [Alternating, Turning])
def test_a_session_that_traded_like_its_replay_has_no_difference(strategy):
    report = compare(traded(session(strategy)))
    assert len(report.differences) > 5
    assert set(reasons(report)) == {Reason.SAME}
    assert report.parity
    assert report.totals()["ALL"].total == 0


def test_keys_are_those_of_the_live_desk():
    first = compare(traded(session())).differences[0]
    decided = START + 3 * MINUTE
    assert first.key == order_key(ACCOUNT, "S", "EUR_USD", decided, "entry")
    turned = compare(traded(session(Turning))).differences
    assert {d.key for d in turned[1:3]} == {
        order_key(ACCOUNT, "S", "EUR_USD", START + 6 * MINUTE, leg) for leg in ("exit", "entry")
    }


def test_slippage_is_what_the_fill_is_off_the_quote():
    def worse(row):
        return {"price": row["price"] + (PIP / 2 if row["side"] == "buy" else -PIP / 2)}

    found = compare(traded(session(), worsen={2: worse})).differences[2]
    assert found.reason is Reason.SLIPPAGE
    assert found.parts.slippage == found.parts.total == 1000 * PIP / 2
    assert found.slippage_pips == Decimal("0.5")


def test_slippage_that_the_replay_assumes_is_taken_off():
    made = traded(session(costs=Costs(slippage_pips=0.2)))
    found = compare(made).differences[0]
    assert found.parts.slippage == found.parts.total == -1000 * PIP / 5


def test_slippage_beyond_the_tolerance_is_unexplained():
    def worse(row):
        return {"price": row["price"] + (2 * PIP if row["side"] == "buy" else -2 * PIP)}

    made = traded(session(), worsen={1: worse})
    assert compare(made).unexplained[0].key == made.fills[1]["order_key"]
    assert not compare(made).parity
    assert compare(made, tolerance_pips=Decimal(3)).parity


def _late(made, delay):
    def change(row):
        time = row["time"] + delay
        bid, ask = quote_at(made.ticks["EUR_USD"], time)
        return {"time": time, "price": ask if row["side"] == "buy" else bid}

    return change


def _steady(second_mid, second_half):
    """Quotes of minute 3 replaced: one second in, then ten seconds in."""
    ticks = random_columns()
    minute = np.datetime64("2026-11-23T12:03:00", "us")
    kept = (ticks.time < minute) | (ticks.time >= minute + np.timedelta64(1, "m"))
    at = minute + np.array([1, 10]).astype("timedelta64[s]")
    mid, half = np.array([110_000, second_mid]), np.array([2, second_half])
    time = np.concatenate([ticks.time[kept], at])
    order = np.argsort(time)
    bid = np.concatenate([ticks.bid[kept], np.round((mid - half) / 1e5, 5)])[order]
    ask = np.concatenate([ticks.ask[kept], np.round((mid + half) / 1e5, 5)])[order]
    return Ticks("EUR_USD", time[order], bid, ask, np.ones(len(time), dtype=bool))


@pytest.mark.parametrize(
    ("mid", "half", "reason"), [(110_030, 2, Reason.LATENCY), (110_000, 9, Reason.SPREAD)]
)
def test_a_late_fill_pays_the_move_and_the_wider_spread_apart(mid, half, reason):
    made = session(ticks=_steady(mid, half))
    made = traded(made, worsen={0: _late(made, timedelta(seconds=14))})
    found = compare(made).differences[0]
    sign = 1 if found.side == "buy" else -1
    assert found.reason is reason
    assert found.parts.latency == sign * Decimal(mid - 110_000) / 100_000 * 1000
    assert found.parts.spread == Decimal(half - 2) / 100_000 * 1000
    assert found.parts.slippage == 0
    assert found.parts.total == cost(found, made.fills[0]) != 0


def test_a_denied_order_says_its_code_and_what_it_leads_to_follows():
    made = traded(session(), skip={2, 3})
    everything = compare(traded(session())).differences
    denial = {
        "order_key": everything[2].key, "instrument": "EUR_USD", "severity": "warning",
        "time": everything[2].time, "code": "SPREAD_TOO_WIDE", "detail": "9 pips",
    }  # fmt: skip
    report = compare(replace(made, events=[denial]))
    assert reasons(report)[2:4] == [Reason.DENIED, Reason.FOLLOWS]
    assert report.differences[2].detail == "SPREAD_TOO_WIDE: 9 pips"
    assert everything[2].key in report.differences[3].detail
    assert set(reasons(report)[4:]) == {Reason.SAME}
    assert report.parity
    # Once the positions have met again, nothing follows from it any more.
    later = compare(replace(traded(session(), skip={2, 3, 6}), events=[denial]))
    assert reasons(later)[6] is Reason.UNEXPLAINED


def test_an_order_that_never_had_a_key_is_found_by_its_moment():
    made = traded(session(), skip={0, 1})
    about = {"order_key": None, "instrument": "EUR_USD", "severity": "warning", "detail": "d"}
    said = {**about, "code": "NO_SIZE", "time": START + 3 * MINUTE + timedelta(seconds=1)}
    assert reasons(compare(replace(made, events=[said])))[0] is Reason.DENIED
    other = {**said, "time": START + 5 * MINUTE}
    assert reasons(compare(replace(made, events=[other])))[0] is Reason.UNEXPLAINED


def test_an_order_placed_and_expired_says_so():
    made = traded(session(), skip={0, 1})
    key = compare(made).differences[0].key
    placed = {
        "order_key": key, "instrument": "EUR_USD", "severity": "info", "code": "placed",
        "detail": "in the log", "time": START,
    }  # fmt: skip
    expired = {"order_key": key, "event": "expired", "reason": "TIME_IN_FORCE_EXPIRED", "units": 1}
    found = compare(replace(made, events=[placed], orders=[expired])).differences[0]
    assert found.reason is Reason.DENIED
    assert found.detail == "expired: TIME_IN_FORCE_EXPIRED"


def test_a_missing_order_that_nobody_speaks_of_is_unexplained():
    report = compare(traded(session(), skip={2}))
    assert reasons(report)[2] is Reason.UNEXPLAINED
    assert not report.parity


def test_a_live_order_that_the_replay_does_not_send_is_unexplained():
    made = traded(session())
    extra = {**made.fills[0], "event_id": "x", "order_key": "broker-7", "time": START + 29 * MINUTE}
    report = compare(replace(made, fills=[*made.fills, extra]))
    assert [d.key for d in report.unexplained] == ["broker-7"]


def _without_a_tick(made, minute):
    """The bars of a session that saw the bar of ``minute`` close on the other side of its open."""
    bars = tick_bars(made)["EUR_USD"]
    at = int(
        np.searchsorted(bars.start, np.datetime64("2026-11-23T12:00", "us") + minute * 60_000_000)
    )
    close = bars.mid.close.copy()
    close[at] = bars.mid.open[at] - np.sign(close[at] - bars.mid.open[at] + 1e-12) * 1e-5
    return replace(bars, mid=Ohlc(*bars.mid[:3], close))


def test_a_missed_tick_that_turned_a_decision_is_found_by_replaying_what_was_seen():
    made = session()
    seen = {"EUR_USD": _without_a_tick(made, 2)}
    honest, misled = traded(made), traded(made, seen)
    assert honest.fills[0]["side"] != misled.fills[0]["side"]
    report = compare(replace(misled, seen=seen))
    assert report.bars_missed == [("EUR_USD", START + 3 * MINUTE)]
    # The same key, the other side: the units are on the other side, too.
    assert report.differences[0].reason is Reason.MISSED_TICK
    assert "12:03:00" in report.differences[0].detail
    assert report.parity
    assert not compare(misled).parity


def test_a_trade_that_only_one_side_makes_for_a_missed_tick_is_found():
    made = session(Rising)
    bars = tick_bars(made)["EUR_USD"]
    rose = bars.mid.close > bars.mid.open
    thirds = np.arange(2, 27, 3)
    for minute, wanted in ((thirds[rose[thirds]][0], None), (thirds[~rose[thirds]][0], 1000)):
        seen = {"EUR_USD": _without_a_tick(made, int(minute))}
        misled = traded(made, seen)
        report = compare(replace(misled, seen=seen))
        entry = next(d for d in report.differences if d.reason is not Reason.SAME)
        assert (entry.reason, entry.live_units) == (Reason.MISSED_TICK, wanted)
        assert report.parity
        assert not compare(misled).parity


def test_what_was_seen_is_replayed_only_where_the_strategy_was_asked():
    """A bot that began behind its ticks: candles told it the first bars, the oldest too late."""
    made = session(Turning)
    bars = tick_bars(made)["EUR_USD"]
    signals = [
        {
            "instrument": "EUR_USD",
            "time": instant_of(bars.start[n]),
            "known_at": instant_of(bars.end[n]),
            "decided_at": instant_of(bars.end[n]) + timedelta(seconds=1) if n > 2 else None,
            "bid": None,
            "ask": None,
        }
        for n in range(len(bars))
    ]
    in_time = {s["known_at"] for s in signals if s["decided_at"] is not None}
    ticks = made.ticks["EUR_USD"]
    recorded = ticks.time >= np.datetime64("2026-11-23T12:07", "us")
    columns = (ticks.time, ticks.bid, ticks.ask, ticks.tradeable)
    few = Ticks("EUR_USD", *(column[recorded] for column in columns))
    made = replace(made, seen={"EUR_USD": bars}, signals=signals)
    lived = traded(made, {"EUR_USD": bars}, asked=in_time)
    assert lived.fills[0]["time"] == START + 6 * MINUTE + timedelta(seconds=1)
    report = compare(replace(lived, ticks={"EUR_USD": few}))
    assert reasons(report)[0] is Reason.MISSED_TICK
    assert report.parity, report.unexplained
    everywhere = [{**s, "decided_at": s["known_at"]} for s in signals]
    assert not compare(replace(lived, ticks={"EUR_USD": few}, signals=everywhere)).parity


def test_a_short_fill_is_partial_and_its_exit_follows():
    def short(row):
        return {"units": Decimal(400)}

    made = traded(session(), worsen={0: short, 1: short})
    key = made.fills[0]["order_key"]
    asked = {"order_key": key, "event": "accepted", "units": Decimal(1000), "reason": None}
    assert reasons(compare(replace(made, orders=[asked])))[:3] == [
        Reason.PARTIAL,
        Reason.FOLLOWS,
        Reason.SAME,
    ]
    assert reasons(compare(made))[0] is Reason.UNEXPLAINED


def test_another_size_of_a_sizer_by_account_value_is_sizing():
    made = traded(session(sizer="equity:10"), worsen={0: {"units": Decimal(9000)}})
    assert compare(made).differences[0].reason is Reason.SIZING


def test_several_fills_of_one_order_are_one_line_and_repeats_count_once():
    made = traded(session())
    first = made.fills[0]
    halves = [{**first, "event_id": f"h{i}", "units": first["units"] / 2} for i in (1, 2)]
    report = compare(replace(made, fills=[*halves, halves[0], *made.fills[1:]]))
    assert report.differences[0].live_units == 1000
    assert set(reasons(report)) == {Reason.SAME}


def test_a_position_from_before_the_session_is_carried_over():
    made = traded(session())
    close = {
        **made.fills[0], "event_id": "c", "order_key": "m1-old-sl", "side": "sell",
        "time": START + MINUTE, "position_units": Decimal(0),
    }  # fmt: skip
    report = compare(replace(made, fills=[close, *made.fills]))
    assert reasons(report)[0] is Reason.CARRIED
    assert set(reasons(report)[1:]) == {Reason.SAME}


def test_a_fill_before_the_first_recorded_quote_is_unexplained_and_still_sums():
    made = traded(session())
    moved = {**made.fills[0], "time": START - MINUTE, "price": Decimal("1.2")}
    found = compare(replace(made, fills=[moved, *made.fills[1:]])).differences[0]
    assert found.reason is Reason.UNEXPLAINED
    assert found.parts.unquoted == found.parts.total == cost(found, moved)


def test_nothing_is_decided_outside_the_session():
    made = session()
    run = {**made.run, "started_at": START + 10 * MINUTE, "ended_at": START + 20 * MINUTE}
    times = [d.time for d in compare(traded(replace(made, run=run))).differences]
    assert times
    assert min(times) > START + 10 * MINUTE
    assert max(times) <= START + 20 * MINUTE + timedelta(seconds=1)


def test_a_session_that_cannot_be_replayed_says_why():
    made = session()
    with pytest.raises(DataError, match="no ended_at"):
        replace(made, run={**made.run, "ended_at": None})
    with pytest.raises(DataError, match="no recorded ticks of EUR_USD"):
        compare(replace(made, ticks={}))


money = st.decimals("0.5", "200", places=9, allow_nan=False)
small = st.decimals("0", "0.01", places=9, allow_nan=False)


@given(
    live=money, there=money, bid=money, spread=small, half=small, assumed=small, side=st.booleans(),
    units=st.decimals("0.01", "99999999", places=2), rate=st.decimals("0.001", "10", places=9),
    quoted=st.booleans(),
)  # fmt: skip
def test_the_parts_of_a_price_difference_sum_to_it_to_the_last_digit(
    live, there, bid, spread, half, assumed, side, units, rate, quoted
):
    fill = {"side": "buy" if side else "sell", "price": live, "units": units}
    expected = Expected(
        "k", "EUR_USD", fill["side"], "entry", START, units, START, there, half, assumed
    )
    parts, _ = split(fill, expected, (bid, bid + spread) if quoted else None, rate)
    with localcontext(prec=200):
        assert parts.total == (1 if side else -1) * (live - there) * units * rate


def test_a_bot_in_process_against_the_simulator_trades_like_its_replay():
    bot = rig.Rig()
    ticks = rig.random_ticks(minutes=30)
    bot.only(rig.loaded(Turning), ticks)
    fills = [
        {**row, "side": str(row["side"]), "role": str(row["role"])} for row in bot.rows("fill")
    ]
    run = {
        **session().run, "account": rig.ACCOUNT,
        "started_at": rig.START, "ended_at": ticks[-1].time,
    }  # fmt: skip
    made = session(Turning, ticks=rig.columns(ticks), run=run, fills=fills)
    made = replace(made, instruments=bot.broker.instruments)
    report = compare(made)
    assert len(report.differences) > 10
    assert report.parity, [d for d in report.differences if d.reason is not Reason.SAME]
    assert {d.live_units for d in report.differences} == {1000}


def _fills(made, changes):
    """Return ``made`` with fills of its own: key, role, side and seconds after the start."""
    fills = [
        {**traded(session()).fills[0], "order_key": key, "event_id": key, "role": role,
         "side": side, "time": START + timedelta(seconds=seconds)}
        for key, role, side, seconds in changes
    ]  # fmt: skip
    return {fill["order_key"]: [fill] for fill in fills}


@pytest.mark.parametrize(
    ("stop_after", "replayed", "says"),
    [
        (20, (), "within its entry's bar"),
        (70, ("m1-a-tp",), "both legs were touched within one bar"),
        (70, (), None),
    ],
)
def test_a_leg_that_only_live_filled_is_explained_by_its_bar(stop_after, replayed, says):
    entry = ("m1-a", "entry", "buy", 1)
    live = _fills(session(), [entry, ("m1-a-sl", "stop_loss", "sell", stop_after)])
    expected = {
        key: Expected(key, "EUR_USD", "sell", "take_profit", START, Decimal(1), START + MINUTE)
        for key in replayed
    }
    said = WithinBars(Granularity.M1, live, expected).leg("m1-a-sl")
    assert (said is None) if says is None else (says in said)


def test_between_two_fills_of_one_order_what_follows_is_explained_by_it():
    live = _fills(session(), [("m1-a-sl", "stop_loss", "sell", 20)])
    at = START + MINUTE
    expected = {
        "m1-a-sl": Expected("m1-a-sl", "EUR_USD", "sell", "stop_loss", START, Decimal(1), at)
    }
    within = WithinBars(Granularity.M1, live, expected)
    assert within.apart("EUR_USD", START + timedelta(seconds=60)) == "m1-a-sl"
    assert within.apart("EUR_USD", START + timedelta(seconds=10)) is None
    assert within.apart("USD_JPY", START + timedelta(seconds=60)) is None
