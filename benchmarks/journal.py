"""A market day's order journal in Cloud Storage, before and after its compaction.

    .venv/bin/python benchmarks/journal.py [ORDERS]

The journal is written by the order protocol itself: every order opens a trade or closes it, and is
followed by a checkpoint. The emulator's requests cost what this machine takes; Google's add their
way there.
"""

import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from mbats.cli.output import people, table
from mbats.config import Settings
from mbats.desk import Desk
from mbats.gcp.journal import ObjectJournal
from mbats.live.orders.book import Book
from mbats.live.orders.compaction import compacted
from mbats.live.orders.ports import Answer, LogPage, Outcome
from mbats.live.orders.protocol import OrderProtocol
from mbats.live.orders.transactions import OrderCreated, OrderFilled, TradePart, Transaction
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.stack import Stack
from mbats.trading.order import OrderIntent, OrderType, Side, order_key

CHECKOUT = Path(__file__).parents[1]
ORDERS = 500
MORNING = datetime(2026, 11, 23, 8, tzinfo=UTC)
NAME = "orders/bench"
PRICE, UNITS = Decimal("1.10000"), Decimal(1000)


class Clock:
    def __init__(self):
        self.time = MORNING

    def now(self):
        return self.time

    def elapsed(self):
        return 0.0


class Lease:
    fencing = 1

    def check(self):
        """It is held."""

    def regain(self):
        """It is never lost."""


class Filling:
    """A broker that fills at once: an order opens a trade, the next closes it."""

    def __init__(self, clock):
        self._clock, self._last, self._open = clock, 1000, None

    def transactions_since(self, transaction_id):
        return LogPage([], self._last)

    def place(self, intent, *, comment):
        made, number = self._last + 1, self._last + 2
        self._last = number
        about = {"time": self._clock.now(), "client_key": intent.key}
        units, price = intent.signed_units, PRICE
        part = TradePart(trade_id=self._open or number, units=units, price=price)
        opened, closed = (part, ()) if self._open is None else (None, (part,))
        self._open = None if self._open else number
        created = OrderCreated(
            id=made, type="MARKET_ORDER", order_type=OrderType.MARKET, units=units,
            instrument=intent.instrument, tag=intent.strategy, comment=comment, **about,
        )  # fmt: skip
        zero = Decimal(0)
        filled = OrderFilled(
            id=number, type="ORDER_FILL", order_id=made, instrument=intent.instrument, units=units,
            price=price, realised_pnl=zero, financing=zero, commission=zero, half_spread_cost=zero,
            balance=Decimal(100_000), reason="MARKET_ORDER", opened=opened, closed=closed, **about,
        )  # fmt: skip
        return Answer(Outcome.DONE, (created, filled))


def trade(journal: ObjectJournal, orders: int) -> Book:
    """Let a bot send ``orders`` into ``journal``; return the account at the day's end."""
    clock = Clock()
    book = Book("bench", 1000, Decimal(100_000))
    protocol = OrderProtocol(book, Filling(clock), journal, Lease(), clock, _unheard)
    protocol.checkpoint({})
    for number in range(orders):
        clock.time = moment = MORNING + timedelta(minutes=number)
        side = Side.SELL if number % 2 else Side.BUY
        key = order_key("bench", "S", "EUR_USD", moment)
        protocol.place(OrderIntent(key, "bench", "S", "EUR_USD", side, UNITS, moment))
        protocol.checkpoint({})
    return book


def _unheard(transaction: Transaction) -> None:
    """Nobody listens."""


def looked_at(desk: Desk) -> tuple[int, int, float, ObjectJournal]:
    """Return objects, bytes, the seconds that opening takes, and the journal."""
    stored = list(desk.objects.list("state", f"journals/{NAME}/"))
    began = time.perf_counter()
    journal = ObjectJournal(desk.objects, NAME, worth=1)
    return len(stored), sum(s.size for s in stored), time.perf_counter() - began, journal


def measured(settings: Settings, orders: int) -> Iterable[tuple[str, ...]]:
    with Desk(settings) as desk:
        for bucket in desk.objects.missing_buckets():
            desk.objects.make_bucket(bucket)
        book = trade(ObjectJournal(desk.objects, NAME), orders)
        *before, journal = looked_at(desk)
        yield _row("as written", *before)
        began = time.perf_counter()
        later = MORNING + timedelta(days=1)
        journal.compact(compacted(journal.records(), book, None, later))
        seconds = time.perf_counter() - began
        *after, journal = looked_at(desk)
        yield _row("compacted, nothing proved", *after, seconds)
        later = MORNING + timedelta(days=60)
        journal.append({"record": "checkpoint", "book": book.to_record(), "values": {}})
        began = time.perf_counter()
        journal.compact(compacted(journal.records(), book, book, later))
        seconds = time.perf_counter() - began
        *after, journal = looked_at(desk)
        yield _row("proved, 60 days later", *after, seconds)


def _row(name: str, objects: int, size: int, opened: float, took: float = 0.0) -> tuple[str, ...]:
    return name, f"{objects:,}", f"{size:,}", f"{opened:.2f}", f"{took:.2f}"


def main() -> None:
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(
            Settings(home=Path(folder) / ".mbats", venvs=CHECKOUT / ".mbats" / "venvs"),
            services=[service for service in EMULATOR_SERVICES if service.name == "storage"],
            any_ports=True,
        )
        try:
            stack.up()
            shown = list(measured(stack.running_settings(), orders))
        finally:
            stack.down()
    columns = ("journal", "objects", "bytes", "opens in s", "compacted in s")
    people.print(table(f"{orders} orders", columns, shown))


if __name__ == "__main__":
    main()
