from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.live.orders.book import Book
from mbats.live.orders.protocol import QUARANTINE, Fate
from mbats.live.trader import ENTRY_LIFETIME, Account, DayMarks, Trader, quarantine_of
from mbats.market.instrument import Instrument
from mbats.trading.order import Side
from mbats.trading.risk.context import Limits, Quote, TradingState
from mbats.trading.risk.portfolio import UnapprovedOrderError
from mbats.trading.risk.rules import Denial
from tests.live.fakes import PRICE, START, FakeBroker, HeldLease, ManualClock, MemoryJournal, intent

D = Decimal
INSTRUMENTS = {
    "EUR_USD": Instrument("EUR_USD", -4, 5),
    "USD_JPY": Instrument("USD_JPY", -2, 3),
}


class Desk:
    def __init__(self, opened_at=None, quoted=True, **limits):
        self.clock = ManualClock()
        self.broker = FakeBroker(self.clock)
        self.events = []
        self.told = []
        self.trader = Trader(
            Account("A", "USD", "run-1", INSTRUMENTS, Limits(**limits)),
            opened_at or Book.opened_at(self.broker.state()),
            self.broker,
            MemoryJournal(),
            HeldLease(),
            self.clock,
            self.events.append,
            self.told.append,
        )
        if quoted:
            self.quote("EUR_USD", PRICE, PRICE + D("0.0001"))

    def quote(self, name, bid, ask):
        self.trader.take_quote(name, Quote(D(bid), D(ask), self.clock.now()))

    def rows(self, table):
        return [e.row for e in self.events if e.table == table]


@pytest.fixture
def desk():
    return Desk()


def test_an_approved_order_leaves_its_events(desk):
    assert desk.trader.submit(intent()).fate is Fate.PLACED
    assert [r["event"] for r in desk.rows("order_event")] == ["accepted", "filled"]
    (fill,) = desk.rows("fill")
    assert fill["order_key"] == intent().key
    assert (fill["units"], fill["position_units"], fill["strategy"]) == (1000, 1000, "S")
    assert len({e.row["event_id"] for e in desk.events}) == len(desk.events)
    assert [t.id for t in desk.told] == [996, 997]


def test_a_denied_order_is_an_event_and_never_an_order(desk):
    desk.trader.state = TradingState.HALTED
    denied = desk.trader.submit(intent())
    assert isinstance(denied, Denial)
    assert desk.broker.sent == []
    (row,) = desk.rows("risk_event")
    assert (row["code"], row["order_key"], row["severity"]) == (
        "KILL_SWITCH",
        intent().key,
        "warning",
    )


def test_a_market_entry_has_a_worst_price_and_a_short_life(desk):
    sent = []
    place = desk.broker.place
    desk.broker.place = lambda i, *, comment: (sent.append(i), place(i, comment=comment))[1]
    desk.trader.submit(intent())
    desk.clock.advance(5)
    desk.quote("EUR_USD", PRICE, PRICE + D("0.0001"))
    desk.trader.submit(replace(intent(1), side=Side.SELL, reduce_only=True))
    entry, closing = sent
    assert entry.price_bound == PRICE + D("0.0001") + D("0.0010")
    assert entry.expires_at == START + ENTRY_LIFETIME
    assert (closing.price_bound, closing.expires_at) == (None, None)


def test_an_entry_dies_before_it_is_given_up():
    assert ENTRY_LIFETIME + timedelta(seconds=10) <= QUARANTINE


def test_an_unknown_outcome_is_an_event_and_so_is_its_end(desk):
    desk.broker.fault = "dropped"
    assert desk.trader.submit(intent()).fate is Fate.UNKNOWN
    assert desk.rows("risk_event")[-1]["code"] == "unknown"
    desk.trader.resolve()
    assert desk.rows("risk_event")[-1]["code"] == "placed"


def test_what_goes_out_without_an_approval_stops_everything(desk):
    with pytest.raises(UnapprovedOrderError):
        desk.trader.protocol.place(intent())
    assert desk.broker.sent == []


def test_net_asset_value_closes_longs_at_the_bid_and_converts(desk):
    desk.trader.submit(intent())
    desk.quote("EUR_USD", PRICE + D("0.0050"), PRICE + D("0.0060"))
    assert desk.trader.net_asset_value() == D("10005.00000")
    desk.quote("USD_JPY", D(150), D(150))
    desk.trader.submit(replace(intent(1, instrument="USD_JPY", units=100), side=Side.SELL))
    # opened at 1.1 by the fake broker: a loss of 148.9 yen a unit, at 150 yen a dollar
    assert desk.trader.net_asset_value() == D(10_005) + (D("1.1") - 150) * 100 / 150


