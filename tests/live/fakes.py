"""A broker with a log, a journal in memory, and faults on demand: hand-written stand-ins."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from mbats.live.orders.ports import (
    AccountState,
    Answer,
    LogPage,
    NotHeldError,
    OpenOrder,
    OpenTrade,
    Outcome,
)
from mbats.live.orders.transactions import (
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    TradePart,
)
from mbats.trading.order import OrderIntent, OrderType, Role, Side, order_key

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
PRICE = Decimal("1.10000")


class ManualClock:
    def __init__(self):
        self.time = START

    def now(self):
        return self.time

    def elapsed(self):
        return (self.time - START).total_seconds()

    def advance(self, seconds):
        self.time += timedelta(seconds=seconds)


class MemoryJournal:
    """Keeps records as text, as a disk would: what cannot be written down fails here too."""

    def __init__(self):
        self.lines = []

    def append(self, record):
        self.lines.append(json.dumps(record))

    def records(self):
        return [json.loads(line) for line in self.lines]

    def compact(self, kept):
        """Change nothing: a test that is about compaction says so."""


@dataclass
class HeldLease:
    """``taken`` by another process it cannot be regained; else a lost one can, if ``held`` once."""

    fencing: int = 1
    held: bool = True
    taken: bool = True

    def check(self):
        if not self.held:
            raise NotHeldError("the lease is not held")

    def regain(self):
        if self.taken:
            raise NotHeldError("the lease was taken by another process")
        self.fencing, self.held = self.fencing + 1, True


@dataclass
class FakeBroker:
    """Fills market orders at once, keeps limit orders waiting, and fails as it is told.

    ``fault`` is for the next mutation: ``lost`` (never arrives), ``dropped`` (applied, answer
    lost), ``late`` (applied by :meth:`arrive_late`), ``refused``.
    """

    clock: ManualClock
    log: list = field(default_factory=list)
    orders: dict = field(default_factory=dict)
    trades: dict = field(default_factory=dict)
    late: list = field(default_factory=list)
    sent: list = field(default_factory=list)
    fault: str | None = None
    unreachable: bool = False
    first_id: int = 996  # so that ids pass from three digits to four

    def place(self, intent, *, comment):
        self.sent.append(intent.key)
        return self._mutate(lambda: self._placed(intent, comment))

    def replace(self, order_id, intent, *, comment):
        self.sent.append(intent.key)
        return self._mutate(lambda: [*self._cancelled(order_id), *self._placed(intent, comment)])

    def cancel(self, order_id):
        if order_id not in self.orders:
            return Answer(Outcome.REFUSED, detail="ORDER_DOESNT_EXIST")
        return self._mutate(lambda: self._cancelled(order_id))

    def transactions_since(self, transaction_id):
        if self.unreachable:
            raise ConnectionError("the broker does not answer")
        return LogPage([t for t in self.log if t.id > transaction_id], self.last_id)

    def state(self):
        positions = {}
        for trade in self.trades.values():
            positions[trade.instrument] = positions.get(trade.instrument, 0) + trade.units
        return AccountState(
            account="A",
            currency="USD",
            hedging=False,
            balance=Decimal(10_000),
            net_asset_value=Decimal(10_000),
            margin_used=Decimal(0),
            margin_available=Decimal(10_000),
            last_id=self.last_id,
            positions=positions,
            orders=tuple(self.orders.values()),
            trades=tuple(self.trades.values()),
        )

    @property
    def last_id(self):
        return self.log[-1].id if self.log else self.first_id - 1

    def arrive_late(self):
        for apply in self.late:
            apply()
        self.late.clear()

    def fill(self, order_id, units=None):
        """Fill a waiting order, wholly or by ``units``."""
        order = self.orders[order_id]
        units = order.units if units is None else units
        left = order.units - units
        if left:
            self.orders[order_id] = OpenOrder(order_id, order.client_key, order.instrument, left)
        else:
            del self.orders[order_id]
        return self._filled(order_id, order.client_key, order.instrument, units)

    def _mutate(self, apply):
        fault, self.fault = self.fault, None
        if fault == "lost":
            return Answer(Outcome.UNKNOWN, detail="timeout")
        if fault == "late":
            self.late.append(apply)
            return Answer(Outcome.UNKNOWN, detail="timeout")
        if fault == "dropped":
            apply()
            return Answer(Outcome.UNKNOWN, detail="connection reset")
        if fault == "refused":
            return Answer(Outcome.REFUSED, (self._rejected(),), "INSUFFICIENT_MARGIN")
        return Answer(Outcome.DONE, tuple(apply()))

    def _next(self, cls, **values):
        transaction = cls(id=self.last_id + 1, time=self.clock.now(), type=cls.__name__, **values)
        self.log.append(transaction)
        return transaction

    def _rejected(self):
        key = self.sent[-1]
        return self._next(OrderRejected, client_key=key, instrument="EUR_USD", reason="MARGIN")

    def _placed(self, intent, comment):
        created = self._next(
            OrderCreated,
            client_key=intent.key,
            order_type=intent.type,
            instrument=intent.instrument,
            units=intent.signed_units,
            tag=intent.strategy,
            comment=comment,
        )
        if intent.type is not OrderType.MARKET:
            self.orders[created.id] = OpenOrder(
                created.id, intent.key, intent.instrument, intent.signed_units
            )
            return [created]
        fill = self._filled(created.id, intent.key, intent.instrument, intent.signed_units)
        return [created, fill]

    def _filled(self, order_id, key, instrument, units):
        trade_id = self.last_id + 1
        self.trades[trade_id] = OpenTrade(trade_id, key, instrument, units, PRICE)
        return self._next(
            OrderFilled,
            order_id=order_id,
            client_key=key,
            instrument=instrument,
            units=units,
            price=PRICE,
            realised_pnl=Decimal(0),
            financing=Decimal(0),
            commission=Decimal(0),
            half_spread_cost=Decimal(0),
            balance=Decimal(10_000),
            reason="MARKET_ORDER",
            opened=TradePart(trade_id=trade_id, units=units, price=PRICE, client_key=key),
        )

    def _cancelled(self, order_id):
        order = self.orders.pop(order_id)
        return [
            self._next(
                OrderCancelled,
                order_id=order_id,
                client_key=order.client_key,
                reason="CLIENT_REQUEST",
            )
        ]


def intent(number=0, *, instrument="EUR_USD", kind=OrderType.MARKET, units=1000):
    decided_at = START + timedelta(minutes=number)
    return OrderIntent(
        key=order_key("A", "S", instrument, decided_at),
        account="A",
        strategy="S",
        instrument=instrument,
        side=Side.BUY,
        units=Decimal(units),
        decided_at=decided_at,
        type=kind,
        role=Role.ENTRY,
        price=None if kind is OrderType.MARKET else PRICE,
    )
