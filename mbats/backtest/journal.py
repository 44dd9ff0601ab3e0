"""What happened in a run, kept in plain lists while it runs and turned into tables once, after it.

Nothing here is written per bar: account values between events are computed afterwards from these
records and the bars (:mod:`mbats.backtest.account`).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import backtrader as bt

ENTRY, EXIT, STOP_LOSS, TAKE_PROFIT, CLOSEOUT = (
    "entry",
    "exit",
    "stop_loss",
    "take_profit",
    "closeout",
)
_STOPS = (bt.Order.Stop, bt.Order.StopTrail, bt.Order.StopLimit, bt.Order.StopTrailLimit)


class OrderRecord(NamedTuple):
    """One order, as it was asked for. ``number`` counts the run's orders from 1."""

    number: int
    strategy: int
    instrument: str
    order_type: str
    is_buy: bool
    units: float
    price: float | None
    parent: int | None
    role: str


class EventRecord(NamedTuple):
    """Something that happened to an order. ``row`` is the bar of ``feed`` it belongs to, or -1
    where it happened at the step's own instant: at a bar's end, when strategies decide.
    """

    step: int
    feed: int
    row: int
    order: int
    event: str
    reason: str | None


class FillRecord(NamedTuple):
    """One execution. ``size`` is signed; ``closed`` and ``opened`` are its signed parts."""

    step: int
    feed: int
    row: int
    order: int
    strategy: int
    instrument: str
    size: float
    closed: float
    opened: float
    price: float
    mid: float
    half_spread: float
    slippage: float
    commission: float
    realised: float
    rate: float
    position: float
    average: float
    role: str


class FinancingRecord(NamedTuple):
    """Financing of one position at one rollover, account currency.

    ``after_fills`` is the number of the run's fills that came before it.
    """

    step: int
    after_fills: int
    strategy: int
    instrument: str
    amount: float


@dataclass
class Journal:
    """The records of one run, each list in the order things happened."""

    orders: list[OrderRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    fills: list[FillRecord] = field(default_factory=list)
    financing: list[FinancingRecord] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def number(self, order: Any, role: str) -> int:
        """Return the order's number; the first time, record what it asks for."""
        known = self.numbers.get(order.ref)
        if known is not None:
            return known
        number = self.numbers[order.ref] = len(self.orders) + 1
        parent = order.parent
        self.orders.append(
            OrderRecord(
                number=number,
                strategy=order.owner._id,
                instrument=order.data.instrument,
                order_type=ORDER_TYPES[order.exectype],
                is_buy=order.isbuy(),
                units=abs(order.size),
                price=None if order.exectype == bt.Order.Market else order.created.price,
                parent=None if parent is None else self.numbers.get(parent.ref),
                role=role,
            )
        )
        return number

    def refuse(self, step: int, strategy: int, instrument: str, is_buy: bool, reason: str) -> None:
        """Record an order that was never sent because it has no valid size."""
        number = len(self.orders) + 1
        self.orders.append(
            OrderRecord(number, strategy, instrument, "market", is_buy, 0.0, None, None, ENTRY)
        )
        self.events.append(EventRecord(step, -1, -1, number, "rejected", reason))


ORDER_TYPES = {
    bt.Order.Market: "market",
    bt.Order.Close: "market",
    bt.Order.Limit: "limit",
    bt.Order.Stop: "stop",
    bt.Order.StopLimit: "stop_limit",
    bt.Order.StopTrail: "trailing_stop",
    bt.Order.StopTrailLimit: "trailing_stop",
    bt.Order.Historical: "market",
}

EVENTS = {
    bt.Order.Submitted: "submitted",
    bt.Order.Accepted: "accepted",
    bt.Order.Partial: "partially_filled",
    bt.Order.Completed: "filled",
    bt.Order.Canceled: "canceled",
    bt.Order.Expired: "expired",
    bt.Order.Margin: "margin",
    bt.Order.Rejected: "rejected",
}


def intended_role(order: Any, position: float) -> str:
    """Return what an order is for, from its kind and the position it meets (signed units)."""
    reduces = order.parent is not None or position * order.size < 0
    if not reduces:
        return ENTRY
    if order.exectype in _STOPS:
        return STOP_LOSS
    return TAKE_PROFIT if order.exectype == bt.Order.Limit else EXIT
