"""One life of the bot, in a forked process: everything real but the wire under ``requests``."""

import json
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from mbats.config import Settings
from mbats.live.bot import Bot
from mbats.live.control import MemoryControl
from mbats.live.inbox import Control, PricesBack, PricesLost, Stop
from mbats.live.orders import compaction
from mbats.live.orders.book import Book
from mbats.live.orders.file_lease import FileLease
from mbats.live.orders.journal import FileJournal, _line
from mbats.live.orders.ports import Journal
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import Surroundings, last_checkpoint
from mbats.live.session import Assignment
from mbats.live.streams import Broken, Connected, Stream
from mbats.live.trader import Account
from mbats.local.oanda_sim import spec_of
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.risk.context import Limits
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import OandaReader, session
from mbats.vendors.oanda_gate import Gate
from mbats.vendors.oanda_recent import OandaRecent
from mbats.vendors.oanda_streams import TransactionStream
from tests.faults.restless import Restless
from tests.faults.wire import Ask, Channel, moment
from tests.faults.world import ACCOUNT, CLIENT_TIMEOUT, INSTRUMENTS

LIMITS = Limits(
    price_age=timedelta(seconds=10), spread_pips=None, orders_per_minute=None, collar_pips=None,
    duplicate_window=timedelta(0),
)  # fmt: skip

FORGOTTEN = "forgotten"
FEW_RECORDS = 6
SHORT_MEMORY = timedelta(seconds=60)
"""Far longer than a bar of five seconds may be decided on, far shorter than a seed."""

FOR_EVER = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)

OWNERS = {name: f"restless-{name}" for name in INSTRUMENTS}


