"""The part of `ticks.py` behind the subscription: a bot of the real parts, at a simulator.

Inbox, store, feeds, backtrader, rules, protocol, the journal in the Cloud Storage emulator and
OANDA's wire are those of `mbats live`. The bot is told the time of the newest tick, so that bars of
five seconds come a few times a second and ticks, not the clock, complete them: in no whole ratio to
the emulator's own tick, or all orders would fall on one moment of it.
"""

import os
import threading
import time
import uuid
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import psutil
from live_bot import NO_LIMITS, EveryBar, Lease, NoPast
from oandapyV20.endpoints.pricing import PricingInfo

from mbats.gcp.journal import ObjectJournal
from mbats.gcp.objects import Objects
from mbats.live.heap import start_up_set_apart
from mbats.live.inbox import Inbox, Stop
from mbats.live.orders.book import Book
from mbats.live.session import Assignment, prepare_live
from mbats.live.store import LiveStore
from mbats.live.trader import Account, Trader
from mbats.local.oanda_sim import launch
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick
from mbats.strategy.loading import LoadedStrategy
from mbats.vendors.oanda import OandaVendor
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import OandaReader, session

BAR = timedelta(seconds=5)
AWAY = 5  # niceness, of what stands for another machine
BARS_A_SECOND = 2.7  # an order each, whose journal and answer are over before the next
NEVER = timedelta(days=1)
MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class Found:
    """Milliseconds of each order: publish to leaving, and what it consists of."""

    sent_for: list[int] = field(default_factory=list)  # the tick that led to each order
    left: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    journal: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    whole: np.ndarray = field(default_factory=lambda: np.empty(0))


class TickTime:
    """The clock of the bot: the time of the newest tick that it has taken."""

    def __init__(self):
        self.newest = MONDAY

    def now(self):
        return self.newest

    def elapsed(self):
        return time.monotonic()


class WatchedInbox(Inbox):
    """Knows of the tick taken last which it is, and when it was put and taken."""

    def __init__(self, clock, count):
        super().__init__()
        self._clock, self._left = clock, count
        self._put_at = {}
        self.tick, self.put_at, self.cpu_at_take = -1, 0.0, 0.0
        self.warm = threading.Semaphore(0)

    def put(self, item):
        self._put_at[id(item)] = time.perf_counter()
        super().put(item)
        if isinstance(item, Tick) and item.bid_liquidity < 1000:
            self.warm.release()

    def take(self, timeout):
        item = super().take(timeout)
        if item is not None:
            self.put_at, self.cpu_at_take = self._put_at.pop(id(item)), time.thread_time()
        if isinstance(item, Tick):
            self.tick = item.bid_liquidity - 1000
            self._clock.newest = max(self._clock.newest, item.time)
            self._left -= self.tick >= 0
            if not self._left:
                self.put(Stop("done"))
        return item


class TimedJournal:
    """The real journal; knows what its writes took since the order was begun."""

    def __init__(self, journal):
        self._journal = journal
        self.seconds = self.cpu_seconds = 0.0

    def append(self, record):
        began, cpu = time.perf_counter(), time.thread_time()
        self._journal.append(record)
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.thread_time() - cpu

    def records(self):
        return self._journal.records()


class Watched(OandaBroker):
    """The real broker's port; notes how long after its tick an order came here."""

    def watch(self, inbox, journal):
        self._inbox, self._watched, self.found = inbox, journal, Found()

    def place(self, intent, *, comment):
        inbox, found, journal = self._inbox, self.found, self._watched
        left, cpu = time.perf_counter(), time.thread_time()
        answer = super().place(intent, comment=comment)
        if inbox.tick >= 0:
            found.sent_for.append(inbox.tick)
            found.left.append(left - journal.seconds)
            found.inside.append((left - inbox.put_at - journal.seconds) * 1e3)
            found.cpu.append((cpu - inbox.cpu_at_take - journal.cpu_seconds) * 1e3)
            found.journal.append(journal.seconds * 1e3)
            found.answer.append((time.perf_counter() - left) * 1e3)
        # The outcome is journalled, too, when the answer is here; it belongs to no order to come.
        journal.seconds = journal.cpu_seconds = 0.0
        return answer


