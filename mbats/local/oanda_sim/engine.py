"""The broker without a socket: a clock that is told the time, prices, accounts and their rules.

Pure and deterministic: the same config, prices and sequence of calls make the same logs, byte for
byte. Time moves only in :meth:`Engine.advance`, which lives through every price, expiry, rollover
and scheduled call on the way, in order of time.
"""

import heapq
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import count

from mbats.errors import DataError
from mbats.local.oanda_sim import upkeep
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.book import Market
from mbats.local.oanda_sim.calendar import next_rollover
from mbats.local.oanda_sim.candles import Candles, Past
from mbats.local.oanda_sim.config import START_VALUES, SimConfig, Spec
from mbats.local.oanda_sim.faults import FaultSchedule
from mbats.local.oanda_sim.journal import Journal
from mbats.local.oanda_sim.ledger import Ledger
from mbats.local.oanda_sim.quotes import Quote, quote_from
from mbats.local.oanda_sim.sources import RandomWalk, Source, spread_points
from mbats.local.oanda_sim.times import MILLI
from mbats.local.oanda_sim.trigger import evaluate_order, triggered

Listener = Callable[[Quote], None]
CommitListener = Callable[[Ledger, list[str]], None]


class Engine:
    """One simulated broker.

    ``source`` defaults to the seeded walk of ``config``. ``on_price`` and ``on_commit`` are lists
    of listeners, called in order; they must not raise. ``follows_wall`` says that its clock is the
    wall's: after a restart it lives through the time it was away, as a broker does.
    """

    def __init__(self, config: SimConfig, source: Source | None = None) -> None:
        self.config = config
        self.journal = Journal(config.state_file) if config.state_file else None
        self.start_ns, seed = config.start_ns(), config.seed
        self.follows_wall = config.start is None and config.speed == 1.0
        restarting = self.journal is not None and not self.journal.is_new
        if restarting:
            self.start_ns, seed, self.follows_wall = self._read_header()
        self.seed = seed
        self.now_ns = self.start_ns
        behaviour = config.behaviour
        self.market = Market(
            config.specs, behaviour.conversion_fee, behaviour.orders_consume_liquidity
        )
        self.faults = FaultSchedule(config.faults)
        self.on_price: list[Listener] = []
        self.on_commit: list[CommitListener] = []
        self.accounts = {
            spec.id: Account(spec, self.market, behaviour, self._commit) for spec in config.accounts
        }
        self.source: Source = source or RandomWalk(
            config.specs, seed, self.start_ns, config.walk_step_ms, config.annual_volatility,
            behaviour.daily_break,
        )  # fmt: skip
        self.candles = {spec.name: self._candles_of(spec, source is None) for spec in config.specs}
        self._scheduled: list[tuple[int, int, Callable[[], None]]] = []
        self._order_of_scheduling = count()
        self._expiry_known_at: dict[str, int] = {}
        self._expiry: dict[str, int | None] = {}
        self._rollover = next_rollover(self.now_ns)
        self._restoring = restarting
        if restarting:
            self._restore()
        else:
            self._begin()

    def advance(self, to_ns: int) -> None:
        """Live through the time up to and including ``to_ns``; a past ``to_ns`` does nothing."""
        while (event := self._next_event()) is not None and event[0] <= to_ns:
            at, happens = event
            self.now_ns = max(self.now_ns, at)
            happens()
        if to_ns > self.now_ns:
            self.now_ns = to_ns
            if self.journal is not None and not self.config.speed:
                self.journal.clock(to_ns)

    def next_time(self) -> int | None:
        """Return when something happens next, or None."""
        event = self._next_event()
        return None if event is None else event[0]

    def schedule(self, at_ns: int, call: Callable[[], None]) -> None:
        """Call ``call`` when the clock gets to ``at_ns``."""
        heapq.heappush(self._scheduled, (at_ns, next(self._order_of_scheduling), call))

    def put_price(self, quote: Quote) -> None:
        """Make ``quote`` the newest price now: fills what it triggers, checks margin."""
        if self.journal is not None and self.config.record_prices and not self._restoring:
            self.journal.quote(quote)
        self.market.update(quote)
        trades_on = quote.tradeable and quote.two_sided
        if trades_on:
            self.candles[quote.instrument].add(quote.time_ns, quote.bid, quote.ask)
        for account in self.accounts.values():
            if account.trails and trades_on and quote.instrument not in self.market.halted:
                account.follow(quote.instrument)
            if not self._restoring:
                self._react(account, quote.instrument)
        for listener in self.on_price:
            listener(quote)

    def halt(self, instrument: str, halted: bool) -> None:
        """Halt trading in ``instrument``, or end the halt. Prices go on but are not tradeable."""
        if instrument not in self.market.specs:
            raise DataError(f"The simulator has no instrument {instrument!r}.")
        if self.journal is not None and not self._restoring:
            self.journal.halt(instrument, halted)
        (self.market.halted.add if halted else self.market.halted.discard)(instrument)
        quote = self.market.quotes.get(instrument)
        if quote is None or self._restoring:
            return
        if not halted:
            for account in self.accounts.values():
                self._react(account, instrument)
        for listener in self.on_price:
            listener(quote)

    def complete_until(self, instrument: str) -> int:
        """Return the instant by which a candle must have ended to be complete."""
        behaviour = self.config.behaviour
        until = self.now_ns - behaviour.candle_complete_delay_ms * MILLI
        if behaviour.candle_complete_on_next_tick:
            until = min(until, self.candles[instrument].last_tick_ns)
        return until

    def close(self) -> None:
        """Close the state file."""
        if self.journal is not None:
            self.journal.close()

    def _react(self, account: Account, instrument: str) -> None:
        """Fill what is triggered, each order in its own batch, then look at the margin."""
        state = account.state
        if state.pending and self.market.tradeable(instrument):
            for order in account.dependents_first(instrument):
                if order.id in account.state.pending and triggered(account, order):
                    with account.batch(self.now_ns) as batch:
                        evaluate_order(account, batch, order)
        if state.in_margin_call or (state.open_trades and instrument in account.priced_by()):
            upkeep.check_margin(account, self.now_ns)

    def _next_event(self) -> tuple[int, Callable[[], None]] | None:
        """Return what happens next; at one instant prices come first, then expiries."""
        best: tuple[int, Callable[[], None]] | None = None
        price_at = self.source.next_time()
        if price_at is not None:
            best = (price_at, self._take_price)
        expiry_at = self._next_expiry()
        if expiry_at is not None and (best is None or expiry_at < best[0]):
            best = (expiry_at, self._expire)
        if best is None or self._rollover < best[0]:
            best = (self._rollover, self._roll_over)
        if self._scheduled and self._scheduled[0][0] < best[0]:
            best = (self._scheduled[0][0], self._call_scheduled)
        return best

    def _take_price(self) -> None:
        self.put_price(self.source.take())

    def _next_expiry(self) -> int | None:
        soonest = None
        for name, account in self.accounts.items():
            if self._expiry_known_at.get(name) != account.ledger.last_id:
                times = [upkeep.expiry(order) for order in account.state.pending.values()]
                self._expiry[name] = min((t for t in times if t is not None), default=None)
                self._expiry_known_at[name] = account.ledger.last_id
            mine = self._expiry[name]
            if mine is not None and (soonest is None or mine < soonest):
                soonest = mine
        return soonest

    def _expire(self) -> None:
        for account in self.accounts.values():
            upkeep.expire(account, self.now_ns)

    def _roll_over(self) -> None:
        for account in self.accounts.values():
            upkeep.finance(account, self.now_ns)
        self._rollover = next_rollover(self._rollover)

    def _call_scheduled(self) -> None:
        heapq.heappop(self._scheduled)[2]()

    def _commit(self, ledger: Ledger, lines: list[str]) -> None:
        if self.journal is not None:
            self.journal.batch(ledger.spec.id, self.faults.counts, lines)
        for listener in self.on_commit:
            listener(ledger, lines)

    def _candles_of(self, spec: Spec, generated: bool) -> Candles:
        past = None
        if generated and self.config.history_days:
            base, quote = spec.name.split("_")
            past = Past(
                self.seed, spec.name, START_VALUES.get(base, 1.0), START_VALUES.get(quote, 1.0),
                spread_points(spec),
                self.start_ns, self.config.history_days, self.config.annual_volatility,
            )  # fmt: skip
        return Candles(spec.precision, past)

    def _begin(self) -> None:
        if self.journal is not None:
            self.journal.header(self.seed, self.start_ns, self.follows_wall)
        for account in self.accounts.values():
            account.ledger.open_account(self.now_ns)
        self.advance(self.now_ns)

    def _read_header(self) -> tuple[int, int, bool]:
        assert self.journal is not None
        letter, fields = next(self.journal.records())
        if letter != "{":
            raise DataError(f"{self.journal.path} does not start with a header.")
        header = json.loads(fields[0])
        return int(header["start_ns"]), int(header["seed"]), bool(header["wall"])

    def _restore(self) -> None:
        """Read the state file: fold every batch, take up prices, halts, trails and the clock."""
        assert self.journal is not None
        for letter, fields in self.journal.records():
            if letter == "T":
                self._restore_batch(fields)
            elif letter == "Q":
                name, at, bid, ask, flag = fields
                precision = self._spec(name).precision
                self._restore_price(
                    Quote(name, int(at), int(bid), int(ask), precision, flag == "1")
                )
            elif letter == "L":
                shown = json.loads(fields[0])
                precision = self._spec(shown["instrument"]).precision
                self._restore_price(quote_from(shown, precision, self.now_ns))
            elif letter == "H":
                self.halt(fields[0], fields[1] == "1")
            elif letter == "C":
                self.now_ns = max(self.now_ns, int(fields[0]))
        self._restoring = False
        self._rollover = next_rollover(self.now_ns)
        self.source.skip_to(self.now_ns)
        for account in self.accounts.values():
            if not account.ledger.lines:
                account.ledger.open_account(self.now_ns)

    def _restore_batch(self, fields: list[str]) -> None:
        account_id, counts, text = fields
        account = self.accounts.get(account_id)
        if account is None:
            raise DataError(
                f"The state file holds account {account_id}, which is not configured.",
                tried=list(self.accounts),
                mend="start with the accounts it was made with, or name another file",
            )
        self.faults.counts.update(json.loads(counts))
        made = account.ledger.restore_text(text)
        for transaction in made:
            if transaction["type"] == "ORDER_FILL":
                account.market.take(transaction["instrument"], Decimal(transaction["units"]))
        account.restore_trails(made)
        self.now_ns = max(self.now_ns, account.ledger.last_ns)

    def _restore_price(self, quote: Quote) -> None:
        self._spec(quote.instrument)
        self.now_ns = max(self.now_ns, quote.time_ns)
        self.put_price(quote)

    def _spec(self, name: str) -> Spec:
        if name not in self.market.specs:
            raise DataError(
                f"The state file has prices of {name}, which is not configured.",
                mend="start with the instruments it was made with, or name another file",
            )
        return self.market.specs[name]
