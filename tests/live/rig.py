"""A whole bot in process: the simulator's engine as its broker, a script as its inbox, a clock
that the script moves. Nothing sleeps, and a run that is repeated is the same run."""

import json
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import backtrader as bt
import numpy as np

from mbats.live.candles import Recent
from mbats.live.inbox import Logged, Stop
from mbats.live.orders.book import Book
from mbats.live.orders.ports import Answer, LogPage, Outcome
from mbats.live.session import Assignment, prepare_live
from mbats.live.store import LiveStore
from mbats.live.trader import Account, Trader
from mbats.local.oanda_sim import orders, views
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.config import AccountSpec, SimConfig, spec_of
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.quotes import Quote as SimQuote
from mbats.local.oanda_sim.sources import Replay
from mbats.local.oanda_sim.times import from_datetime
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick, Ticks
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.risk.context import Limits
from mbats.vendors import oanda_wire as wire
from tests.live.fakes import HeldLease, ManualClock, MemoryJournal

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = "101-001-1000001-001"
MINUTE = timedelta(minutes=1)


def random_ticks(name="EUR_USD", minutes=60, seed=1, level=110_000, precision=5, spread=2):
    """A random walk of a few ticks a minute, in points of the instrument."""
    rng = random.Random(f"{name}{seed}")
    ticks, mid = [], level
    for minute in range(minutes):
        for second in sorted({rng.randint(0, 8), *rng.sample(range(60), rng.randint(2, 6))}):
            mid += rng.randint(-9, 9)
            at = START + minute * MINUTE + timedelta(seconds=second, milliseconds=rng.randint(0, 9))
            bid, ask = (Decimal(mid + s).scaleb(-precision) for s in (-spread, spread))
            ticks.append(Tick(name, at, bid, ask))
    return ticks


def ticks_at(closes, name="EUR_USD", spread="0.0001", per_minute=1):
    """One tick at the first second of each minute, at these bids."""
    half = Decimal(spread)
    return [
        Tick(name, START + i * MINUTE + timedelta(seconds=1), Decimal(c), Decimal(c) + half)
        for i, c in enumerate(closes)
    ]


def columns(ticks):
    name = ticks[0].instrument
    return Ticks(
        name,
        np.array([t.time.replace(tzinfo=None) for t in ticks], dtype="datetime64[us]"),
        np.array([float(t.bid) for t in ticks]),
        np.array([float(t.ask) for t in ticks]),
        np.array([t.tradeable for t in ticks]),
    )


