"""The bot from inside: tick put into its inbox to order out of its broker port, and CPU by feeds.

Everything is real but the network: inbox and producer thread, store, feeds, backtrader, strategy,
rules, protocol and journal. Run it with `.venv/bin/python benchmarks/live_bot.py [seconds]`.

Latency runs tell the bot a fast clock, so that every tenth tick completes a bar and sends an order;
ticks still arrive at the stated rate of real time. CPU runs have the real clock, five-second bars.
Wall time is what an order waits for, on a machine that others use too; own CPU is the bot's share.
"""

import json
import resource
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import backtrader as bt
import numpy as np

from mbats.live.candles import Recent
from mbats.live.heap import start_up_set_apart
from mbats.live.inbox import Inbox, Stop
from mbats.live.orders.book import Book
from mbats.live.orders.journal import FileJournal
from mbats.live.orders.ports import AccountState, Answer, LogPage, Outcome
from mbats.live.orders.transactions import OrderCreated, OrderFilled, TradePart
from mbats.live.session import Assignment, prepare_live
from mbats.live.store import LiveStore
from mbats.live.trader import Account, Trader
from mbats.market import catalogue
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.risk.context import Limits

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
TICKS_A_BAR = 10
NO_LIMITS = Limits(
    price_age=timedelta(days=1), spread_pips=None, collar_pips=None, orders_per_minute=None,
    notional=None, gross_exposure=None, net_currency_exposure=None, drawdown=None,
    duplicate_window=timedelta(0),
)  # fmt: skip


class FastClock:
    """Time that runs ``speed`` times as fast as the wall's, from a Monday noon."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self.start()

    def start(self) -> None:
        """Begin now."""
        self._begin = time.perf_counter()

    def now(self) -> datetime:
        return MONDAY + timedelta(seconds=self.elapsed() * self._speed)

    def elapsed(self) -> float:
        return time.perf_counter() - self._begin


class TimedInbox(Inbox):
    """Remembers when the tick that was taken last was put."""

    def __init__(self) -> None:
        super().__init__()
        self.put_at: dict[int, float] = {}
        self.taken_put_at = self.cpu_at_take = 0.0

    def put(self, item):
        self.put_at[id(item)] = time.perf_counter()
        super().put(item)

    def take(self, timeout):
        item = super().take(timeout)
        if item is not None:
            self.taken_put_at = self.put_at.pop(id(item))
            self.cpu_at_take = time.thread_time()
        return item


@dataclass
class PortBroker:
    """Fills everything at once; notes how long after its tick an order came out."""

    clock: FastClock
    inbox: TimedInbox
    last_id: int = 1
    units: Decimal = Decimal(0)
    latencies: list[tuple[float, float]] = field(default_factory=list)

    def state(self) -> AccountState:
        money = Decimal(1_000_000)
        return AccountState("A", "USD", False, money, money, Decimal(0), money, self.last_id)

    def transactions_since(self, transaction_id: int) -> LogPage:
        return LogPage([], self.last_id)

    def place(self, intent, *, comment: str) -> Answer:
        inbox = self.inbox
        took = time.perf_counter() - inbox.taken_put_at, time.thread_time() - inbox.cpu_at_take
        self.latencies.append(took)
        base = {"time": self.clock.now(), "type": ""}
        created = OrderCreated(
            id=self.last_id + 1, client_key=intent.key, order_type="LIMIT_ORDER",
            instrument=intent.instrument, units=intent.signed_units, tag=intent.strategy, **base,
        )  # fmt: skip
        self.last_id += 2
        part = TradePart(trade_id=self.last_id, units=intent.signed_units, price=Decimal("1.1"))
        filled = OrderFilled(
            id=self.last_id, order_id=created.id, client_key=intent.key,
            instrument=intent.instrument, units=intent.signed_units, price=Decimal("1.1"),
            realised_pnl=Decimal(0), financing=Decimal(0), commission=Decimal(0),
            half_spread_cost=Decimal(0), balance=Decimal(1_000_000), reason="LIMIT_ORDER",
            opened=None if intent.reduce_only else part,
            closed=(TradePart(trade_id=self.last_id - 2, units=intent.signed_units,
                              price=Decimal("1.1")),) if intent.reduce_only else (), **base,
        )  # fmt: skip
        return Answer(Outcome.DONE, (created, filled))

    def cancel(self, order_id):
        raise AssertionError("nothing waits here")

    replace = cancel


class NoDisk:
    """A journal that does not wait for a disk: what is left is the bot's own time."""

    def append(self, record):
        json.dumps(record)

    def records(self):
        return []

    def compact(self, kept):
        """Nothing is here."""

    def close(self):
        """Nothing is open."""


