"""Ways to lose money that an owner of it thought of, and that the desk once had: each is shut."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.errors import NotReadyError, RefusedError
from mbats.live.control import MemoryControl, TradingOrder, set_state
from mbats.live.inbox import Control, Stop, Unseen
from mbats.live.orders.book import Book, LogGapError
from mbats.live.orders.ports import Answer, LogPage, Outcome
from mbats.live.orders.protocol import QUARANTINE, Fate, OrderProtocol, UntoldError
from mbats.live.orders.transactions import OrderFilled
from mbats.trading.risk.context import Quote, TradingState
from tests.live.fakes import FakeBroker, HeldLease, ManualClock, MemoryJournal, intent
from tests.live.house import House, at
from tests.live.rig import CALM, START, ticks_at
from tests.live.test_recovery import Life

SLOW = timedelta(seconds=60)
CLOSES = ["1.1"] * 6


class SlowJournal(MemoryJournal):
    """Cloud Storage behind a bad line: a write takes a minute, and ``after`` happens meanwhile."""

    def __init__(self, clock, after=lambda: None):
        super().__init__()
        self._clock, self._after = clock, after

    def append(self, record):
        super().append(record)
        if record["record"] == "intent":
            self._clock.advance(SLOW.total_seconds())
            self._after()


class Bot:
    """The protocol over stand-ins, each to be replaced by a worse one."""

    def __init__(self, make_journal=None):
        self.clock, self.lease, self.told = ManualClock(), HeldLease(), []
        self.broker = FakeBroker(self.clock)
        self.journal = make_journal(self) if make_journal else MemoryJournal()
        self.listen = self.told.append
        self.protocol = OrderProtocol(
            Book.opened_at(self.broker.state()), self.broker, self.journal, self.lease,
            self.clock, lambda transaction: self.listen(transaction),
        )  # fmt: skip


# Doubling an order.


def test_an_order_that_was_journaled_slowly_is_not_given_up_before_it_can_have_arrived():
    bot = Bot(lambda bot: SlowJournal(bot.clock))
    bot.broker.fault = "late"
    assert bot.protocol.place(intent()).fate is Fate.UNKNOWN
    assert bot.protocol.resolve() == []
    bot.broker.arrive_late()
    assert [v.fate for v in bot.protocol.resolve()] == [Fate.PLACED]


def test_a_torn_page_of_the_log_does_not_hide_the_order_that_is_looked_for():
    bot = Bot()
    bot.broker.fault = "dropped"
    bot.protocol.place(intent())
    bot.protocol.catch_up()
    bot.clock.advance(QUARANTINE.total_seconds())
    bot.broker.transactions_since = lambda since: LogPage([], bot.broker.last_id)
    with pytest.raises(LogGapError, match="not whole"):
        bot.protocol.resolve()
    del bot.broker.transactions_since
    assert [v.fate for v in bot.protocol.resolve()] == [Fate.PLACED]


def test_an_answer_to_another_order_proves_nothing_of_this_one():
    bot = Bot()
    foreign = bot.broker.place(intent(7), comment="")
    bot.broker.place = lambda *_, **__: foreign
    assert bot.protocol.place(intent()).fate is Fate.UNKNOWN
    refusal = replace(
        FakeBroker(bot.clock, fault="refused").place(intent(7), comment=""), detail="HTTP 400"
    )
    assert refusal.outcome is Outcome.REFUSED
    bot.broker.place = lambda *_, **__: refusal
    assert bot.protocol.place(intent(1, instrument="USD_JPY")).fate is Fate.UNKNOWN
    assert bot.protocol.blocked == {"EUR_USD", "USD_JPY"}


def test_a_refusal_that_names_no_order_is_one():
    bot = Bot()
    bot.broker.place = lambda *_, **__: Answer(Outcome.REFUSED, detail="HTTP 401")
    assert bot.protocol.place(intent()).fate is Fate.REFUSED


# Trading with a stale lease.


def test_a_lease_that_was_lost_while_the_intent_was_journaled_sends_nothing():
    def lose(bot):
        return SlowJournal(bot.clock, lambda: setattr(bot.lease, "held", False))

    bot = Bot(lose)
    assert bot.protocol.place(intent()).fate is Fate.HELD
    assert [r["record"] for r in bot.journal.records()] == ["intent"]
    assert bot.broker.sent == []
    with pytest.raises(RefusedError, match="lease"):
        bot.protocol.hold_lease()


# A journal that does not answer.


def test_what_cannot_be_journaled_is_not_sent_blocks_its_instrument_and_ends():
    bot = Bot()
    append, bot.journal.append = bot.journal.append, _not_ready
    verdict = bot.protocol.place(intent())
    assert (verdict.fate, bot.broker.sent) == (Fate.UNKNOWN, [])
    assert "cannot be journaled" in verdict.detail
    assert bot.protocol.place(intent(1)).fate is Fate.BLOCKED
    bot.journal.append = append
    bot.clock.advance(QUARANTINE.total_seconds())
    assert [v.fate for v in bot.protocol.resolve()] == [Fate.NOT_PLACED]
    assert bot.protocol.place(intent()).fate is Fate.REPEATED


def _not_ready(*_):
    raise NotReadyError("Cloud Storage does not answer")


# Losing a fill.


def test_a_fill_that_could_not_be_told_stops_the_bot_before_a_checkpoint_passes_it():
    life = Life()
    trader = life.start()
    publish, broken = life.events.append, True

    def flaky(event):
        if broken and event.table == "fill":
            raise NotReadyError("Pub/Sub does not answer")
        publish(event)

    trader._publish = flaky
    with pytest.raises(UntoldError, match="not told"):
        trader.submit(intent(0))
    assert not isinstance(UntoldError(""), OSError | NotReadyError), "nobody tries to read on"
    broken = False
    life.start()
    assert [e.row["units"] for e in life.events if e.table == "fill"] == [1000]
    assert any(isinstance(t, OrderFilled) for t in life.told)


# Trading against a person's will.


class HaltedMeanwhile(MemoryControl):
    """A person halts the desk after the bot first looked: while it recovers."""

    def __init__(self):
        super().__init__()
        self.looks = 0

    def read(self):
        found = super().read()
        self.looks += 1
        if self.looks == 1:
            set_state(self, TradingState.HALTED, "me", "while it recovers", START)
        return found


def test_a_halt_during_the_recovery_holds_from_the_first_decision_on():
    house = House()
    house.control = HaltedMeanwhile()
    house.run(ticks_at(CLOSES))
    assert house.broker.placed == []
    assert "KILL_SWITCH" in house.sink.codes()


def test_a_broken_limit_whose_halt_could_not_be_written_is_not_forgotten_with_the_blindness():
    """The state of before the breach is read again: nobody has resumed."""
    house = House(limits=replace(CALM, drawdown=Decimal("0.0000001")))
    old = TradingOrder()
    entries = [
        *ticks_at(CLOSES),
        at(200, Control(Unseen(START, "no answer"))),
        at(240, Control(old)),
        at(300, Stop("done")),
    ]
    house.run(entries)
    assert len(house.flattened) == 1, "it flattens once"
    assert house.bot.live.trader.state is TradingState.HALTED
    written = house.control.read()[0]
    assert (written.state, written.flat) == (TradingState.HALTED, True), "the store answers again"


# Measuring a loss from the wrong place.


def test_a_peak_that_was_reached_while_the_log_stood_still_survives_a_kill():
    life = Life()
    trader = life.start()
    trader.checkpoint()
    assert not trader.marks_moved
    trader._marks.update(trader._marks.day, Decimal(10_005))
    assert not trader.marks_moved, "half a thousandth is not worth a write"
    trader._marks.update(trader._marks.day, Decimal(10_020))
    assert trader.marks_moved
    trader.checkpoint()
    assert not trader.marks_moved
    assert life.start().context().peak_value == 10_020


def test_a_bot_checkpoints_a_new_peak_of_an_open_position():
    """Nothing is in the log between the entry and the stop: only the price has moved."""
    house = House()
    rising = [f"{1.1 + 0.002 * number:.4f}" for number in range(20)]
    house.run([*ticks_at(rising), at(20 * 60, Stop("done"))], size=100_000)
    written = [r for r in house.journal.records() if r["record"] == "checkpoint"]
    of_the_entry = [r for r in written if r["book"]["cursor"] == written[-1]["book"]["cursor"]]
    peaks = [Decimal(r["values"]["peak"]) for r in of_the_entry]
    assert len(peaks) > 10
    assert peaks == sorted(peaks)


def test_a_crossed_price_is_no_value_of_what_is_held():
    """A loss is measured from the peak: one that never was would flatten the account later."""
    life = Life()
    trader = life.start()
    trader.submit(intent(0))
    peak = trader.context().peak_value
    trader.take_quote("EUR_USD", Quote(Decimal("2.2"), Decimal("1.1"), life.clock.now()))
    assert trader.context().peak_value == peak
    assert trader.breaches() == []
    assert trader.submit(intent(1)).code == "BAD_PRICE"


def test_a_new_day_is_written_down_though_the_log_stood_still():
    trader = Life().start()
    trader._marks.update("2099-01-01", Decimal(9_000))
    assert trader.marks_moved


def test_an_account_of_another_currency_is_refused():
    life = Life()
    life.start()
    state = life.broker.state
    life.broker.state = lambda: replace(state(), currency="EUR")
    with pytest.raises(RefusedError, match="is in EUR, the desk counts in USD"):
        life.start()
