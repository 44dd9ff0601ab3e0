"""Orders that fill in parts, as a broker's log may tell it though the simulator never does it."""

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import backtrader as bt
import pytest

from mbats.live.inbox import Logged
from mbats.live.orders.transactions import OrderCancelled, OrderCreated, OrderFilled, TradePart
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderType, Role, leg_key
from tests.live.fakes import PRICE, FakeBroker
from tests.live.rig import MINUTE, START, Recording, Rig, ticks_at


@dataclass
class Parts(FakeBroker):
    """Keeps limit orders waiting; the test says which part of them fills, and when."""

    committed: deque = field(default_factory=deque)
    placed: list = field(default_factory=list)
    engine: Any = field(default_factory=lambda: SimpleNamespace(advance=lambda _: None))
    instruments: dict = field(default_factory=lambda: {"EUR_USD": Instrument("EUR_USD", -4, 5)})

    def place(self, intent, *, comment):
        self.placed.append(intent)
        return super().place(intent, comment=comment)

    def price(self, tick):
        """Nothing fills by itself."""

    def since(self, count):
        return Logged(self.log[count:])

    def leg(self, role, trade_id):
        kind = OrderType.STOP if role is Role.STOP_LOSS else OrderType.LIMIT
        return self._next(
            OrderCreated,
            client_key=leg_key(self.placed[0].key, role),
            order_type=kind,
            instrument=None,
            units=None,
            price=PRICE,
            role=role,
            trade_id=trade_id,
        )

    def leg_fills(self, leg, units):
        return self._next(
            OrderFilled,
            order_id=leg.id,
            client_key=leg.client_key,
            instrument="EUR_USD",
            units=units,
            price=PRICE,
            realised_pnl=PRICE,
            financing=PRICE * 0,
            commission=PRICE * 0,
            half_spread_cost=PRICE * 0,
            balance=PRICE,
            reason="TAKE_PROFIT_ORDER",
            closed=(TradePart(trade_id=leg.trade_id, units=units, price=PRICE),),
        )

    def gone(self, order_id, reason):
        return self._next(OrderCancelled, order_id=order_id, client_key=None, reason=reason)


def at(minute, do):
    return (START + minute * MINUTE + timedelta(seconds=5), do)


def live(entry, *steps):
    """Run ``entry`` at the second bar and what the broker does after it; return what there is."""
    rig = Rig(make_broker=Parts)
    sent, broker = {}, rig.broker

    def step(do):
        def run():
            before = len(broker.log)
            do(broker)
            return broker.since(before)

        return run

    plan = {2: lambda s: sent.update(entry=entry(s))}
    entries = [*ticks_at(["1.1"] * 8), *(at(3 + i, step(do)) for i, do in enumerate(steps))]
    return rig, rig.only(Recording, entries, parameters={"plan": plan}), sent["entry"]


def limit(s):
    return s.buy(size=1000, exectype=bt.Order.Limit, price=1.1)


def bracket(s):
    return s.buy_bracket(
        size=1000, exectype=bt.Order.Limit, price=1.1, stopprice=1.09, limitprice=1.11
    )


def first_order(broker):
    return next(iter(broker.orders))


def fill(units):
    return lambda broker: broker.fill(first_order(broker), units)


def test_an_order_that_fills_in_parts_is_partial_then_completed():
    _rig, strategy, order = live(limit, fill(400), fill(600))
    assert strategy.life(order) == ["Submitted", "Accepted", "Partial", "Completed"]
    sizes = [o.executed.size for ref, _, o in strategy.orders if ref == order.ref]
    assert sizes == [0, 0, 400, 1000]
    assert strategy.getposition(strategy.data).size == 1000
    assert len([t for t in strategy.trades if t.justopened]) == 1


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("CLIENT_REQUEST", "Canceled"),
        ("TIME_IN_FORCE_EXPIRED", "Expired"),
        ("INSUFFICIENT_MARGIN", "Canceled"),
    ],
)
def test_the_rest_of_a_partly_filled_order_ends_by_its_reason(reason, status):
    def end(broker):
        order_id = first_order(broker)
        del broker.orders[order_id]
        broker.gone(order_id, reason)

    _rig, strategy, order = live(limit, fill(400), end)
    assert strategy.life(order) == ["Submitted", "Accepted", "Partial", status]
    assert strategy.last(order).executed.size == 400
    assert strategy.last(order).info.reason == reason


def test_an_order_that_never_filled_for_lack_of_margin_is_margin():
    def end(broker):
        order_id = first_order(broker)
        del broker.orders[order_id]
        broker.gone(order_id, "INSUFFICIENT_MARGIN")

    _, strategy, order = live(limit, end)
    assert strategy.life(order) == ["Submitted", "Accepted", "Margin"]


def test_a_leg_ends_when_all_that_its_entry_opened_is_closed():
    legs = {}

    def opened(broker):
        made = broker.fill(first_order(broker), 400)
        legs["sl"] = broker.leg(Role.STOP_LOSS, made.opened.trade_id)
        legs["tp"] = broker.leg(Role.TAKE_PROFIT, made.opened.trade_id)

    def expired(broker):
        order_id = first_order(broker)
        del broker.orders[order_id]
        broker.gone(order_id, "TIME_IN_FORCE_EXPIRED")

    def target(broker):
        broker.leg_fills(legs["tp"], -400)
        broker.gone(legs["sl"].id, "LINKED_TRADE_CLOSED")

    _rig, strategy, (entry, stop, target_order) = live(bracket, opened, expired, target)
    assert strategy.life(entry) == ["Submitted", "Accepted", "Partial", "Expired"]
    assert strategy.life(target_order) == ["Submitted", "Accepted", "Completed"]
    assert strategy.last(target_order).executed.size == -400
    assert strategy.life(stop) == ["Submitted", "Accepted", "Canceled"]
    assert strategy.getposition(strategy.data).size == 0
    assert strategy.trades[-1].pnl == pytest.approx(float(PRICE))


def test_a_leg_of_one_trade_fills_while_its_entry_still_waits():
    legs = {}

    def opened(broker):
        made = broker.fill(first_order(broker), 400)
        legs["tp"] = broker.leg(Role.TAKE_PROFIT, made.opened.trade_id)

    def again(broker):
        made = broker.fill(first_order(broker), 600)
        legs["tp2"] = broker.leg(Role.TAKE_PROFIT, made.opened.trade_id)

    _rig, strategy, (entry, _, target) = live(
        bracket,
        opened,
        lambda b: b.leg_fills(legs["tp"], -400),
        again,
        lambda b: b.leg_fills(legs["tp2"], -600),
    )
    assert strategy.life(entry) == ["Submitted", "Accepted", "Partial", "Completed"]
    assert strategy.life(target) == ["Submitted", "Accepted", "Partial", "Completed"]
    assert strategy.last(target).executed.size == -1000
    assert strategy.getposition(strategy.data).size == 0
