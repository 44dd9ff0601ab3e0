"""Rows for the risk store, made from transactions: the same rows whoever makes them, and when.

An event's id is made of the account and the transaction, so that a bot that dies and reads the log
again publishes the same events again, and the views drop the repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from mbats.live.orders.book import Book, WaitingOrder
from mbats.live.orders.transactions import (
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    Remark,
    Transaction,
)
from mbats.trading.order import OrderType, Role, Side, parent_key

UNCLAIMED = "unclaimed"
_NINE_DECIMALS = Decimal("1e-9")

Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One row of one table of the risk store."""

    table: str
    row: Row


class EventWriter:
    """Turns the transactions of one account into events of one run.

    Feed it every transaction after the book has applied it. It remembers what an order was like
    when it was made, because its fill and its end do not say.
    """

    def __init__(self, run_id: str, book: Book, trace_id: str | None = None) -> None:
        self._run_id = run_id
        self._book = book
        self._trace_id = trace_id
        self._orders = dict(book.orders)

    def events(self, transaction: Transaction) -> list[Event]:
        """Return what the transaction means to the risk store; nothing for most kinds."""
        match transaction:
            case OrderCreated():
                self._orders[transaction.id] = WaitingOrder.made_by(transaction)
                return [self._order_event(transaction, transaction.id, "accepted")]
            case OrderRejected():
                return [self._rejected(transaction)]
            case OrderFilled():
                return self._filled(transaction)
            case OrderCancelled(order_id=order_id, reason=reason):
                event = "expired" if reason == "TIME_IN_FORCE_EXPIRED" else "canceled"
                return [self._order_event(transaction, order_id, event, reason, ends=True)]
            case Remark():
                return [self._remark(transaction)]
        return []

    def _remark(self, remark: Remark) -> Event:
        code = f"BROKER_{remark.type}"
        values = {
            "event_id": f"{self._run_id}-{code}-{remark.id}",
            "account": self._book.account,
            "severity": remark.severity,
            "actor": "broker",
        }
        detail = f"transaction {remark.id}: {remark.detail}"
        return denial(self._run_id, code, detail, remark.time, values)

    def _filled(self, fill: OrderFilled) -> list[Event]:
        whole = fill.order_id not in self._book.orders
        order = self._known(fill.order_id, fill.client_key, fill.instrument, fill.units)
        event = "filled" if whole else "partially_filled"
        made = self._order_event(fill, fill.order_id, event, fill.reason, ends=whole)
        made.row.update(
            instrument=fill.instrument,
            side=_side(fill.units),
            units=abs(fill.units),
            price=fill.price,
        )
        rate = fill.conversion_rate
        position = self._book.positions().get(fill.instrument, Decimal(0))
        row = {
            **self._base(fill, "fill"),
            "order_key": made.row["order_key"],
            "strategy": made.row["strategy"],
            "instrument": fill.instrument,
            "side": _side(fill.units),
            "units": abs(fill.units),
            "price": fill.price,
            "mid_price": fill.mid_price,
            "spread_cost": fill.half_spread_cost,
            "slippage_cost": _slippage(order, fill),
            "commission": fill.commission,
            "realised_pnl": fill.realised_pnl,
            "conversion_rate": rate,
            "position_units": position,
            "role": order.role,
            "broker_transaction_id": str(fill.id),
        }
        return [made, Event("fill", row)]

    def _rejected(self, rejected: OrderRejected) -> Event:
        row = {
            **self._base(rejected, "rejected"),
            "order_key": rejected.client_key or f"broker-{rejected.id}",
            "strategy": rejected.tag or UNCLAIMED,
            "instrument": rejected.instrument or "",
            "event": "rejected",
            "order_type": rejected.order_type,
            "side": _side(rejected.units),
            "units": abs(rejected.units),
            "reason": rejected.reason,
            "broker_transaction_id": str(rejected.id),
            "trace_id": self._trace_id,
        }
        return Event("order_event", row)

    def _order_event(
        self,
        transaction: Transaction,
        order_id: int,
        event: str,
        reason: str | None = None,
        *,
        ends: bool = False,
    ) -> Event:
        order = self._known(order_id, None, "", Decimal(0))
        if ends:
            self._orders.pop(order_id, None)
        key = order.client_key or f"broker-{order_id}"
        parent = parent_key(key)
        units, instrument = self._size(order)
        row = {
            **self._base(transaction, event),
            "order_key": key,
            "strategy": order.strategy or UNCLAIMED,
            "instrument": instrument,
            "event": event,
            "order_type": order.order_type,
            "side": _side(units),
            "units": abs(units),
            "price": order.price,
            "reason": reason,
            "parent_order_key": parent if parent != key else None,
            "role": order.role,
            "broker_order_id": str(order_id),
            "broker_transaction_id": str(transaction.id),
            "fencing": _fencing(transaction),
            "trace_id": self._trace_id,
        }
        return Event("order_event", row)

    def _known(
        self, order_id: int, key: str | None, instrument: str, units: Decimal
    ) -> WaitingOrder:
        known = self._orders.get(order_id)
        return known or WaitingOrder(order_id, key, instrument, units, Role.ENTRY)

    def _size(self, order: WaitingOrder) -> tuple[Decimal, str]:
        """Return signed units and instrument; a leg closes what its trade holds."""
        if order.units is not None:
            return order.units, order.instrument or ""
        trade = self._book.trades.get(order.trade_id or 0)
        return (-trade.units, trade.instrument) if trade else (Decimal(0), order.instrument or "")

    def _base(self, transaction: Transaction, event: str) -> Row:
        return {
            "event_id": f"{self._book.account}-{transaction.id}-{event}",
            "run_id": self._run_id,
            "time": transaction.time,
        }


def denial(
    run_id: str, code: str, detail: str, moment: datetime, values: Mapping[str, Any]
) -> Event:
    """Return the risk event of a denial; ``values`` are further columns of ``risk_event``.

    Its id holds what it is about, so that the same denial told twice is one row.
    """
    about = values.get("order_key") or values.get("instrument") or "desk"
    row = {
        "event_id": f"{run_id}-{code}-{about}-{moment.timestamp():.6f}",
        "run_id": run_id,
        "time": moment,
        "code": code,
        "severity": "warning",
        "detail": detail,
        **values,
    }
    return Event("risk_event", row)


def nine(amount: Decimal) -> Decimal:
    """Return an amount at the nine decimals that a NUMERIC column holds."""
    return amount.quantize(_NINE_DECIMALS)


def _side(units: Decimal) -> Side:
    return Side.BUY if units >= 0 else Side.SELL


def _slippage(order: WaitingOrder, fill: OrderFilled) -> Decimal:
    """Return what filling a stop beyond its price cost, in account currency."""
    stops = (OrderType.STOP, OrderType.TRAILING_STOP)
    if order.order_type not in stops or order.price is None or fill.conversion_rate is None:
        return Decimal(0)
    beyond = (fill.price - order.price) * fill.units
    return max(beyond, Decimal(0)) * fill.conversion_rate


def _fencing(transaction: Transaction) -> int | None:
    comment = getattr(transaction, "comment", None) or ""
    name, _, number = comment.partition("=")
    return int(number) if name == "fence" and number.isdigit() else None
