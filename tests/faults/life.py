"""One life of the bot, in a forked process: everything real but the wire under ``requests``."""

import json
import os
import signal
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from mbats.config import Settings
from mbats.live.bot import Bot
from mbats.live.control import MemoryControl
from mbats.live.file_lease import FileLease
from mbats.live.inbox import Control, PricesBack, PricesLost, Stop
from mbats.live.journal import FileJournal, _line
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import Surroundings
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
from mbats.vendors.oanda_recent import OandaRecent
from mbats.vendors.oanda_streams import TransactionStream
from tests.faults.restless import Restless
from tests.faults.wire import Ask, Channel, moment
from tests.faults.world import ACCOUNT, CLIENT_TIMEOUT, INSTRUMENTS

LIMITS = Limits(
    price_age=timedelta(minutes=10), spread_pips=None, orders_per_minute=None, collar_pips=None,
    duplicate_window=timedelta(0),
)  # fmt: skip


class Outside:
    """The world, as the bot asks it. Also its clock: the time of the last answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._now_ns = 0
        self.ask("now")

    def ask(self, kind: str, payload: Any = None) -> Any:
        self._channel.send(Ask(kind, payload))
        reply = self._channel.receive()
        if reply is None:
            os._exit(99)  # the world has gone: so has the seed
        self._now_ns = reply.now_ns
        return reply.payload

    def now(self) -> datetime:
        return moment(self._now_ns)

    def monotonic(self) -> float:
        return self._now_ns / 1e9

    def sleep(self, seconds: float) -> None:
        self.ask("sleep", seconds)


class Wire(BaseAdapter):
    """Carries requests to the world, and its faults back as ``requests`` raises them."""

    def __init__(self, outside: Outside) -> None:
        super().__init__()
        self._outside = outside

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kind = "read" if request.method == "GET" else "write"
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
    """The journal in a file; the world may shoot around and within each write."""

    def __init__(self, path: Path, outside: Outside) -> None:
        super().__init__(path)
        self._outside = outside

    def append(self, record: dict[str, Any]) -> None:
        if self._outside.ask("append") == "torn":
            line = _line(record)
            self._file.write(line[: len(line) // 2])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        super().append(record)


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
                name, at, bid, ask = what
                self.put(Tick(name, moment(at), bid, ask))
            case "line":
                self._stream._take(json.loads(what))
            case "broken":
                self.put(Control(Broken(Stream.TRANSACTIONS, what)))
            case "connected":
                self.put(Control(Connected(Stream.TRANSACTIONS)))
            case "lost":
                self.put(PricesLost(what))
            case "back":
                self.put(PricesBack())
            case "stop":
                self.put(Stop("the script is over"))


class NoRuns:
    def start(self, row: Any) -> None:
        """Nobody asks."""

    def note(self, row: Any) -> None:
        """Nobody asks."""

    def end(self, row: Any, error: str | None) -> None:
        """Nobody asks."""


def live(channel: Channel, folder: Path, seed: int, life: int, variant: str = "") -> None:
    """Be the bot until the world says stop, or shoots. ``variant`` names a broken protocol."""
    from tests.faults import broken

    outside = Outside(channel)
    settings = Settings(
        oanda_environment="sim", oanda_endpoint="http://127.0.0.1:9", oanda_account=ACCOUNT
    )
    api = session(settings, CLIENT_TIMEOUT)
    api.client.mount("http://", Wire(outside))
    reader = OandaReader(api, address="sim", sleep=outside.sleep, clock=outside.monotonic)
    instruments = {name: spec_of(name).instrument for name in INSTRUMENTS}
    make_broker = broken.BROKERS.get(variant, OandaBroker)
    events = broken.EVENTS.get(variant, MortalEvents)(folder / "events", outside)
    lease = FileLease(folder / "lease")
    around = Surroundings(
        make_broker(api, reader, ACCOUNT, instruments), MortalJournal(folder / "journal", outside),
        lease, outside, outside.sleep,
    )  # fmt: skip
    put: list[Any] = []
    stream = TransactionStream(settings, put.append)
    assignments = [
        Assignment(
            f"restless-{name}",
            LoadedStrategy(
                "restless", Restless,
                {"seed": seed, "size": 1000, "pip": 0.0001 if name == "EUR_USD" else 0.01},
            ),
            [name],
            Granularity.S5,
        )
        for name in INSTRUMENTS
    ]  # fmt: skip
    plan = Plan(
        Account(ACCOUNT, "USD", f"run-{life}", instruments, LIMITS), assignments,
        datetime.max.replace(tzinfo=outside.now().tzinfo) - timedelta(days=1), f"trace-{life}", {},
        longest_wait=5.0,
    )  # fmt: skip
    ports = Ports(
        around, Inbox(outside, stream, put), OandaRecent(reader, outside, bars=20), events,
        MemoryControl(), NoRuns(), lambda why: None, lambda: None, lambda table, rows: None,
        lambda: None,
    )  # fmt: skip
    Bot(plan, ports).run()
    lease.release()
