"""A fill far from the recorded quote, and what the broker says it quoted when it made it."""

from datetime import timedelta
from decimal import Decimal

from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason
from tests.live.parity.sessions import quote_at, session, traded

PIP = Decimal("0.0001")


def _quoted(mid, off="0"):
    """A change of a fill that the broker made at a mid price of its own, ``off`` beyond it."""
    half = Decimal("0.00003")

    def change(row):
        sign = 1 if row["side"] == "buy" else -1
        return {
            "mid_price": mid, "spread_cost": half * row["units"],
            "price": mid + sign * (half + Decimal(off)),
        }  # fmt: skip

    return change


def _mid_before(ticks, moment, pips):
    """The newest mid price before ``moment`` that is ``pips`` away from the one quoted then."""
    now = sum(quote_at(ticks, moment)) / 2
    for back in range(1, 60):
        mid = sum(quote_at(ticks, moment - timedelta(seconds=back))) / 2
        if abs(mid - now) * 2 > pips * PIP:
            return mid, back
    raise AssertionError("the walk stands still")


def test_a_fill_at_an_older_price_than_the_newest_recorded_is_latency():
    made = session()
    time = traded(made).fills[1]["time"]
    mid, back = _mid_before(made.ticks["EUR_USD"], time, pips=1)
    report = compare(traded(made, worsen={1: _quoted(mid)}), tolerance_pips=PIP * 1000)
    found = report.differences[1]
    assert (found.reason, report.parity) == (Reason.LATENCY, True)
    assert abs(found.slippage_pips) > Decimal("0.1")
    seconds = float(found.detail.partition("price of ")[2].partition(" s")[0])
    assert back - 1 < seconds <= back + 60


def test_a_fill_at_a_quote_that_no_tick_recorded_is_a_missed_tick():
    report = compare(traded(session(), worsen={1: _quoted(Decimal("1.2"))}))
    assert report.differences[1].reason is Reason.MISSED_TICK
    assert "1.2, which no tick recorded" in report.differences[1].detail
    assert report.parity


def test_a_fill_off_the_broker_s_own_quote_stays_unexplained():
    report = compare(traded(session(), worsen={1: _quoted(Decimal("1.2"), off="0.0002")}))
    assert report.differences[1].reason is Reason.UNEXPLAINED
