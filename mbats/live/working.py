"""What became of each backtrader order at the broker, and what strategies are told of it.

One backtrader order may be several at the broker (an exit and an entry; a leg for each trade that a
partly filled entry opened), so it ends when none of them can do anything any more.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt

from mbats.live.feed import to_num
from mbats.live.orders.transactions import OrderFilled
from mbats.trading.order import OrderIntent, Role


@dataclass(eq=False)
class Working:
    """One backtrader order.

    ``unsent`` are the intents still to be sent for it, ``unknown`` the keys that were sent and have
    no outcome yet, ``waiting`` the broker's ids of what may still fill. ``parent`` is set for a
    leg; ``legs`` are an entry's, by role. ``trades`` are those that an entry opened, or that a leg
    has had an order for.
    """

    order: Any
    strategy: str
    intents: dict[str, OrderIntent] = field(default_factory=dict)
    unsent: deque[OrderIntent] = field(default_factory=deque)
    unknown: set[str] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    parent: "Working | None" = None
    legs: dict[Role, "Working"] = field(default_factory=dict)
    cancel_wanted: bool = False
    trades: set[int] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        """Whether backtrader still counts on it."""
        return bool(self.order.alive())

    @property
    def pending(self) -> bool:
        """Whether anything may still come of it."""
        if self.unsent or self.unknown or self.waiting:
            return True
        entry = self.parent
        return entry is not None and (entry.alive or bool(entry.trades - self.trades))

    def family(self) -> "list[Working]":
        """Return the bracket this belongs to: entry first, then its legs; itself if alone."""
        entry = self.parent or self
        return [entry, *entry.legs.values()]


class FilledMoney:
    """The money of one fill as backtrader asks for it: the broker's figure, not a computed one."""

    def __init__(self, info: Any, realised: float) -> None:
        self._info = info
        self._realised = realised

    def __getattr__(self, name: str) -> Any:
        return getattr(self._info, name)

    def profitandloss(self, size: float, price: float, newprice: float) -> float:
        """Return what the broker realised, in account currency."""
        return self._realised


class Notifications:
    """The queue of order notifications that cerebro reads: always of copies."""

    def __init__(self) -> None:
        self._queue: deque[Any] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, order: Any) -> None:
        """Queue the order as it is now."""
        self._queue.append(order.clone())

    def get(self) -> Any:
        """Return the next, or None."""
        return self._queue.popleft() if self._queue else None


def execute(order: Any, fill: OrderFilled, position: bt.Position, held: float, info: Any) -> None:
    """Book ``fill`` on ``order`` and on ``position``; ``held`` are the units that remain after it.

    Opened and closed parts come of the position; the profit is what the broker realised.
    """
    units, price = float(fill.units), float(fill.price)
    entry = position.price
    _, _, opened, closed = position.update(units, price, fill.time.replace(tzinfo=None))
    position.size = held  # exact, where sums of floats drift
    if not held:
        position.price = 0.0
    commission, realised = float(fill.commission), float(fill.realised_pnl)
    closing = abs(closed) / abs(units) * commission
    order.execute(
        to_num(fill.time), units, price,
        closed, info.getvaluesize(-closed, entry) if closed else 0.0, closing,
        opened, info.getvaluesize(opened, price) if opened else 0.0, commission - closing,
        info.getoperationcost(held, price), realised, held, position.price,
    )  # fmt: skip
    order.addcomminfo(FilledMoney(info, realised))


def complete(order: Any) -> None:
    """End an order as executed, by all that there was to execute."""
    order.executed.remsize = 0.0
    order.completed()
