"""What an account is after its transactions: orders, trades, totals. Only the fold changes it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mbats.local.oanda_sim.money import ZERO

Document = dict[str, Any]

# Order types by the transaction that creates them.
CREATES = {
    "MARKET_ORDER": "MARKET",
    "LIMIT_ORDER": "LIMIT",
    "STOP_ORDER": "STOP",
    "MARKET_IF_TOUCHED_ORDER": "MARKET_IF_TOUCHED",
    "TAKE_PROFIT_ORDER": "TAKE_PROFIT",
    "STOP_LOSS_ORDER": "STOP_LOSS",
    "TRAILING_STOP_LOSS_ORDER": "TRAILING_STOP_LOSS",
}
DEPENDENT = ("TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS")
PENDING, FILLED, CANCELLED = "PENDING", "FILLED", "CANCELLED"


@dataclass
class Order:
    """An order. ``create`` is its create transaction; ``ended`` what its document gains at its end.

    ``units`` is signed; a dependent order has none of its own, it closes its whole trade.
    """

    id: int
    kind: str
    instrument: str
    units: Decimal
    create: Document
    client: Document
    trade_id: int | None = None
    state: str = PENDING
    ended: Document = field(default_factory=dict)


@dataclass
class Trade:
    """A trade. ``units`` are what is open, signed; ``closed_value`` is Σ closed units × price."""

    id: int
    instrument: str
    price: Decimal
    open_time: str
    initial_units: Decimal
    units: Decimal
    initial_margin: Decimal
    client: Document
    realized_pl: Decimal = ZERO
    financing: Decimal = ZERO
    closed_units: Decimal = ZERO
    closed_value: Decimal = ZERO
    closing_ids: list[str] = field(default_factory=list)
    close_time: str | None = None
    dependents: dict[str, int] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether any unit is open."""
        return self.close_time is None

    @property
    def is_long(self) -> bool:
        """Whether it was bought."""
        return self.initial_units > 0


@dataclass
class SideTotals:
    """What one side of a position has made so far, in account currency."""

    pl: Decimal = ZERO
    financing: Decimal = ZERO


@dataclass
class PositionTotals:
    """What an instrument has made so far. Open units are the sum over its open trades."""

    long: SideTotals = field(default_factory=SideTotals)
    short: SideTotals = field(default_factory=SideTotals)
    commission: Decimal = ZERO

    def side(self, is_long: bool) -> SideTotals:
        """Return the totals of one side."""
        return self.long if is_long else self.short


@dataclass
class State:
    """An account after some transactions. Money is in account currency."""

    last_id: int = 0
    created: str = ""
    currency: str = "USD"
    alias: str = ""
    margin_rate: Decimal = ZERO
    balance: Decimal = ZERO
    pl: Decimal = ZERO
    financing: Decimal = ZERO
    commission: Decimal = ZERO
    transfers: Decimal = ZERO
    margin_call_since: str | None = None
    orders: dict[int, Order] = field(default_factory=dict)
    pending: dict[int, Order] = field(default_factory=dict)
    trades: dict[int, Trade] = field(default_factory=dict)
    open_trades: dict[int, Trade] = field(default_factory=dict)
    positions: dict[str, PositionTotals] = field(default_factory=dict)
    used_client_ids: set[str] = field(default_factory=set)

    @property
    def in_margin_call(self) -> bool:
        """Whether the account is in a margin call."""
        return self.margin_call_since is not None

    def position_trades(self, instrument: str, is_long: bool | None = None) -> Iterator[Trade]:
        """Yield the open trades of ``instrument``, oldest first; of one side if given."""
        for trade in self.open_trades.values():
            if trade.instrument == instrument and is_long in (None, trade.is_long):
                yield trade

    def net_units(self, instrument: str, is_long: bool | None = None) -> Decimal:
        """Return the signed open units of ``instrument``; of one side if given."""
        return sum((t.units for t in self.position_trades(instrument, is_long)), ZERO)

    def order_by_client_id(self, client_id: str, *, finished: bool = False) -> Order | None:
        """Return the pending order with that client id; with ``finished`` the newest of any."""
        for order in self.pending.values():
            if order.client.get("id") == client_id:
                return order
        if finished:
            for order in reversed(self.orders.values()):
                if order.client.get("id") == client_id:
                    return order
        return None

    def trade_by_client_id(self, client_id: str) -> Trade | None:
        """Return the open trade with that client id."""
        for trade in self.open_trades.values():
            if trade.client.get("id") == client_id:
                return trade
        return None
