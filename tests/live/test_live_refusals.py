"""What cannot be sent exactly is rejected by name, and never sent."""

from decimal import Decimal

import backtrader as bt
import pytest

from mbats.trading.risk.context import TradingState
from tests.live.rig import Rig
from tests.live.trades import bought, bracket

REFUSED = {
    "close": (lambda s: s.buy(size=1, exectype=bt.Order.Close), "UNSUPPORTED_ORDER"),
    "stop limit": (
        lambda s: s.buy(size=1, exectype=bt.Order.StopLimit, price=1.2, plimit=1.2),
        "UNSUPPORTED_ORDER",
    ),
    "trailing alone": (
        lambda s: s.sell(size=1, exectype=bt.Order.StopTrail, trailamount=0.01),
        "UNSUPPORTED_ORDER",
    ),
    "not a number": (lambda s: s.buy(size=float("nan")), "BAD_SIZE"),
    "infinite": (lambda s: s.buy(size=float("inf")), "BAD_SIZE"),
    "huge": (lambda s: s.buy(size=1e30), "BAD_SIZE"),
    "below a unit": (lambda s: s.buy(size=0.4), "BAD_SIZE"),
    "large": (lambda s: s.buy(size=5_000_000), "UNITS_CAP"),
    "price not a number": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=float("nan")),
        "BAD_ORDER_PRICE",
    ),
    "negative price": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=-1.0),
        "BAD_ORDER_PRICE",
    ),
    "far away": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=0.5),
        "PRICE_COLLAR",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_sent_exactly_is_rejected_with_its_reason_and_never_sent(case):
    entry, code = REFUSED[case]
    rig, strategy, sent = bought(entry=entry)
    assert strategy.life(sent["entry"]) == ["Submitted", "Rejected"]
    assert strategy.last(sent["entry"]).info.reason == code
    assert code in rig.codes()
    assert rig.broker.placed == []


def test_one_cancels_other_outside_a_bracket_is_rejected():
    def entry(s):
        first = s.buy(size=1, exectype=bt.Order.Limit, price=1.095)
        return s.buy(size=1, exectype=bt.Order.Stop, price=1.105, oco=first)

    rig, strategy, sent = bought(entry=entry)
    assert strategy.last(sent["entry"]).info.reason == "UNSUPPORTED_ORDER"
    assert len(rig.broker.placed) == 1


def test_a_bracket_with_an_impossible_leg_is_rejected_whole():
    rig, strategy, sent = bought(entry=lambda s: bracket(s, stopexec=bt.Order.StopLimit))
    assert [strategy.life(o) for o in sent["entry"]] == [["Submitted", "Rejected"]] * 3
    assert rig.broker.placed == []


def test_the_kill_switch_rejects_and_lack_of_margin_is_margin():
    def halt(live):
        live.trader.state = TradingState.HALTED

    _, strategy, sent = bought(setup=halt)
    assert strategy.last(sent["entry"]).info.reason == "KILL_SWITCH"
    rig = Rig(balance=Decimal(100))
    _, strategy, sent = bought(size=100_000, rig=rig)
    assert strategy.life(sent["entry"]) == ["Submitted", "Margin"]