class Outside:
    """The world, as the bot asks it. Also its clock: the time of the last answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._now_ns = 0
        self._one_at_a_time = threading.RLock()
        self.asked = 0
        self.ask("now")

    def ask(self, kind: str, payload: Any = None) -> Any:
        with self._one_at_a_time:
            self.asked += 1
            self._channel.send(Ask(kind, payload))
            reply = self._channel.receive()
            if reply is None:
                os._exit(99)  # the world has gone: so has the seed
            self._now_ns = reply.now_ns
            return reply.payload

    def now(self) -> datetime:
        return moment(self._now_ns)

    def elapsed(self) -> float:
        return self._now_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.ask("sleep", seconds)


class Wire(BaseAdapter):
    """Carries requests to the world, and its faults back as ``requests`` raises them."""

    def __init__(self, outside: Outside, gate: Gate) -> None:
        super().__init__()
        self._outside = outside
        self._gate = gate

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kind = "read" if request.method == "GET" else "write"
        self._outside.ask("leave")
        self._gate.look()
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        what, content = self._outside.ask(
            kind, (request.method, request.url, dict(request.headers), body)
        )
        if what == "timeout":
            raise requests.ReadTimeout("Read timed out.", request=request)
        if what == "reset":
            raise requests.ConnectionError("Connection reset by peer", request=request)
        if what == "refused":
            cause = NewConnectionError(None, "Connection refused")
            raise requests.ConnectionError(MaxRetryError(None, request.url, cause), request=request)
        response = requests.Response()
        response.status_code, response.request, response.url = content[0], request, request.url
        response.raw = BytesIO(content[1])
        return response

    def close(self) -> None:
        """Nothing is open."""


class MortalJournal(FileJournal):
    """The journal in a file; the world may shoot around and within each write.

    What a compaction forgets is kept aside, for the audit alone.
    """

    def __init__(self, path: Path, outside: Outside) -> None:
        super().__init__(path, worth=FEW_RECORDS)
        self._outside = outside

    def append(self, record: dict[str, Any]) -> None:
        if self._outside.ask("append") == "torn":
            self._tear(self._path, _line(record))
        super().append(record)

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        if self._outside.ask("compact") == "torn":
            self._tear(self._path.with_name(f"{self._path.name}.new"), *map(_line, kept))
        keep_aside(self._path.with_name(FORGOTTEN), self._records, kept)
        super().compact(kept)
        self._outside.ask("compacted")

    def _tear(self, path: Path, *lines: bytes) -> None:
        content = b"".join(lines)
        with path.open("ab") as file:
            file.write(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)


def keep_aside(path: Path, records: Sequence[dict[str, Any]], kept: Sequence[Any]) -> None:
    """Write down what a compaction is about to forget of orders, for the audit alone."""
    remembered = {record.get("key") for record in kept}
    forgotten = [r for r in records if "key" in r and r["key"] not in remembered]
    with path.open("ab") as aside:
        aside.writelines(map(_line, forgotten))


def proved_by(journal: Journal) -> Book | None:
    """Return what a proof could have found: whatever a checkpoint passed is stored."""
    newest = last_checkpoint(journal.records())
    return None if newest is None else newest[0]


class MortalEvents:
    """Events in memory until they are flushed to a file, as Pub/Sub's client keeps them."""

    def __init__(self, path: Path, outside: Outside) -> None:
        self._file = path.open("a")
        self._outside = outside
        self._unconfirmed: list[str] = []

    def __call__(self, event: Any) -> None:
        self._unconfirmed.append(json.dumps([event.table, event.row], default=str) + "\n")

    @property
    def unconfirmed(self) -> int:
        return len(self._unconfirmed)

    def flush(self) -> None:
        lines = self._unconfirmed
        if self._outside.ask("store") == "torn":
            self._file.writelines(lines[: len(lines) // 2])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self._file.writelines(lines)
        self._file.flush()
        self._unconfirmed = []


class Inbox:
    """The inbox, filled by the world; the transaction stream's own code reads its lines."""

    def __init__(self, outside: Outside, stream: TransactionStream, put: list[Any]) -> None:
        self._outside = outside
        self._stream = stream
        self._put = put

    def put(self, item: Any) -> None:
        self._put.append(item)

    def take(self, timeout: float) -> Any:
        if not self._put:
            found = self._outside.ask("take", timeout)
            if found is not None:
                self._understand(*found)
        return self._put.pop(0) if self._put else None

    def _understand(self, kind: str, what: Any) -> None:
        match kind:
            case "tick":
                name, at, bid, ask, tradeable = what
                self.put(Tick(name, moment(at), bid, ask, tradeable=tradeable))
            case "line":
                self._stream._take(json.loads(what))
            case "broken":
                self.put(Control(Broken(Stream.TRANSACTIONS, what)))
            case "connected":
                self.put(Control(Connected(Stream.TRANSACTIONS)))
            case "control":
                self.put(Control(what))
            case "lost":
                self.put(PricesLost(what))
            case "back":
                self.put(PricesBack())
            case "stop":
                self.put(Stop(what or "the script is over"))


class NoRuns:
    def start(self, row: Any) -> None:
        """Nobody asks."""

    def note(self, row: Any) -> None:
        """Nobody asks."""

    def end(self, row: Any, error: str | None) -> None:
        """Nobody asks."""


@dataclass
class Stores:
    """Where a bot keeps what must outlive it."""

    journal: Any
    events: Any
    lease: Any
    runs: Any = field(default_factory=NoRuns)
    rows: Any = lambda table, rows: None
    proven: Any = lambda: None
    control: Any = field(default_factory=MemoryControl)
    flatten: Any = lambda why: None


@dataclass(frozen=True)
class Duty:
    """What a bot is to trade, and until when."""

    run_id: str
    assignments: Sequence[Assignment]
    until: datetime
    limits: Limits = LIMITS
    warm_up_bars: int = 20
    account: str = ACCOUNT
    row: Mapping[str, Any] = field(default_factory=dict)


def live(channel: Channel, folder: Path, seed: int, life: int, variant: str = "") -> None:
    """Be the bot until the world says stop, or shoots. ``variant`` names a broken protocol.

    Every other seed's account has been proved, and its bot forgets what it may.
    """
    from tests.faults import broken

    outside = Outside(channel)
    events = broken.EVENTS.get(variant, MortalEvents)(folder / "events", outside)
    journal = broken.JOURNALS.get(variant, MortalJournal)(folder / "journal", outside)
    stores = Stores(journal, events, FileLease(folder / "lease"))
    if seed % 2:
        compaction.REFUSABLE = SHORT_MEMORY
        stores = replace(stores, proven=partial(proved_by, journal))
    duty = Duty(f"run-{life}", restless(seed), FOR_EVER)
    trade(outside, stores, duty, broken.BROKERS.get(variant, OandaBroker))
    stores.lease.release()


def restless(seed: int) -> list[Assignment]:
    return [
        Assignment(
            OWNERS[name],
            LoadedStrategy(
                "restless", Restless,
                {"seed": seed, "size": 1000, "pip": 0.0001 if name == "EUR_USD" else 0.01},
            ),
            [name],
            Granularity.S5,
        )
        for name in INSTRUMENTS
    ]  # fmt: skip


def trade(
    outside: Outside, stores: Stores, duty: Duty, make_broker: Any = OandaBroker,
    make_inbox: Any = Inbox,
) -> Bot:  # fmt: skip
    """Run one bot in the world; return it when its session is over."""
    settings = Settings(
        oanda_environment="sim",
        oanda_endpoint="http://127.0.0.1:9",
        oanda_account=duty.account,
    )
    api = session(settings, CLIENT_TIMEOUT)
    gate = Gate()
    api.client.mount("http://", Wire(outside, gate))
    reader = OandaReader(api, address="sim", sleep=outside.sleep, clock=outside.elapsed)
    names = [name for a in duty.assignments for name in a.instruments]
    instruments = {name: spec_of(name).instrument for name in names}
    around = Surroundings(
        make_broker(api, reader, duty.account, instruments, gate), stores.journal, stores.lease,
        outside, outside.sleep, proven=stores.proven,
    )  # fmt: skip
    put: list[Any] = []
    inbox = make_inbox(outside, TransactionStream(settings, put.append), put)
    plan = Plan(
        Account(duty.account, "USD", duty.run_id, instruments, duty.limits), duty.assignments,
        duty.until, f"trace-{duty.run_id}", duty.row, longest_wait=5.0,
    )  # fmt: skip
    ports = Ports(
        around, inbox, OandaRecent(reader, outside, bars=duty.warm_up_bars), stores.events,
        stores.control, stores.runs, stores.flatten, lambda: None, stores.rows,
        lambda: None,
    )  # fmt: skip
    bot = Bot(plan, ports)
    bot.run()
    return bot
