"""One account's trading: rules before the protocol, the protocol before the wire, events after.

The trader is single-threaded. Streams put prices and transactions into queues; the thread that runs
the strategies calls :meth:`Trader.take_quote` and :meth:`Trader.receive`, and sends through it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count

from mbats.errors import NotReadyError
from mbats.live import valuation
from mbats.live.counted import CountedBroker
from mbats.live.events import Event, EventWriter, denial
from mbats.live.orders.book import Book, LogGapError
from mbats.live.orders.ports import Broker, Clock, HeldBackError, Journal, Lease, NotHeldError
from mbats.live.orders.protocol import QUARANTINE, Fate, OrderProtocol, Verdict
from mbats.live.orders.transactions import Transaction
from mbats.market.instrument import Instrument
from mbats.market.session import FX
from mbats.market.tick import Tick
from mbats.trading.order import OrderIntent, OrderType
from mbats.trading.risk import portfolio
from mbats.trading.risk.context import Limits, Quote, RiskContext, Sent, TradingState
from mbats.trading.risk.portfolio import ApprovalLedger
from mbats.trading.risk.rules import Denial, check

ENTRY_LIFETIME = timedelta(seconds=10)
"""How long an entry may live at the broker: well within the quarantine of an unknown order."""

APPROVAL = timedelta(seconds=2)
"""How old an approval may be when its order leaves: what froze in between is asked about again."""

KNOWN = timedelta(seconds=5)
"""How old what a step was decided on may be when one more of its orders is asked about."""

CLOCK_MARGIN = QUARANTINE - ENTRY_LIFETIME - Limits().price_age
"""What a quarantine lasts beyond the longest life of an entry at the broker."""

_ATTEMPTS = 5  # in a row, where this process freezes each time

PEAK_STEP = Decimal("0.001")
"""By how much of itself the peak grows before it is written down anew: a restart loses no more."""

Publish = Callable[[Event], None]
Told = Callable[[Transaction], None]


@dataclass(frozen=True)
class Account:
    """Who trades, in what, within which limits."""

    account: str
    currency: str
    run_id: str
    instruments: Mapping[str, Instrument]
    limits: Limits


@dataclass
class DayMarks:
    """The values that daily loss and drawdown are measured from; they survive a restart."""

    day: str
    start: Decimal
    peak: Decimal

    def update(self, day: str, value: Decimal) -> None:
        """Take the newest value; a new trading day begins at 17:00 New York."""
        if day != self.day:
            self.day, self.start = day, value
        self.peak = max(self.peak, value)

    def moved_from(self, before: "DayMarks") -> bool:
        """Tell whether a restart from ``before`` would measure a loss from elsewhere."""
        return self.day != before.day or self.peak > before.peak * (1 + PEAK_STEP)

    def to_record(self) -> dict[str, str]:
        """Return the marks in plain values."""
        return {"day": self.day, "start": str(self.start), "peak": str(self.peak)}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "DayMarks":
        """Return the marks that :meth:`to_record` wrote down."""
        return cls(record["day"], Decimal(record["start"]), Decimal(record["peak"]))


def quarantine_of(limits: Limits) -> timedelta:
    """Return how long an order that nobody has seen may still turn up.

    An entry says by our clock until when it is good. How far ahead of the broker's ours may be is
    bounded by the age of prices alone: they seem older by just that much.
    """
    return max(QUARANTINE, ENTRY_LIFETIME + limits.price_age + CLOCK_MARGIN)


class Trader:
    """Trades one account. ``publish`` takes events; ``told`` hears every transaction, once.

    ``look_again`` finds out what was ordered meanwhile, before an order that was held back is
    asked about again; it raises where that cannot be found out. ``awake_at`` is when the loop last
    looked at what came, if it says so: it sleeps unnoticed in the middle of a step.
    """

    def __init__(
        self,
        account: Account,
        book: Book,
        broker: Broker,
        journal: Journal,
        lease: Lease,
        clock: Clock,
        publish: Publish,
        told: Told,
        marks: DayMarks | None = None,
    ) -> None:
        self.account = account
        self.look_again: Callable[[], None] = lambda: None
        self.awake_at: datetime | None = None
        self._looked_at = clock.now()
        self._clock = clock
        self._lease = lease
        self._approved_at = clock.elapsed()
        self._publish = publish
        self._told = told
        self.ledger = ApprovalLedger()
        self.protocol = OrderProtocol(
            book, CountedBroker(broker, self.ledger, self._last_look), journal, lease, clock,
            self._applied, quarantine_of(account.limits),
        )  # fmt: skip
        self._writer = EventWriter(account.run_id, book)
        self._quotes: dict[str, Quote] = {}
        self._recent: deque[Sent] = deque()
        self.state = TradingState.ACTIVE
        self._marks = marks or DayMarks(
            FX.day_of(clock.now()).date.isoformat(), book.balance, book.balance
        )
        self._kept_marks = replace(self._marks)

    @property
    def book(self) -> Book:
        """The account's orders, trades and positions."""
        return self.protocol.book

    def take_tick(self, tick: Tick) -> None:
        """Take a price as rules and valuation see it.

        One that is not to be traded keeps the last that was, marked so: what a vendor repeats while
        the market is closed is no value.
        """
        known = self._quotes.get(tick.instrument)
        if tick.bid is not None and tick.ask is not None and (tick.tradeable or known is None):
            quote = Quote(tick.bid, tick.ask, tick.time, tradeable=tick.tradeable)
            self.take_quote(tick.instrument, quote)
        elif known is not None:
            self.take_quote(tick.instrument, replace(known, time=tick.time, tradeable=False))

    def take_quote(self, instrument: str, quote: Quote) -> None:
        """Take the newest price; an older one than is known is dropped."""
        known = self._quotes.get(instrument)
        if known is None or quote.time >= known.time:
            self._quotes[instrument] = quote

    def quote(self, instrument: str) -> Quote | None:
        """Return the newest price, or None before the first."""
        return self._quotes.get(instrument)

    def receive(self, transactions: Iterable[Transaction]) -> None:
        """Take transactions from the stream."""
        self.protocol.receive(transactions)

    def submit(self, intent: OrderIntent) -> Verdict | Denial:
        """Ask the rules, then send, once. Every denial is an event."""
        return self._approved(intent, self.protocol.place)

    def replace(self, order_id: int, intent: OrderIntent) -> Verdict | Denial:
        """Ask the rules, then put ``intent`` in the place of a waiting order, once."""
        return self._approved(intent, partial(self.protocol.replace, order_id))

    def cancel(self, order_id: int) -> bool:
        """Cancel a waiting order; return whether it is surely gone."""
        for _ in range(_ATTEMPTS):
            self._approved_at = self._clock.elapsed()
            try:
                return self.protocol.cancel(order_id)
            except (NotHeldError, HeldBackError):
                self.protocol.hold_lease()
                self.look_again()
        return False

    def _approved(
        self, intent: OrderIntent, send: Callable[[OrderIntent], Verdict]
    ) -> Verdict | Denial:
        """Ask the rules and send; where it was held back, look again, and ask them again."""
        began = self._clock.elapsed()
        for attempt in count(1):
            over = self._looked_after_a_sleep(intent)
            context = self.context()
            if over:
                return self._sent(intent, self.protocol.withdraw(intent.key, over), context.now)
            denied = check(intent, context)
            if denied is not None:
                self.protocol.withdraw(intent.key, f"{denied.code}: {denied.detail}")
                self._tell_denial(denied, intent, context.now)
                return denied
            ready = self._bounded(intent, context)
            self.ledger.approve(ready.key)
            self._approved_at = self._clock.elapsed()
            verdict = send(ready)
            if verdict.fate is not Fate.HELD:
                return self._sent(ready, verdict, context.now)
            self.ledger.withdraw(ready.key)
            over = self._over(intent, began, attempt) or self._looked_again(intent, verdict.detail)
            if over:
                return self._sent(ready, self.protocol.withdraw(ready.key, over), context.now)
        raise AssertionError("attempts are counted")

    def _over(self, intent: OrderIntent, began: float, attempt: int) -> str:
        """Return why an order is not to be asked about again; an entry would have expired."""
        waited = self._clock.elapsed() - began
        if attempt == _ATTEMPTS:
            return f"held back {attempt} times"
        if intent.reduce_only or waited < ENTRY_LIFETIME.total_seconds():
            return ""
        return f"held back for {waited:.1f} s: what it was decided on is over"

    def _looked_after_a_sleep(self, intent: OrderIntent) -> str:
        """As :meth:`_looked_again`, where the step has taken so long that it knows too little."""
        now = self._clock.now()
        age = now - (self.awake_at or now)
        detail = f"its step began {age.total_seconds():.1f} s ago"
        if age > ENTRY_LIFETIME and not intent.reduce_only:
            return f"{detail}: what it was decided on is over"
        if age <= KNOWN or now - self._looked_at <= KNOWN:
            return ""
        self._looked_at = now
        return self._looked_again(intent, detail)

    def _looked_again(self, intent: OrderIntent, why: str) -> str:
        """Find out what has happened since an approval; return why that cannot be, or nothing."""
        self.tell(
            "HELD_BACK", why, "warning",
            order_key=intent.key, strategy=intent.strategy, instrument=intent.instrument,
        )  # fmt: skip
        try:
            self.protocol.hold_lease()
            self.protocol.catch_up()
            self.look_again()
        except (OSError, NotReadyError, LogGapError) as error:
            return f"held back, and what happened meanwhile cannot be read: {error}"
        return ""

    def _last_look(self) -> None:
        """Hold an order back that was approved too long ago, or that the lease is not sure for."""
        age = self._clock.elapsed() - self._approved_at
        if age > APPROVAL.total_seconds():
            raise HeldBackError(f"it was approved {age:.1f} s before it could leave")
        try:
            self._lease.check()
        except NotHeldError as doubt:
            raise HeldBackError(doubt.cause) from doubt

    def resolve(self) -> list[Verdict]:
        """Settle orders of unknown outcome, as far as the log can."""
        verdicts = self.protocol.resolve()
        for verdict in verdicts:
            self.tell(verdict.fate, verdict.detail, "info", order_key=verdict.key)
        return verdicts

    def breaches(self) -> list[Denial]:
        """Return the portfolio limits that are broken now: the desk must flatten and halt.

        None while a position has no price, as after a restart, or one that no market can have: what
        the account is worth is not known then. The rules let nobody enter meanwhile.
        """
        context = self.context()
        return portfolio.breaches(context) if self._valued(context.positions) else []

    def net_asset_value(self) -> Decimal:
        """Return balance and unrealised profit at the newest prices, account currency."""
        rates = self._rates()
        return self.book.balance + valuation.unrealised(
            self.book.trades.values(), self._quotes, rates
        )

    def rate(self, currency: str) -> Decimal | None:
        """Return account currency for one unit of ``currency``; None while no price leads there."""
        return self._rates().get(currency)

    @property
    def marks_moved(self) -> bool:
        """Whether the marks are worth a checkpoint though the log stood still."""
        return self._marks.moved_from(self._kept_marks)

    def checkpoint(self) -> None:
        """Make the book and the day's marks durable; see :meth:`OrderProtocol.checkpoint`."""
        self.protocol.checkpoint(self._marks.to_record())
        self._kept_marks = replace(self._marks)

    def context(self) -> RiskContext:
        """Return the picture that the rules look at."""
        now = self._clock.now()
        rates, positions = self._rates(), self.book.positions()
        value = self.net_asset_value()
        used = valuation.margin_used(positions, self.account.instruments, rates)
        day = FX.day_of(now)
        if self._valued(positions):
            self._marks.update(day.date.isoformat(), value)
        while self._recent and now - self._recent[0].time >= timedelta(minutes=1):
            self._recent.popleft()
        return RiskContext(
            now=now,
            state=self.state,
            limits=self.account.limits,
            net_asset_value=value,
            margin_available=max(value - used, Decimal(0)),
            day_start_value=self._marks.start,
            peak_value=self._marks.peak,
            session_open=day.is_open,
            instruments=self.account.instruments,
            quotes=self._quotes,
            rates=rates,
            positions=positions,
            waiting=len(self.book.orders),
            recent=tuple(self._recent),
        )

    def _valued(self, positions: Iterable[str]) -> bool:
        """Tell whether all positions have a price that a market can have: the account's value.

        A crossed price is a vendor's mistake: nothing is flattened for it, and no peak remembered.
        """
        rates = self._rates()
        quotes = [(name, self._quotes.get(name)) for name in positions]
        return all(
            quote is not None
            and quote.spread >= 0
            and all(part in rates for part in name.rsplit("_", 1))
            for name, quote in quotes
        )

    def _rates(self) -> valuation.Rates:
        return valuation.Rates(self.account.currency, self._quotes)

    def _bounded(self, intent: OrderIntent, context: RiskContext) -> OrderIntent:
        """Give a market entry a worst price and a short life; exits must get out at any price."""
        if intent.type is not OrderType.MARKET or intent.reduce_only:
            return intent
        quote = context.quotes[intent.instrument]
        room = context.limits.bound_pips * context.instruments[intent.instrument].pip
        market = quote.ask if intent.side.sign > 0 else quote.bid
        return replace(
            intent,
            price_bound=intent.price_bound or market + room * intent.side.sign,
            expires_at=context.now + ENTRY_LIFETIME,
        )

    def _sent(self, intent: OrderIntent, verdict: Verdict, now: datetime) -> Verdict:
        if verdict.fate not in (Fate.REPEATED, Fate.BLOCKED):
            units = intent.signed_units
            sent = Sent(now, intent.strategy, intent.instrument, units, intent.reduce_only)
            self._recent.append(sent)
        if verdict.fate is not Fate.PLACED:
            self.tell(
                verdict.fate,
                verdict.detail,
                "error" if verdict.fate is Fate.UNKNOWN else "warning",
                order_key=intent.key,
                strategy=intent.strategy,
                instrument=intent.instrument,
            )
        return verdict

    def _tell_denial(self, denied: Denial, intent: OrderIntent, now: datetime) -> None:
        self.tell(
            denied.code,
            denied.detail,
            "warning",
            order_key=intent.key,
            strategy=intent.strategy,
            instrument=intent.instrument,
        )

    def tell(self, code: str, detail: str, severity: str, **about: str) -> None:
        """Publish a risk event; ``about`` are further columns of ``risk_event``."""
        values = {"account": self.account.account, "severity": severity, **about}
        self._publish(denial(self.account.run_id, code, detail, self._clock.now(), values))

    def _applied(self, transaction: Transaction) -> None:
        for event in self._writer.events(transaction):
            self._publish(event)
        self._told(transaction)
