"""The book: orders, trades and positions of one account, folded from the broker's log.

Nothing enters it but transactions, in order, each once. Two books that folded the same log are
equal, whatever happened to the processes that held them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from mbats.errors import MbatsError
from mbats.live.orders.ports import AccountState
from mbats.live.orders.transactions import (
    BalanceChanged,
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    Remark,
    TradePart,
    Transaction,
)
from mbats.trading.order import Role


class LogGapError(MbatsError):
    """Transactions are missing before this one: nothing was applied; read the gap, then go on."""


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order that may still fill; ``units`` are what is left, signed, None for a leg."""

    order_id: int
    client_key: str | None
    instrument: str | None
    units: Decimal | None
    role: Role
    trade_id: int | None = None
    strategy: str | None = None
    order_type: str = ""
    price: Decimal | None = None

    @classmethod
    def made_by(cls, created: OrderCreated) -> "WaitingOrder":
        """Return the order that a creation made."""
        return cls(
            created.id,
            created.client_key,
            created.instrument,
            created.units,
            created.role,
            created.trade_id,
            created.tag,
            created.order_type,
            created.price,
        )


KEYS_KEPT = 500
"""How many client keys a book remembers."""


@dataclass(frozen=True, slots=True)
class HeldTrade:
    """A trade that is open; ``units`` are signed."""

    trade_id: int
    client_key: str | None
    instrument: str
    units: Decimal
    price: Decimal


@dataclass
class Book:
    """What one account holds at transaction ``cursor``.

    ``seen`` lists, by client key, the ids of every transaction that created or refused an order
    with that key: two for one key is a doubled order. It holds the newest :data:`KEYS_KEPT` keys,
    far more than can be sent while an order's outcome may be unknown: it is a part of every
    checkpoint, and must not grow with the account's history.
    """

    account: str
    cursor: int
    balance: Decimal
    orders: dict[int, WaitingOrder] = field(default_factory=dict)
    trades: dict[int, HeldTrade] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def opened_at(cls, state: AccountState) -> "Book":
        """Return a book that begins with the account as the broker reports it."""
        return cls(
            account=state.account,
            cursor=state.last_id,
            balance=state.balance,
            orders={
                o.order_id: WaitingOrder(
                    o.order_id, o.client_key, o.instrument, o.units, Role.ENTRY, o.trade_id
                )
                for o in state.orders
            },
            trades={
                t.trade_id: HeldTrade(t.trade_id, t.client_key, t.instrument, t.units, t.price)
                for t in state.trades
            },
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Book":
        """Return the book that :meth:`to_record` wrote down."""
        orders = (_waiting(o) for o in record["orders"])
        trades = (_held(t) for t in record["trades"])
        return cls(
            account=record["account"],
            cursor=record["cursor"],
            balance=Decimal(record["balance"]),
            orders={order.order_id: order for order in orders},
            trades={trade.trade_id: trade for trade in trades},
            seen={key: list(ids) for key, ids in record["seen"].items()},
        )

    def to_record(self) -> dict[str, Any]:
        """Return the book in plain JSON values; decimals are strings."""
        return {
            "account": self.account,
            "cursor": self.cursor,
            "balance": str(self.balance),
            "orders": [_plain(order) for order in self.orders.values()],
            "trades": [_plain(trade) for trade in self.trades.values()],
            "seen": self.seen,
        }

    def positions(self) -> dict[str, Decimal]:
        """Return signed units by instrument; flat instruments are absent."""
        held: dict[str, Decimal] = defaultdict(Decimal)
        for trade in self.trades.values():
            held[trade.instrument] += trade.units
        return {instrument: units for instrument, units in held.items() if units}

    def apply_all(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Apply what is new, in order; return it. Raises as :meth:`apply` does."""
        return [t for t in transactions if self.apply(t)]

    def apply(self, transaction: Transaction) -> bool:
        """Apply one transaction; return False if it was applied before.

        Raises :class:`LogGapError` if transactions are missing before it.
        """
        if transaction.id <= self.cursor:
            return False
        if transaction.id != self.cursor + 1:
            raise LogGapError(
                f"Transaction {transaction.id} of account {self.account} came after {self.cursor}.",
                mend=f"read the log since {self.cursor}",
            )
        match transaction:
            case OrderCreated():
                self._created(transaction)
            case OrderRejected(client_key=key):
                self._note(key, transaction.id)
            case OrderFilled():
                self._filled(transaction)
            case OrderCancelled():
                self.orders.pop(transaction.order_id, None)
            case BalanceChanged(balance=balance) | Remark(balance=Decimal() as balance):
                self.balance = balance
        self.cursor = transaction.id
        return True

    def _note(self, key: str | None, transaction_id: int) -> None:
        if key:
            self.seen.setdefault(key, []).append(transaction_id)
            if len(self.seen) > KEYS_KEPT:
                del self.seen[next(iter(self.seen))]

    def _created(self, created: OrderCreated) -> None:
        self._note(created.client_key, created.id)
        self.orders[created.id] = WaitingOrder.made_by(created)

    def _filled(self, fill: OrderFilled) -> None:
        self.balance = fill.balance
        order = self.orders.get(fill.order_id)
        if order is not None:
            left = None if order.units is None else order.units - fill.units
            if left and not fill.over:
                self.orders[fill.order_id] = replace(order, units=left)
            else:
                del self.orders[fill.order_id]
        for part in fill.closed:
            self.trades.pop(part.trade_id, None)
        if fill.reduced:
            self._reduce(fill.reduced)
        if fill.opened:
            part = fill.opened
            self.trades[part.trade_id] = HeldTrade(
                part.trade_id, part.client_key, fill.instrument, part.units, part.price
            )

    def _reduce(self, part: TradePart) -> None:
        trade = self.trades.get(part.trade_id)
        if trade is not None:
            self.trades[part.trade_id] = replace(trade, units=trade.units + part.units)


def _plain(row: WaitingOrder | HeldTrade) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Decimal) else v for k, v in asdict(row).items()}


def _waiting(record: Mapping[str, Any]) -> WaitingOrder:
    decimals = {
        name: None if record[name] is None else Decimal(record[name]) for name in ("units", "price")
    }
    return WaitingOrder(**{**record, **decimals, "role": Role(record["role"])})


def _held(record: Mapping[str, Any]) -> HeldTrade:
    return HeldTrade(
        **{**record, "units": Decimal(record["units"]), "price": Decimal(record["price"])}
    )
