"""A person flattens the account in the middle of a seed: it must end flat, whatever happens.

The bot is killed and its requests are lost, late or refused, as in every seed. An order of its own
is on the way as the account is flattened, and comes to the broker when that has finished: nobody
flattens any more then but the bot, or the one that is started after it.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter

from mbats.config import Settings
from mbats.desk.bot import _flatten
from mbats.live.control import MemoryControl, TradingOrder
from mbats.live.killswitch import KillSwitch
from mbats.live.orders.file_lease import FileLease
from mbats.local.oanda_sim import views
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.times import from_datetime
from mbats.vendors.oanda_client import session
from mbats.vendors.oanda_closer import OandaCloser
from tests.faults import audit as auditor
from tests.faults import life
from tests.faults.seeds import Outcome, live_through, memory_folder
from tests.faults.wire import Ask, Channel, moment
from tests.faults.world import ACCOUNT, World

OBEYED = timedelta(seconds=30)
"""How long after the flattening an order may still have been decided: the bot hears of it at once,
but may be waiting for an answer then."""


OF_THE_SWITCH = ("has no key", "is given to unclaimed")
"""What an audit says of the orders that close: they are no strategy's."""


class FlattenedWorld(World):
    """A world in which the account is flattened once, at a time drawn from the seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.control = MemoryControl()
        dice = random.Random(f"flattened/{self.seed}")
        self.flat_at = from_datetime(self.start + timedelta(seconds=dice.randint(40, 280)))
        self.closed = -1

    def _request(self, ask: Ask, kind: str) -> tuple[str, Any]:
        is_order = ask.payload[0] == "POST"
        if is_order and self.closed < 0 and self.engine.now_ns >= self.flat_at:
            self.flat_at = self.engine.now_ns
            self._flatten()
        return super()._request(ask, kind)

    def _flatten(self) -> None:
        api = session(settings())
        api.client.mount("http://", DirectWire(self))
        switch = KillSwitch(
            ACCOUNT, "somebody", lambda: self.control, OandaCloser(api, ACCOUNT), self,
            lambda seconds: None, lambda order: None, lambda event: None,
        )  # fmt: skip
        report = switch.flatten("drill", timedelta(seconds=5))
        self.closed = len(report.done)
        self.inbox.append(("control", report.state))

    def now(self) -> datetime:
        """Be the clock of the switch."""
        return moment(self.engine.now_ns)

    def _order(self, ask: Ask) -> tuple[TradingOrder, int]:
        return self.control.read()

    def left(self) -> list[str]:
        """Return what stands in the account."""
        account = views.full(self.account)
        return [f"trade {t['id']}" for t in account["trades"]] + [
            f"order {o['id']}" for o in account["orders"]
        ]


class DirectWire(BaseAdapter):
    """Carries the requests of the switch to the broker: its network has no faults."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = request.path_url.partition("?")[0]
        _, (status, content) = self._world._apply(Request(request.method, path, {}, headers, body))
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url
        response.raw = BytesIO(content)
        return response

    def close(self) -> None:
        """Nothing is open."""


class AskedControl(MemoryControl):
    """The trading state, as the world has it."""

    def __init__(self, outside: life.Outside) -> None:
        super().__init__()
        self._outside = outside

    def read(self) -> tuple[TradingOrder, int]:
        found: tuple[TradingOrder, int] = self._outside.ask("order")
        return found


def without_the_switch(problems: list[str]) -> list[str]:
    """Return what an audit found, but for the orders that closed."""
    return [p for p in problems if not any(said in p for said in OF_THE_SWITCH)]


def settings() -> Settings:
    return Settings(
        oanda_environment="sim", oanda_endpoint="http://127.0.0.1:9", oanda_account=ACCOUNT
    )


def run_flattened(seed: int, *, deaf: bool = False) -> Outcome:
    """Live through a seed in which the account is flattened; ``deaf`` bots keep nothing flat."""
    with memory_folder() as folder:
        world = FlattenedWorld(seed, rate=0.3)
        outcome = Outcome(seed, kills=world.kills)

        def bot(number: int) -> Callable[[Channel], object]:
            return partial(_live, folder=folder, seed=seed, number=number, deaf=deaf)

        live_through(world, folder, outcome, bot)
        records = auditor.journaled(folder)
        found = auditor.audit(world, folder, life.OWNERS)
        outcome.problems += without_the_switch(found)
        outcome.problems += [f"left in a flattened account: {what}" for what in world.left()]
        last = moment(world.flat_at) + OBEYED
        outcome.problems += [
            f"order {r['key']} was decided at {r['decided_at']}, after the flattening"
            for r in records
            if r["record"] == "intent" and datetime.fromisoformat(r["decided_at"]) > last
        ]
        outcome.figures = {**auditor.figures(world, records), "closed": world.closed}
        return outcome


def _live(channel: Channel, folder: Path, seed: int, number: int, deaf: bool) -> None:
    outside = life.Outside(channel)
    stores = life.Stores(
        life.MortalJournal(folder / "journal", outside),
        life.MortalEvents(folder / "events", outside),
        FileLease(folder / "lease"),
        control=AskedControl(outside),
    )
    if not deaf:
        stores.flatten = partial(close_all, outside)
    life.trade(outside, stores, life.Duty(f"run-{number}", life.restless(seed), life.FOR_EVER))
    stores.lease.release()


def close_all(outside: life.Outside, why: str) -> None:
    """Close all, as a bot does: over its own network, which has faults."""
    api = session(settings(), life.CLIENT_TIMEOUT)
    api.client.mount("http://", life.Wire(outside, life.Gate()))
    switch = KillSwitch(
        ACCOUNT, "bot", MemoryControl, OandaCloser(api, ACCOUNT), outside, outside.sleep,
        lambda order: None, lambda event: None,
    )  # fmt: skip
    _flatten(switch, why)
