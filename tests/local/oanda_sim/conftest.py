"""A desk: an engine without a socket, at a standstill, with prices put by hand."""

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from mbats.local.oanda_sim import (
    AccountSpec,
    Behaviour,
    Quote,
    Replay,
    Running,
    SimConfig,
    orders,
    positions,
    serve,
    spec_of,
    trades,
)
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.invariants import violations
from mbats.local.oanda_sim.quotes import ASK_LADDER, BID_LADDER
from mbats.local.oanda_sim.times import SECOND

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # oandapyV20's invalid escapes
    import oandapyV20
    from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

WEDNESDAY = datetime(2026, 9, 23, 14, 0, tzinfo=UTC)
PRICES = {
    "EUR_USD": (113_781, 113_846),
    "USD_JPY": (158_302, 158_329),
    "EUR_GBP": (86_000, 86_020),
    "GBP_USD": (132_300, 132_320),
    "EUR_JPY": (180_100, 180_120),
}


class Desk:
    """One account on an engine, and short ways to ask things of it."""

    def __init__(self, config: SimConfig) -> None:
        self.engine = Engine(config, Replay([]))
        self.account = next(iter(self.engine.accounts.values()))
        for name, (bid, ask) in PRICES.items():
            if name in self.engine.market.specs:
                self.price(name, bid, ask)

    @property
    def state(self):
        return self.account.state

    def price(self, name: str, bid: int, ask: int, tradeable: bool = True, **ladders: Any) -> None:
        """Put a price, in points; ladders are ``bid_steps`` and ``ask_steps``."""
        precision = self.engine.market.specs[name].precision
        steps = {"bid_steps": BID_LADDER, "ask_steps": ASK_LADDER, **ladders}
        quote = Quote(name, self.engine.now_ns, bid, ask, precision, tradeable, **steps)
        self.engine.put_price(quote)

    def post(self, **order: Any) -> dict[str, Any]:
        """Create an order, a market order for EUR_USD by default."""
        order = {"type": "MARKET", "instrument": "EUR_USD", **order}
        return orders.create(self.account, self.engine.now_ns, {"order": order})

    def refused(self, **order: Any) -> Refusal:
        """Create an order that must be refused."""
        with pytest.raises(Refusal) as caught:
            self.post(**order)
        return caught.value

    def replace(self, specifier: str, **order: Any) -> dict[str, Any]:
        order = {"type": "LIMIT", "instrument": "EUR_USD", **order}
        return orders.replace(self.account, self.engine.now_ns, specifier, {"order": order})

    def cancel(self, specifier: str) -> dict[str, Any]:
        return orders.cancel(self.account, self.engine.now_ns, specifier)

    def close_trade(self, specifier: str, units: str = "ALL") -> dict[str, Any]:
        return trades.close(self.account, self.engine.now_ns, specifier, {"units": units})

    def set_dependents(self, specifier: str, **body: Any) -> dict[str, Any]:
        return trades.set_dependents(self.account, self.engine.now_ns, specifier, body)

    def close_position(self, name: str = "EUR_USD", **body: str) -> dict[str, Any]:
        return positions.close(self.account, self.engine.now_ns, name, body)

    def advance(self, seconds: float) -> None:
        self.engine.advance(self.engine.now_ns + int(seconds * SECOND))

    def log(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the transactions, of one type if given."""
        return [tx for tx in self.account.ledger.documents() if kind in (None, tx["type"])]

    def net(self, name: str = "EUR_USD") -> Decimal:
        return self.state.net_units(name)


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk():
    """Return a maker of desks; every invariant of every desk is checked at the end."""
    made: list[Desk] = []

    def make(behaviour: Behaviour | None = None, first_id: int = 1, **account: Any) -> Desk:
        spec = AccountSpec(first_transaction_id=first_id, **account)
        config = SimConfig(
            start=WEDNESDAY,
            speed=0,
            accounts=(spec,),
            specs=tuple(spec_of(name) for name in PRICES),
            behaviour=behaviour or Behaviour(),
        )
        made.append(Desk(config))
        return made[-1]

    yield make
    for desk in made:
        assert violations(desk.account) == []


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    return make_desk()


@pytest.fixture
def stepped():
    """A simulator on a socket whose clock stands still until it is advanced; seeded prices."""
    with serve(SimConfig(seed=7, start=WEDNESDAY, speed=0)) as running:
        yield running
        assert running.violations() == []


@pytest.fixture
def client() -> Iterator[Callable[..., Any]]:
    """Return a maker of oandapyV20 clients of a running simulator."""
    made = []

    def make(running: Running, timeout: float = 5.0, **headers: str) -> Any:
        environment = f"sim-{running.port}"
        TRADING_ENVIRONMENTS[environment] = {"api": running.url, "stream": running.url}
        made.append(environment)
        return oandapyV20.API(
            access_token="any",
            environment=environment,
            headers=headers,
            request_params={"timeout": timeout},
        )

    yield make
    for environment in made:
        TRADING_ENVIRONMENTS.pop(environment, None)
