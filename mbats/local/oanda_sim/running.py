"""Running a simulator from Python: in a thread of this process, or as a process of its own."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mbats.errors import NotReadyError
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.config import SimConfig
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.faults import FaultAt
from mbats.local.oanda_sim.invariants import violations
from mbats.local.oanda_sim.server import Server
from mbats.local.oanda_sim.sources import Source
from mbats.local.oanda_sim.times import SECOND

T = TypeVar("T")
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 30.0


@dataclass
class Running:
    """A simulator in a thread. Everything that touches the engine goes through :meth:`call`."""

    server: Server
    loop: asyncio.AbstractEventLoop
    host: str

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.port

    @property
    def url(self) -> str:
        """Its address; the API and the streams share it."""
        return f"http://{self.host}:{self.port}"

    @property
    def account_id(self) -> str:
        """The first account."""
        return next(iter(self.server.engine.accounts))

    def call(self, act: Callable[[Engine], T]) -> T:
        """Return what ``act`` returns, called with the engine in its own thread."""

        async def run() -> T:
            return act(self.server.engine)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` of engine time pass."""
        self.call(lambda engine: engine.advance(engine.now_ns + int(seconds * SECOND)))

    def wait_for_streams(self, number: int, timeout_seconds: float = 10.0) -> None:
        """Return when ``number`` streams are open; TimeoutError where they are not in time."""
        waiting = self.server.wait_for_streams(number)
        asyncio.run_coroutine_threadsafe(waiting, self.loop).result(timeout_seconds)

    def inject(self, fault: FaultAt) -> None:
        """Let ``fault`` happen to the next request or line of its kind."""
        self.call(lambda engine: engine.faults.inject(fault))

    def log(self, account_id: str | None = None) -> list[str]:
        """Return the JSON lines of an account's transaction log."""
        return self.call(lambda engine: list(self._account(engine, account_id).ledger.lines))

    def violations(self) -> list[str]:
        """Return every invariant that does not hold, over all accounts."""
        return self.call(
            lambda engine: [v for account in engine.accounts.values() for v in violations(account)]
        )

    def _account(self, engine: Engine, account_id: str | None) -> Account:
        return engine.accounts[account_id or self.account_id]


@contextmanager
def serve(
    config: SimConfig | None = None,
    *,
    source: Source | None = None,
    port: int = 0,
    host: str = _LOOPBACK,
    clock: Callable[[], int] | None = None,
) -> Iterator[Running]:
    """Run a simulator in a thread until the block ends.

    ``port`` 0 is a free one. ``clock`` is asked for the engine's time, in nanoseconds, at every
    request, where its speed is 0. Raises what starting raises: a port taken (OSError), a state file
    that does not fit (:class:`~mbats.errors.DataError`).
    """
    engine = Engine(config or SimConfig(), source)
    loop = asyncio.new_event_loop()
    server = Server(engine, clock)
    thread = threading.Thread(target=loop.run_forever, name="oanda-sim", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(host, port), loop).result(_START_SECONDS)
        yield Running(server, loop, host)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(_START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Launched:
    """A simulator in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    account_id: str

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()


@contextmanager
def launch(options: Sequence[str] = ()) -> Iterator[Launched]:
    """Run ``mbats sim`` with ``options`` until the block ends.

    Raises :class:`~mbats.errors.NotReadyError` with what it said where it does not start.
    """
    command = [
        sys.executable, "-c", "from mbats.cli.main import main; main()", "sim", "--json", *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise NotReadyError("The simulator did not start.", tried=[" ".join(command)])
        ready = json.loads(said)
        yield Launched(process, ready["url"], ready["account"])
    finally:
        process.terminate()
        process.wait()
        process.stdout.close() if process.stdout else None