def test_margin_of_what_is_held_is_not_available_again():
    desk = Desk(gross_exposure=None, net_currency_exposure=None, notional=None)
    desk.trader.submit(intent(units=150_000))
    desk.clock.advance(5)
    desk.quote("EUR_USD", PRICE, PRICE + D("0.0001"))
    denied = desk.trader.submit(intent(1, units=50_000))
    assert denied.code == "MARGIN"


def test_a_day_begins_at_five_in_new_york_and_the_peak_stays():
    desk = Desk(daily_loss=D(100))
    desk.trader.submit(intent(units=100_000))
    desk.quote("EUR_USD", PRICE - D("0.0010"), PRICE)
    assert [b.code for b in desk.trader.breaches()] == ["DAILY_LOSS"]
    desk.clock.advance(10 * 3600)  # 22:00 UTC is 17:00 in New York
    desk.quote("EUR_USD", PRICE - D("0.0010"), PRICE)
    assert desk.trader.breaches() == []
    assert desk.trader.context().peak_value >= D(10_000)


def test_a_position_carried_over_a_restart_breaks_no_limit_before_its_first_price(desk):
    desk.trader.submit(intent(units=100_000))
    desk.quote("EUR_USD", PRICE - D("0.0010"), PRICE)
    restarted = Desk(daily_loss=D(50), opened_at=desk.trader.book, quoted=False)
    assert restarted.trader.breaches() == []
    assert restarted.trader.submit(intent(1)).code == "STALE_PRICE"
    restarted.quote("EUR_USD", PRICE - D("0.0010"), PRICE)
    assert [b.code for b in restarted.trader.breaches()] == ["DAILY_LOSS"]


def test_the_marks_of_the_day_survive_being_written_down():
    marks = DayMarks("2026-11-23", D("10000.5"), D("10100"))
    assert DayMarks.from_record(marks.to_record()) == marks


def test_an_older_price_does_not_replace_a_newer_one(desk):
    old = Quote(D("0.5"), D("0.6"), START - timedelta(seconds=1))
    desk.trader.take_quote("EUR_USD", old)
    assert desk.trader.context().quotes["EUR_USD"].bid == PRICE


def test_a_replay_of_the_log_writes_the_same_events(desk):
    desk.trader.submit(intent())
    first = [e.row for e in desk.events]
    again = Desk()
    again.broker.log = []
    again.trader.receive(desk.broker.log)
    assert [e.row for e in again.events] == first


class SkewedClock(ManualClock):
    """Our clock, ahead of the broker's; what lasts how long it knows all the same."""

    ahead = timedelta(0)

    def now(self):
        return super().now() + self.ahead


@pytest.mark.parametrize("price_age", [5, 10, 30, 300])
def test_an_order_is_not_given_up_while_a_clock_ahead_may_keep_it_good(price_age):
    """Prices seem as old as our clock is ahead: that is all that bounds it."""
    broker_clock, clock = ManualClock(), SkewedClock()
    clock.ahead = timedelta(seconds=price_age)
    broker, journal = FakeBroker(broker_clock), MemoryJournal()
    limits = Limits(price_age=timedelta(seconds=price_age))
    trader = Trader(
        Account("A", "USD", "run-1", INSTRUMENTS, limits), Book.opened_at(broker.state()), broker,
        journal, HeldLease(), clock, lambda event: None, lambda transaction: None,
    )  # fmt: skip
    trader.take_quote("EUR_USD", Quote(PRICE, PRICE, broker_clock.now()))
    sent, place = [], broker.place
    broker.place = lambda order, **more: (sent.append(order), place(order, **more))[1]
    broker.fault = "late"
    assert trader.submit(intent()).fate is Fate.UNKNOWN
    good_for = (sent[0].expires_at - broker_clock.now()).total_seconds()
    assert good_for == price_age + ENTRY_LIFETIME.total_seconds()
    for each in (broker_clock, clock):
        each.advance(good_for)
    assert trader.resolve() == [], "the broker would still take it"
    broker.arrive_late()
    assert [v.fate for v in trader.resolve()] == [Fate.PLACED]


def test_the_quarantine_is_the_ordinary_one_while_prices_must_be_fresh():
    assert quarantine_of(Limits()) == QUARANTINE
    assert quarantine_of(Limits(price_age=timedelta(0))) == QUARANTINE
    assert quarantine_of(Limits(price_age=timedelta(seconds=11))) == QUARANTINE + timedelta(
        seconds=1
    )
