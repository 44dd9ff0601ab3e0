"""A whole session in process: everything around one account, with every port a stand-in."""

from datetime import timedelta
from decimal import Decimal

import backtrader as bt

from mbats.live.bot import Bot
from mbats.live.control import MemoryControl
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import Surroundings
from mbats.live.session import Assignment
from mbats.live.trader import Account
from mbats.market.granularity import Granularity
from mbats.strategy.loading import LoadedStrategy
from tests.live.fakes import HeldLease, ManualClock, MemoryJournal
from tests.live.rig import ACCOUNT, CALM, START, Past, Script, SimBroker, loaded


class Bracket(bt.Strategy):
    """One bracket on the second bar; every further bar another order."""

    params = (("size", 1000),)

    def next(self):
        close = self.data.close[0]
        if not self.position.size:
            self.buy_bracket(
                size=self.p.size, exectype=bt.Order.Market,
                stopprice=close - 0.05, limitprice=close + 0.05,
            )  # fmt: skip


class Sink:
    def __init__(self):
        self.stored, self.waiting = [], []

    def __call__(self, event):
        self.waiting.append(event)

    @property
    def unconfirmed(self):
        return len(self.waiting)

    def flush(self):
        self.stored += self.waiting
        self.waiting = []

    def codes(self):
        return [e.row["code"] for e in self.stored + self.waiting if e.table == "risk_event"]


class Runs:
    def __init__(self):
        self.started, self.noted, self.ended = [], [], []

    def start(self, row):
        self.started.append(dict(row))

    def note(self, row):
        self.noted.append(dict(row))

    def end(self, row, error):
        self.ended.append((dict(row), error))


class House:
    """Everything around one account; :meth:`bot` makes one session of it."""

    def __init__(self, limits=CALM, lease=None):
        self.clock = ManualClock()
        self.clock.time = START
        self.broker = SimBroker(["EUR_USD"])
        self.journal, self.control, self.sink, self.runs = (
            MemoryJournal(), MemoryControl(), Sink(), Runs(),
        )  # fmt: skip
        self.lease = lease or HeldLease()
        self.past = Past(clock=self.clock)
        self.limits, self.flattened, self.rows, self.suspended = limits, [], [], []

    def run(self, entries, *, until=None, strategy=Bracket, **parameters):
        script = Script(entries, self.clock, self.broker, timedelta(seconds=5))
        script.put = lambda item: None
        self.script = script
        account = Account(ACCOUNT, "USD", "run-1", self.broker.instruments, self.limits)
        one = strategy if isinstance(strategy, LoadedStrategy) else loaded(strategy, **parameters)
        plan = Plan(
            account, [Assignment("S", one, ["EUR_USD"], Granularity.M1)],
            until or START + timedelta(days=4), "trace-1", {"kind": "paper"}, longest_wait=5.0,
        )  # fmt: skip
        around = Surroundings(self.broker, self.journal, self.lease, self.clock, self.clock.advance)
        ports = Ports(
            around, script, self.past, self.sink, self.control, self.runs,
            self.flattened.append, lambda: None,
            lambda table, rows: self.rows.extend((table, row) for row in rows),
            lambda: self.suspend(),
        )  # fmt: skip
        self.bot = Bot(plan, ports)
        self.bot.run()

    def suspend(self):
        self.suspended.append(True)

    def position(self):
        return self.broker.state().positions.get("EUR_USD", Decimal(0))


def at(seconds, item):
    return (START + timedelta(seconds=seconds), item)
