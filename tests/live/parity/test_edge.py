"""The last seconds of a session: what its end explains, and what it must not be an excuse for."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import backtrader as bt
import pytest

from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason
from mbats.live.parity.replay import replay
from mbats.market.newyork import instant
from mbats.market.tick import Ticks
from tests.live.parity.sessions import (
    MINUTE,
    START,
    Alternating,
    Turning,
    quote_at,
    session,
    traded,
)

SECOND = timedelta(seconds=1)
LAST = START + 6 * MINUTE  # the second decision: out, or turned round


def recorded(made, until):
    """``made`` with only what was recorded before ``until``."""
    (ticks,) = made.ticks.values()
    kept = ticks.time < instant(until)
    columns = (column[kept] for column in (ticks.time, ticks.bid, ticks.ask, ticks.tradeable))
    return replace(made, ticks={ticks.instrument: Ticks(ticks.instrument, *columns)})


def ending(made, ended_at):
    """``made`` as a session that ended then, with the fills that it lived to see."""
    fills = [fill for fill in made.fills if fill["time"] <= ended_at]
    return replace(made, run={**made.run, "ended_at": ended_at}, fills=fills)


def reasons(report):
    return [d.reason for d in report.differences]


# Live filled it; the replay has no price left.


def filled_at_the_edge(after_the_decision=2 * SECOND, strategy=Alternating):
    """A session that ended then, whose last fills are at the last recorded quote."""
    made = ending(recorded(traded(session(strategy)), LAST), LAST + after_the_decision)
    bid, ask = quote_at(made.ticks["EUR_USD"], LAST)
    for fill in made.fills[1:]:
        fill["price"] = ask if fill["side"] == "buy" else bid
    return made


def test_an_order_filled_as_the_session_ends_has_no_price_in_its_replay():
    made = filled_at_the_edge()
    report = compare(made)
    assert reasons(report) == [Reason.SAME, Reason.SESSION_ENDED]
    assert "ended 2.000 s after the decision" in report.differences[1].detail
    assert report.parity


def test_a_position_that_was_turned_round_as_the_session_ends_is_explained_whole():
    """It is two orders live: the end explains the one, and the other follows from it."""
    made = filled_at_the_edge(strategy=Turning)
    made.fills[2]["time"] += SECOND / 1000  # what closes is filled first
    assert reasons(compare(made)) == [Reason.SAME, Reason.SESSION_ENDED, Reason.FOLLOWS]


def test_a_recording_that_stopped_before_the_session_ended_is_no_end_of_it():
    made = filled_at_the_edge(11 * SECOND)
    assert reasons(compare(made)) == [Reason.SAME, Reason.UNEXPLAINED]


def test_an_order_that_the_replay_does_not_send_is_not_excused_by_the_end():
    made = filled_at_the_edge()
    made.fills[1]["order_key"] = "broker-7"
    assert reasons(compare(made)) == [Reason.SAME, Reason.UNEXPLAINED]


def test_an_order_on_the_other_side_is_not_excused_by_the_end():
    made = filled_at_the_edge()
    side = made.fills[1]["side"]
    made.fills[1]["side"] = "buy" if side == "sell" else "sell"
    assert reasons(compare(made)) == [Reason.SAME, Reason.UNEXPLAINED]


def test_a_fill_off_the_last_quote_is_not_excused_by_the_end():
    made = filled_at_the_edge()
    sign = 1 if made.fills[1]["side"] == "buy" else -1
    made.fills[1]["price"] += sign * Decimal("0.0002")
    report = compare(made)
    assert reasons(report) == [Reason.SAME, Reason.UNEXPLAINED]
    assert "2.00 pips from the recorded quote" in report.differences[1].detail


class Patient(bt.Strategy):
    """Asks for a better price than there is, just before the end."""

    def next(self):
        if bt.num2date(self.data.datetime[0]).minute == 6:
            self.buy(exectype=bt.Order.Limit, price=self.data.close[0] - 0.01)


@pytest.mark.parametrize(
    ("recorded_until", "why"),
    [
        (LAST + 2 * SECOND, "it does not fill"),  # there was a price, and not one to fill it
        (LAST, "100.00 pips from the recorded quote"),  # there was none
    ],
)
def test_an_order_that_no_price_could_fill_is_not_excused_by_the_end(recorded_until, why):
    made = ending(recorded(session(Patient), recorded_until), LAST + 2 * SECOND)
    (order,) = replay(made)
    _, ask = quote_at(made.ticks["EUR_USD"], LAST + SECOND)
    fill = {
        "event_id": "f", "order_key": order.key, "instrument": "EUR_USD", "time": LAST + SECOND,
        "side": "buy", "units": order.units, "price": ask - Decimal("0.01"), "role": "entry",
        "conversion_rate": None, "position_units": order.units,
    }  # fmt: skip
    (found,) = compare(replace(made, fills=[fill])).differences
    assert found.reason is Reason.UNEXPLAINED
    assert why in found.detail


# The replay decides; live was over first.


def signals(made, until):
    """What a session that decided in the first second after each bar up to ``until`` kept."""
    ends = [START + n * MINUTE for n in range(1, 30) if START + n * MINUTE <= until]
    row = {"instrument": "EUR_USD", "bid": None, "ask": None}
    return [
        {**row, "time": end - MINUTE, "known_at": end, "decided_at": end + SECOND} for end in ends
    ]


def over_before_its_last_decision(after_the_bar, kept_until):
    """A session that never sent the order of LAST, though its replay can fill it."""
    made = traded(session(), skip=range(1, 20))
    ended_at = LAST + after_the_bar
    made = ending(recorded(made, ended_at + 5 * SECOND), ended_at)
    return replace(made, signals=signals(made, kept_until) if kept_until else ())


@pytest.mark.parametrize(
    ("after_the_bar", "kept_until"), [(3 * SECOND, LAST - MINUTE), (0 * SECOND, None)]
)
def test_a_session_that_was_over_before_it_saw_its_last_bar_could_not_decide_on_it(
    after_the_bar, kept_until
):
    report = compare(over_before_its_last_decision(after_the_bar, kept_until))
    assert reasons(report) == [Reason.SAME, Reason.SESSION_ENDED]
    assert "12:06:00, before it could decide on it" in report.differences[1].detail
    assert report.parity


@pytest.mark.parametrize(
    ("after_the_bar", "kept_until", "reason"),
    [
        (3 * SECOND, LAST, Reason.UNEXPLAINED),  # it was asked
        (3 * SECOND, None, Reason.UNEXPLAINED),  # nobody knows whether it was
        (6 * SECOND, LAST - MINUTE, Reason.MISSED_TICK),  # it had time to
    ],
)
def test_a_session_that_could_have_decided_is_not_excused_by_its_end(
    after_the_bar, kept_until, reason
):
    report = compare(over_before_its_last_decision(after_the_bar, kept_until))
    assert reasons(report) == [Reason.SAME, reason]


def test_an_order_that_was_sent_is_not_excused_by_the_end():
    made = over_before_its_last_decision(3 * SECOND, LAST - MINUTE)
    key = compare(made).differences[1].key
    sent = {"order_key": key, "event": "submitted", "reason": None, "units": 1000, "time": LAST}
    report = compare(replace(made, orders=[sent]))
    assert reasons(report)[1] is not Reason.SESSION_ENDED


def test_a_session_that_saw_another_bar_of_that_end_was_not_over_before_it():
    made = over_before_its_last_decision(3 * SECOND, LAST - MINUTE)
    other = {**made.signals[0], "instrument": "USD_JPY", "known_at": LAST}
    report = compare(replace(made, signals=[*made.signals, other]))
    assert reasons(report) == [Reason.SAME, Reason.MISSED_TICK]
