"""Random orders and prices, every invariant after every transaction."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mbats.local.oanda_sim import AccountSpec, Quote, Replay, SimConfig, orders, positions, spec_of
from mbats.local.oanda_sim import trades as trade_requests
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.invariants import violations
from mbats.local.oanda_sim.times import SECOND

NAMES = ("EUR_USD", "USD_JPY", "EUR_JPY")
MIDDLES = {"EUR_USD": 113_800, "USD_JPY": 158_300, "EUR_JPY": 180_100}
names = st.sampled_from(NAMES)
units = st.integers(-700_000, 700_000)
moves = st.integers(-400, 400)
dependents = st.fixed_dictionaries(
    {},
    optional={
        "takeProfitOnFill": st.integers(-200, 900),
        "stopLossOnFill": st.integers(-200, 900),
        "trailingStopLossOnFill": st.integers(50, 400),
    },
)


class Broker(RuleBasedStateMachine):
    """One account meets whatever hypothesis thinks of."""

    @initialize(
        kind=st.sampled_from(("netting", "hedging", "fifo")),
        balance=st.sampled_from((2_000, 100_000)),
        first_id=st.sampled_from((1, 995)),
        currency=st.sampled_from(("USD", "EUR")),
    )
    def open(self, kind, balance, first_id, currency):
        account = AccountSpec(
            currency=currency,
            balance=Decimal(balance),
            hedging=kind == "hedging",
            fifo=kind == "fifo",
            first_transaction_id=first_id,
            commission_per_million=Decimal(20),
        )
        config = SimConfig(
            start=datetime(2026, 9, 22, 14, tzinfo=UTC),
            speed=0,
            accounts=(account,),
            specs=tuple(spec_of(name) for name in NAMES),
        )
        self.engine = Engine(config, Replay([]))
        self.account = self.engine.accounts[account.id]
        self.middles = dict(MIDDLES)
        self.seen = 0
        for name in NAMES:
            self._put(name, 0, 8, depth=None)

    @rule(name=names, move=moves, spread=st.integers(1, 40), depth=st.sampled_from((None, 0, 900)))
    def price(self, name, move, spread, depth):
        self._put(name, move, spread, depth)

    def _put(self, name, move, spread, depth):
        self.middles[name] += move
        quote = Quote(name, self.engine.now_ns, self.middles[name], self.middles[name] + spread,
                      self.engine.market.specs[name].precision)  # fmt: skip
        if depth is not None:
            steps = ((0, depth),) if depth else ()
            quote = Quote(quote.instrument, quote.time_ns, quote.bid, quote.ask, quote.precision,
                          bid_steps=steps, ask_steps=steps)  # fmt: skip
        self.engine.put_price(quote)

    @rule(seconds=st.sampled_from((1, 600, 40_000)))
    def time(self, seconds):
        self.engine.advance(self.engine.now_ns + seconds * SECOND)

    @rule(name=names, halted=st.booleans())
    def halt(self, name, halted):
        self.engine.halt(name, halted)

    @rule(
        name=names, size=units, exits=dependents,
        fill=st.sampled_from(("DEFAULT", "OPEN_ONLY", "REDUCE_ONLY", "REDUCE_FIRST")),
        force=st.sampled_from(("FOK", "IOC")),
        key=st.sampled_from((None, "a", "b")),
    )  # fmt: skip
    def market_order(self, name, size, exits, fill, force, key):
        order = {"type": "MARKET", "positionFill": fill, "timeInForce": force}
        self._post(name, size, exits, order, key)

    @rule(
        kind=st.sampled_from(("LIMIT", "STOP", "MARKET_IF_TOUCHED")), name=names, size=units,
        away=moves, exits=dependents, force=st.sampled_from(("GTC", "GFD", "GTD")),
        key=st.sampled_from((None, "a", "b")),
    )  # fmt: skip
    def entry_order(self, kind, name, size, away, exits, force, key):
        order = {"type": kind, "price": self._at(name, away), "timeInForce": force}
        if force == "GTD":
            order["gtdTime"] = str(self.engine.now_ns // SECOND + 300)
        self._post(name, size, exits, order, key)

    def _post(self, name, size, exits, order, key):
        order |= {"instrument": name, "units": str(size)}
        sign = 1 if size > 0 else -1
        for exit_key, away in exits.items():
            if exit_key == "trailingStopLossOnFill":
                order[exit_key] = {"distance": self._price(name, away)}
            else:
                up = sign if exit_key == "takeProfitOnFill" else -sign
                order[exit_key] = {"price": self._at(name, up * away)}
        if key is not None:
            order["clientExtensions"] = order["tradeClientExtensions"] = {"id": key}
        self._try(orders.create, {"order": order})

    @rule(number=st.integers(0, 5), units=st.sampled_from(("ALL", "1", "1000", "900000")))
    def close_trade(self, number, units):
        trades = list(self.account.state.open_trades)
        if trades:
            specifier = str(trades[number % len(trades)])
            self._try(trade_requests.close, specifier, {"units": units})

    @rule(
        name=names, side=st.sampled_from(("long", "short")), units=st.sampled_from(("ALL", "500"))
    )
    def close_position(self, name, side, units):
        self._try(positions.close, name, {f"{side}Units": units})

    @rule(number=st.integers(0, 5), away=moves)
    def replace_or_cancel(self, number, away):
        pending = list(self.account.state.pending.values())
        if not pending:
            return
        order = pending[number % len(pending)]
        if order.kind in ("LIMIT", "STOP"):
            body = {"type": order.kind, "instrument": order.instrument, "units": str(order.units),
                    "price": self._at(order.instrument, away)}  # fmt: skip
            self._try(orders.replace, str(order.id), {"order": body})
        else:
            self._try(orders.cancel, str(order.id))

    @rule(number=st.integers(0, 5), profit=moves, trail=st.integers(20, 300))
    def set_dependents(self, number, profit, trail):
        trades = list(self.account.state.open_trades.values())
        if trades:
            trade = trades[number % len(trades)]
            body = {
                "takeProfit": {"price": self._at(trade.instrument, profit)},
                "trailingStopLoss": {"distance": self._price(trade.instrument, trail)},
            }
            self._try(trade_requests.set_dependents, str(trade.id), body)

    def _try(self, act, *what):
        with contextlib.suppress(Refusal):  # a refusal is an answer too; a crash is not
            act(self.account, self.engine.now_ns, *what)

    def _at(self, name, away):
        return self._price(name, self.middles[name] + away)

    def _price(self, name, points):
        precision = self.engine.market.specs[name].precision
        return f"{Decimal(points).scaleb(-precision):.{precision}f}"

    @invariant()
    def everything_holds(self):
        if self.account.ledger.last_id != self.seen:
            self.seen = self.account.ledger.last_id
            assert violations(self.account) == []


Broker.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_every_invariant_holds_whatever_happens = pytest.mark.timeout(300)(Broker.TestCase)