class OnlyIntents(TimedJournal):
    """Counts the write before an order, which it waits for; not the one after its answer."""

    def append(self, record):
        if record["record"] == "intent":
            self.seconds = self.cpu_seconds = 0.0
            super().append(record)
        else:
            self._journal.append(record)


def orders(settings, names, count, rate, subscription, producer, *, own_core=False):
    """Run a bot in ``names`` over ``count`` ticks of theirs; return what its orders took.

    ``subscription`` makes the ticks' subscription of a put, ``producer`` the publishing process
    of the time between two ticks, of ``rate`` a second, and their price. With ``own_core`` the bot
    has a core to itself.
    """
    start = ["--instruments", ",".join(names), "--speed", "0", "--start", MONDAY.isoformat()]
    with launch(start) as sim:
        psutil.Process(sim.process.pid).nice(os.nice(0) + AWAY)
        at_broker = settings.model_copy(update={
            "oanda_environment": "sim", "oanda_endpoint": sim.url, "oanda_account": sim.account_id,
        })  # fmt: skip
        clock = TickTime()
        inbox = WatchedInbox(clock, count)
        journal = OnlyIntents(ObjectJournal(Objects.open(settings), f"bench/{uuid.uuid4().hex}"))
        reader = OandaReader(session(at_broker, 10.0), address=sim.url)
        live, broker = bot(at_broker, reader, names, clock, inbox, journal)
        ticks = subscription(inbox.put)
        ticks.start()
        making = producer(BAR * BARS_A_SECOND / rate, bid_now(reader, sim.account_id))
        for _ in names:
            if not inbox.warm.acquire(timeout=60):
                raise TimeoutError("the warming ticks did not come")
        making.go()
        with start_up_set_apart(), core_of_its_own() if own_core else nullcontext():
            live.run()
        sent = making.sent()
        ticks.delete()
        ticks.stop()
        ticks.join(60)
    found = broker.found
    found.whole = (np.array(found.left) - sent[found.sent_for]) * 1e3
    return found


@contextmanager
def core_of_its_own():
    """Keep the machine's first core for this process, and all that it has started off it."""
    cores = sorted(os.sched_getaffinity(0))
    me = psutil.Process()
    pin([me], cores[:1])
    pin(me.children(recursive=True), cores[1:])
    try:
        yield
    finally:
        pin([me, *me.children(recursive=True)], cores)


def pin(processes, cores):
    for process in processes:
        for thread in process.threads():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, cores)


def bid_now(reader, account):
    """Return the simulator's bid of EUR_USD: its clock stands, so it stays."""
    asked = PricingInfo(account, params={"instruments": "EUR_USD"})
    return Decimal(reader.get(lambda: asked, "prices")["prices"][0]["bids"][0]["price"])


def bot(settings, reader, names, clock, inbox, journal):
    """Return the bot and its broker, ready to run."""
    instruments = {i.name: i for i in OandaVendor(settings).instruments() if i.name in names}
    broker = Watched(session(settings, 10.0), reader, settings.oanda_account, instruments)
    broker.watch(inbox, journal)

    def trader(told):
        account = Account(settings.oanda_account, "USD", "bench", instruments, NO_LIMITS)
        book = Book.opened_at(broker.state())
        return Trader(account, book, broker, journal, Lease(), clock, lambda _: None, told)

    store = LiveStore(inbox, clock, NoPast(clock), patience=NEVER, stall=NEVER)
    one = LoadedStrategy("EveryBar", EveryBar, {})
    assignment = Assignment("bench", one, names, Granularity.S5)
    return prepare_live([assignment], instruments, settings.oanda_account, store, trader), broker