class NoPast:
    def __init__(self, clock):
        self._clock = clock

    def recent(self, instrument, granularity, after):
        return Recent(None, self._clock.now(), empty=True)


class EveryBar(bt.Strategy):
    """Opens on one bar, closes on the next; with indicators on every feed, as a desk has."""

    def __init__(self):
        self.means = [bt.indicators.SMA(data.close, period=10) for data in self.datas]
        self.closes = [0.0] * len(self.datas)

    def prenext(self):
        self.next()

    def next(self):
        if self.getposition(self.data).size:
            self.close()
        else:
            self.buy(size=1000)


def usual_names(count):
    names = [n for n in catalogue.names() if n.endswith("_USD") and n != "EUR_USD"]
    others = [n for n in catalogue.names() if not n.endswith("_USD")]
    return ["EUR_USD", *(names + others)[: count - 1]]


def produce(inbox, clock, names, rate, seconds, step):
    """Put ticks at ``rate`` a second, in turn; with ``step``, their times go that far each."""
    begin, number = time.perf_counter(), 0
    while (at := number / rate) < seconds:
        ahead = begin + at - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        bid = Decimal(110_000 + number % 7).scaleb(-5)
        when = clock.now() if step is None else MONDAY + step * number
        inbox.put(Tick(names[number % len(names)], when, bid, bid + Decimal("0.0001")))
        number += 1
    inbox.put(Stop("done"))


def run(names, rate, seconds, granularity, *, fast, folder):
    bar = timedelta(microseconds=Granularity.parse(granularity).micros)
    step = bar / TICKS_A_BAR if fast else None
    clock = FastClock(step.total_seconds() * rate if fast else 1.0)
    inbox = TimedInbox()
    broker = PortBroker(clock, inbox)
    instruments = {name: catalogue.instrument(name) for name in names}
    path = Path(folder) / f"{rate}-{len(names)}-{fast}"
    journal = FileJournal(path) if folder else NoDisk()

    def make_trader(told):
        account = Account("A", "USD", "bench", instruments, NO_LIMITS)
        book = Book.opened_at(broker.state())
        return Trader(account, book, broker, journal, Lease(), clock, lambda _: None, told)

    store = LiveStore(inbox, clock, NoPast(clock), stall=timedelta(days=1))
    one = LoadedStrategy("EveryBar", EveryBar, {})
    live = prepare_live(
        [Assignment("bench", one, names, Granularity.parse(granularity))],
        instruments, "A", store, make_trader,
    )  # fmt: skip
    clock.start()
    begin = time.perf_counter()
    producer = threading.Thread(
        target=produce, args=(inbox, clock, names, rate, seconds, step), daemon=True
    )
    producer.start()
    used = time.thread_time()
    with start_up_set_apart():
        live.run()
    used, wall = time.thread_time() - used, time.perf_counter() - begin
    producer.join()
    journal.close()
    return np.array(broker.latencies).reshape(-1, 2) * 1000, used / wall


@dataclass
class Lease:
    fencing: int = 1

    def check(self) -> None:
        """It is always held here."""

    def regain(self) -> None:
        """It is never lost here."""


def line(rate, took, more=""):
    took = took[len(took) // 10 :]  # the first orders warm up
    parts = [f"  {rate:5} ticks/s", f"orders {len(took)}"]
    for name, column in (("wall", took[:, 0]), ("own CPU", took[:, 1])):
        if len(column):
            p50, p99 = np.percentile(column, [50, 99])
            parts.append(f"{name} p50 {p50:.2f} p99 {p99:.2f} max {column.max():.2f}")
    print("  ".join(parts) + more)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as folder:
        for title, place in (("in memory", ""), ("on this disk, synced", folder)):
            print(f"tick in the inbox to order out of the port, ms; journal {title}")
            for rate in (100, 1000):
                took, _ = run(["EUR_USD"], rate, seconds, "S5", fast=True, folder=place)
                line(rate, took)
    print("60 instruments, five-second bars: share of a core that the bot's thread uses")
    for rate in (100, 1000):
        took, share = run(usual_names(60), rate, seconds, "S5", fast=False, folder="")
        line(rate, took, f"  share {share:.1%}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at the most: {memory:.0f} MiB")


if __name__ == "__main__":
    main()
