"""The broker's transaction log, in words of our own.

A broker adapter turns each entry of the broker's log into one of these; everything the desk knows
about orders and positions is folded from them. ``id`` is the broker's integer: contiguous, one
sequence an account. Compare ids as integers: as text, "1000" sorts before "999".
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mbats.trading.order import OrderType, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """Any entry of the log. One that means nothing to the desk stays a plain Transaction."""

    id: int
    time: datetime
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCreated(Transaction):
    """A pending or market order now exists. Its ``id`` is the broker's order id.

    ``units`` are signed; None for a leg that closes whatever its trade holds. ``client_key`` is
    the client id it was sent with. ``trade_id`` is set for orders that depend on a trade.
    ``trade_client_key`` is the client id its trade will carry.
    """

    client_key: str | None
    order_type: OrderType | str
    instrument: str | None
    units: Decimal | None
    price: Decimal | None = None
    role: Role = Role.ENTRY
    trade_id: int | None = None
    tag: str | None = None
    comment: str | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRejected(Transaction):
    """An order was refused and never existed. ``units`` are signed, zero where it had none."""

    client_key: str | None
    instrument: str | None
    reason: str
    order_type: OrderType | str = ""
    units: Decimal = Decimal(0)
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePart:
    """What a fill did to one trade: signed ``units`` opened, closed or reduced."""

    trade_id: int
    units: Decimal
    price: Decimal
    realised_pnl: Decimal = Decimal(0)
    financing: Decimal = Decimal(0)
    client_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilled(Transaction):
    """An order executed, wholly or in part.

    ``units`` are signed. Money is in account currency. ``reason`` is the broker's word for why
    (a market order, a stop loss, a margin close-out). ``over`` tells that the order ended with it,
    however much of it was left: one that may only reduce fills no more than there is. ``mid_price``
    is the middle of what the broker quoted just then, where it says so.
    """

    order_id: int
    client_key: str | None
    instrument: str
    units: Decimal
    price: Decimal
    realised_pnl: Decimal
    financing: Decimal
    commission: Decimal
    half_spread_cost: Decimal
    balance: Decimal
    reason: str
    opened: TradePart | None = None
    closed: tuple[TradePart, ...] = ()
    reduced: TradePart | None = None
    conversion_rate: Decimal | None = None
    mid_price: Decimal | None = None
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled(Transaction):
    """A pending order, or the rest of one, is gone. ``replaced_by`` names its successor."""

    order_id: int
    client_key: str | None
    reason: str
    replaced_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRejected(Transaction):
    """A cancel found nothing to cancel."""

    order_id: int | None
    client_key: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark(Transaction):
    """What moves no order that we know, and a person must hear of.

    A margin call, an account that was closed, an entry of a kind that the adapter does not know.
    ``severity`` is that of a risk event; ``balance`` is the account's where the entry gives one.
    """

    detail: str
    severity: str = "warning"
    balance: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceChanged(Transaction):
    """Money moved without an order: financing, a transfer, a dividend. Account currency."""

    amount: Decimal
    balance: Decimal
    by_instrument: tuple[tuple[str, Decimal], ...] = ()