class SimBroker:
    """The simulator's engine behind the port that the desk trades through.

    ``faults`` are for the next mutations: ``lost`` (never arrives), ``dropped`` (applied, the
    answer lost), None.
    """

    def __init__(self, names, start=START, **account):
        specs = tuple(spec_of(name) for name in names)
        config = SimConfig(
            seed=1,
            start=start,
            specs=specs,
            accounts=(AccountSpec(id=ACCOUNT, **account),),
            history_days=0,
        )
        self.engine = Engine(config, Replay([]))
        self.account = self.engine.accounts[ACCOUNT]
        self.instruments = {spec.name: spec.instrument for spec in specs}
        self.committed = deque()
        self.engine.on_commit.append(lambda _, lines: self.committed.extend(lines))
        self.faults = deque()
        self.placed = []
        self.unreadable = 0

    def state(self):
        last = str(self.account.ledger.last_id)
        return wire.account_state({**views.full(self.account), "lastTransactionID": last})

    def transactions_since(self, transaction_id):
        if self.unreadable:
            self.unreadable -= 1
            raise ConnectionError("the broker does not answer")
        found = self.account.ledger.documents(transaction_id + 1)
        return LogPage([wire.transaction(t) for t in found], self.account.ledger.last_id)

    def place(self, intent, *, comment):
        self.placed.append(intent)
        body = wire.order_body(intent, self.instruments[intent.instrument], comment)
        return self._mutate(lambda: orders.create(self.account, self._now, {"order": body}))

    def cancel(self, order_id):
        return self._mutate(lambda: orders.cancel(self.account, self._now, str(order_id)))

    def replace(self, order_id, intent, *, comment):
        self.placed.append(intent)
        body = wire.order_body(intent, self.instruments[intent.instrument], comment)
        return self._mutate(
            lambda: orders.replace(self.account, self._now, str(order_id), {"order": body})
        )

    @property
    def _now(self):
        return self.engine.now_ns

    def _mutate(self, apply):
        fault = self.faults.popleft() if self.faults else None
        if fault == "lost":
            return Answer(Outcome.UNKNOWN, detail="timeout")
        try:
            made, outcome = apply(), Outcome.DONE
        except Refusal as refused:
            made, outcome = refused.body, Outcome.REFUSED
        if fault == "dropped":
            return Answer(Outcome.UNKNOWN, detail="connection reset")
        found = [wire.transaction(v) for k, v in made.items() if k.endswith("Transaction")]
        return Answer(outcome, tuple(sorted(found, key=lambda t: t.id)), str(made)[:200])

    def price(self, tick):
        """Let the market move to a tick."""
        at, name = from_datetime(tick.time), tick.instrument
        self.engine.advance(at)
        precision = self.instruments[name].price_precision
        bid, ask = (int(side.scaleb(precision)) for side in (tick.bid, tick.ask))
        self.engine.put_price(SimQuote(name, at, bid, ask, precision, tick.tradeable))


class Script:
    """An inbox whose items come when they are due, moving the clock; then it says stop.

    Entries are ticks, or pairs of a time and an item or a callable (called when it is due; it
    returns an item or None). The broker sees each tick first; what it commits follows the tick.
    """

    def __init__(self, entries, clock, broker, stop_after=timedelta(0)):
        timed = [(e.time, e) if isinstance(e, Tick) else e for e in entries]
        self._entries = deque(sorted(timed, key=lambda pair: pair[0]))
        self._end = (self._entries[-1][0] if self._entries else clock.now()) + stop_after
        self._clock, self._broker = clock, broker
        self._stream = True
        self.waits = 0

    def put_first(self, item):
        self._entries.appendleft((self._clock.now(), item))

    def mute_stream(self):
        self._stream = False

    def take(self, timeout):
        if self._broker.committed:
            lines = list(self._broker.committed)
            self._broker.committed.clear()
            if self._stream:
                return Logged([wire.transaction(json.loads(line)) for line in lines])
        due = self._entries[0][0] if self._entries else self._end
        limit = self._clock.now() + timedelta(seconds=timeout)
        if due > limit:
            self.waits += timeout > 0
            self._move(limit)
            return None
        self._move(max(due, self._clock.now()))
        if not self._entries:
            return Stop("the script is over")
        item = self._entries.popleft()[1]
        if isinstance(item, Tick):
            self._broker.price(item)
        return item() if callable(item) else item

    def _move(self, to):
        if to > self._clock.time:
            self._clock.time = to
            self._broker.engine.advance(from_datetime(to))


@dataclass
class Past:
    """A source of bars: what it is given, by instrument; nothing where it is given nothing."""

    recents: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    clock: ManualClock | None = None

    def recent(self, instrument, granularity, after):
        self.asked.append((instrument, after))
        answer = self.recents.get(instrument)
        if callable(answer):
            answer = answer(after)
        return answer or Recent(None, self.clock.now(), empty=True)


def loaded(strategy, **parameters):
    defaults = dict(strategy.params._getitems())
    return LoadedStrategy(strategy.__name__, strategy, {**defaults, **parameters})


CALM = Limits(price_age=timedelta(seconds=65), spread_pips=None, orders_per_minute=None)


