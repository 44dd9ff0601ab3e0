"""What a session said counts for the order it is about, and for no other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason
from mbats.live.parity.replay import tick_bars
from mbats.trading.order import order_key
from tests.live.parity.sessions import ACCOUNT, MINUTE, START, session, traded

SECOND = timedelta(seconds=1)
DECIDED = START + 3 * MINUTE


def key(decided=DECIDED, leg="entry"):
    return order_key(ACCOUNT, "S", "EUR_USD", decided, leg)


def said(code, order, *, after=SECOND, severity="warning"):
    return {
        "order_key": order, "instrument": "EUR_USD", "severity": severity, "code": code,
        "detail": "d", "time": DECIDED + after,
    }  # fmt: skip


def first(*events, **changes):
    """Why the first order of a replay, decided at DECIDED, was not made live."""
    made = replace(traded(session(), skip={0, 1}), events=events, **changes)
    found = compare(made).differences[0]
    assert found.key == key()
    return found.reason


def test_what_was_said_of_another_order_of_the_decision_kept_this_one_back():
    assert first(said("SPREAD", key(leg="exit"))) is Reason.DENIED
    assert first(said("SPREAD", key(leg="entry-2"))) is Reason.DENIED


@pytest.mark.parametrize("other", [key(DECIDED - MINUTE), key(DECIDED + MINUTE), "m1-stranger"])
def test_what_was_said_of_an_order_of_another_decision_is_no_reason(other):
    assert first(said("SPREAD", other)) is Reason.UNEXPLAINED


@pytest.mark.parametrize(
    ("known_after", "reason"),
    [(None, Reason.DENIED), (20 * SECOND, Reason.DENIED), (-20 * SECOND, Reason.UNEXPLAINED)],
)
def test_while_an_earlier_order_had_no_known_outcome_nothing_is_sent_past_it(known_after, reason):
    earlier = key(DECIDED - MINUTE)
    events = [said("unknown", earlier, after=-40 * SECOND, severity="error")]
    if known_after is not None:
        events.append(said("placed", earlier, after=known_after, severity="info"))
    assert first(*events) is reason


def test_an_order_that_became_unknown_after_the_decision_is_no_reason():
    other = key(DECIDED + MINUTE)
    assert first(said("unknown", other, after=MINUTE, severity="error")) is Reason.UNEXPLAINED


def test_late_ticks_count_only_where_the_session_kept_no_bars_to_prove_them():
    late = said("LATE_TICKS", None)
    assert first(late) is Reason.MISSED_TICK
    kept = tick_bars(session())
    assert first(late, seen=kept) is Reason.UNEXPLAINED
