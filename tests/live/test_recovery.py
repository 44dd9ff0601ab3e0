from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.errors import NotReadyError, RefusedError
from mbats.live.orders.protocol import Fate
from mbats.live.recovery import Surroundings, prove_clean, recover
from mbats.live.trader import Account
from mbats.market.catalogue import instrument
from mbats.trading.order import OrderType
from mbats.trading.risk.context import Limits, Quote
from tests.live.fakes import FakeBroker, HeldLease, ManualClock, MemoryJournal, intent

CALM = Limits(
    price_age=timedelta(seconds=20),
    collar_pips=None,
    spread_pips=None,
    duplicate_window=timedelta(0),
)
ACCOUNT = Account("A", "USD", "run-1", {"EUR_USD": instrument("EUR_USD")}, CALM)


class Life:
    """One account over several starts: everything outside survives, the trader does not."""

    def __init__(self):
        self.clock = ManualClock()
        self.broker = FakeBroker(self.clock)
        self.journal = MemoryJournal()
        self.lease = HeldLease()
        self.events, self.told, self.calls = [], [], []

    def sleep(self, seconds):
        self.calls.append("sleep")
        self.clock.advance(seconds)

    def start(self):
        around = Surroundings(
            self.broker, self.journal, self.lease, self.clock, self.sleep, timedelta(seconds=30)
        )
        trader = recover(
            ACCOUNT, around, self.events.append, self.told.append,
            lambda: self.calls.append(f"stream at {self.broker.last_id}"),
        )  # fmt: skip
        trader.take_quote("EUR_USD", Quote(Decimal("1.0999"), Decimal("1.1001"), self.clock.now()))
        return trader


@pytest.fixture
def life():
    return Life()


def test_a_first_start_on_an_empty_account_leaves_a_checkpoint(life):
    trader = life.start()
    assert trader.book.positions() == {}
    assert [r["record"] for r in life.journal.records()] == ["checkpoint"]


def test_a_first_start_refuses_an_account_that_holds_what_nobody_claims(life):
    life.broker.place(intent(0), comment="")
    life.broker.place(intent(1, kind=OrderType.LIMIT), comment="")
    with pytest.raises(RefusedError) as refused:
        life.start()
    assert len(refused.value.tried) == 2
    assert life.journal.records() == []


def test_a_restart_tells_again_what_came_after_the_checkpoint(life):
    trader = life.start()
    trader.submit(intent(0))
    told = list(life.told)
    life.told.clear()
    again = life.start()
    assert life.told == told
    assert again.book.positions() == {"EUR_USD": Decimal(1000)}
    again.checkpoint()
    life.told.clear()
    life.start()
    assert life.told == []


def test_an_order_of_unknown_outcome_is_found_in_the_log(life):
    trader = life.start()
    life.broker.fault = "dropped"
    assert trader.submit(intent(0)).fate is Fate.UNKNOWN
    again = life.start()
    assert again.protocol.fate(intent(0).key) is Fate.PLACED
    assert again.book.positions() == {"EUR_USD": Decimal(1000)}


def test_an_order_that_never_arrived_is_waited_for_through_its_quarantine(life):
    trader = life.start()
    life.broker.fault = "lost"
    trader.submit(intent(0))
    again = life.start()
    assert again.protocol.fate(intent(0).key) is Fate.NOT_PLACED
    assert life.calls.count("sleep") >= 29
    assert life.broker.sent == [intent(0).key]


def test_the_stream_is_opened_before_the_log_is_read(life):
    trader = life.start()
    trader.submit(intent(0))
    life.calls.clear()
    read_at = []
    transactions_since = life.broker.transactions_since

    def noted(number):
        read_at.append(list(life.calls))
        return transactions_since(number)

    life.broker.transactions_since = noted
    life.start()
    assert read_at[0] == [f"stream at {life.broker.last_id}"]


def test_a_position_changed_by_a_stranger_is_refused_with_the_mismatch(life):
    life.start().submit(intent(0))
    life.broker.place(intent(7), comment="")
    with pytest.raises(RefusedError, match="does not reconcile"):
        life.start()


def test_a_broker_that_does_not_answer_is_waited_for_but_not_for_ever(life):
    life.start()
    life.broker.unreachable = True
    with pytest.raises((OSError, NotReadyError)):
        life.start()
    assert life.calls.count("sleep") == 30


def test_without_the_lease_nothing_is_read_or_sent(life):
    life.lease.held = False
    with pytest.raises(RefusedError, match="lease"):
        life.start()
    assert life.calls == []


def test_a_journal_without_a_checkpoint_has_lost_its_beginning(life):
    life.start().submit(intent(0))
    life.journal.lines = life.journal.lines[1:]
    with pytest.raises(RefusedError, match="beginning is lost"):
        life.start()


def test_the_marks_of_the_day_survive_a_restart(life):
    trader = life.start()
    trader.submit(intent(0))
    trader.take_quote("EUR_USD", Quote(Decimal("1.2"), Decimal("1.2001"), life.clock.now()))
    peak = trader.context().peak_value
    trader.checkpoint()
    assert peak > 10_000
    assert life.start().context().peak_value == peak


def test_a_journal_of_another_account_is_refused(life):
    life.start()
    life.journal.lines = [
        line.replace('"account": "A"', '"account": "B"') for line in life.journal.lines
    ]
    with pytest.raises(RefusedError, match="account B"):
        life.start()


def test_a_halt_may_end_only_when_log_journal_and_account_agree(life):
    life.start().submit(intent(0))
    prove_clean(life.journal.records(), life.broker)
    life.broker.place(intent(7), comment="")
    with pytest.raises(RefusedError, match="does not reconcile"):
        prove_clean(life.journal.records(), life.broker)


def test_a_halt_does_not_end_while_an_order_has_no_known_outcome(life):
    trader = life.start()
    life.broker.fault = "lost"
    trader.submit(intent(0))
    with pytest.raises(RefusedError, match="no known outcome"):
        prove_clean(life.journal.records(), life.broker)


def test_an_order_that_never_was_is_told_of_again_until_a_checkpoint_says_that_it_was(life):
    """Whoever found out may have died before it was stored, and no transaction tells of it."""
    trader = life.start()
    life.broker.fault = "refused"
    trader.submit(intent(0))
    trader.submit(intent(1))
    life.events.clear()
    life.start()
    told = [e.row for e in life.events if e.table == "risk_event"]
    assert [(row["code"], row["order_key"]) for row in told] == [("refused", intent(0).key)]
    life.start().checkpoint()
    life.events.clear()
    life.start()
    assert life.events == []