class Rig:
    """One account with its journal; :meth:`run` is one life of the bot on it."""

    def __init__(self, names=("EUR_USD",), limits=CALM, make_broker=None, **account):
        self.names = list(names)
        self.clock = ManualClock()
        self.clock.time = START
        self.broker = make_broker(self.clock) if make_broker else SimBroker(names, **account)
        self.journal = MemoryJournal()
        self.limits = limits
        self.events = []
        self.past = Past(clock=self.clock)
        self.opened_at = None

    def run(self, assignments, entries, *, patience=0.3, stop_after=0.0, setup=None, wait=5.0):
        """Live from the journal's newest checkpoint until the script is over."""
        self.script = Script(entries, self.clock, self.broker, timedelta(seconds=stop_after))
        store = LiveStore(self.script, self.clock, self.past, timedelta(seconds=patience))
        live = prepare_live(
            assignments, self.broker.instruments, ACCOUNT, store, self._trader, longest_wait=wait
        )
        self.live = live
        if setup is not None:
            setup(live)
        return live.run()

    def only(self, strategy, entries, *, name="S", sizer="units:1000", parameters=None, **options):
        """Run one strategy in every instrument of the rig; return it."""
        one = (
            strategy
            if isinstance(strategy, LoadedStrategy)
            else loaded(strategy, **(parameters or {}))
        )
        assignment = Assignment(name, one, self.names, Granularity.M1, sizer)
        return self.run([assignment], entries, **options)[0]

    def _trader(self, told):
        checkpoints = [r["book"] for r in self.journal.records() if r["record"] == "checkpoint"]
        if checkpoints:
            book = Book.from_record(checkpoints[-1])
        elif self.opened_at is not None:
            book = Book.from_record(json.loads(self.opened_at))
        else:
            book = Book.opened_at(self.broker.state())
            self.opened_at = json.dumps(book.to_record())
        trader = Trader(
            Account(ACCOUNT, "USD", "run-1", self.broker.instruments, self.limits),
            book, self.broker, self.journal, HeldLease(), self.clock, self.events.append, told,
        )  # fmt: skip
        trader.protocol.catch_up()
        return trader

    def rows(self, table):
        return [e.row for e in self.events if e.table == table]

    def codes(self):
        return [row["code"] for row in self.rows("risk_event")]

    def position(self, name="EUR_USD"):
        return self.broker.state().positions.get(name, Decimal(0))


class Rows(bt.Indicator):
    """Keeps every bar that its feed shows, whoever is told."""

    lines = ("shown",)

    def __init__(self):
        self.rows = []

    def next(self):
        self.lines.shown[0] = 0.0
        lines = self.data.lines
        self.rows.append(
            tuple(getattr(lines, n)[0] for n in ("datetime", "open", "high", "low", "close"))
        )


class Recording(bt.Strategy):
    """Keeps every order and trade notification; ``plan`` maps a bar's number to what to do."""

    params = (("plan", None), ("on_order", None))

    def __init__(self):
        self.orders, self.trades, self.seen, self.statuses, self.messages = [], [], [], [], []
        self.rows = {data._name: Rows(data).rows for data in self.datas}

    def notify_order(self, order):
        self.orders.append((order.ref, order.getstatusname(), order))
        if self.p.on_order is not None:
            self.p.on_order(self, order)

    def notify_trade(self, trade):
        self.trades.append(trade)

    def notify_data(self, data, status, *args, **kwargs):
        self.statuses.append((data._name, data._getstatusname(status)))

    def notify_store(self, message, *args, **kwargs):
        self.messages.append((message, kwargs))

    def prenext(self):
        self.next()

    def next(self):
        self.seen.append(max(data.bar.end for data in self.datas if data.bar))
        action = (self.p.plan or {}).get(len(self.seen))
        if action is not None:
            action(self)

    def life(self, order):
        return [status for ref, status, _ in self.orders if ref == order.ref]

    def last(self, order):
        return next(o for ref, _, o in reversed(self.orders) if ref == order.ref)
