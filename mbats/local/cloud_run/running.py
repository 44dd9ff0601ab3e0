"""Running a local Cloud Run from Python, in a thread of this process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mbats.local.cloud_run.clients import Addresses
from mbats.local.cloud_run.server import Config, Server, start

T = TypeVar("T")


@dataclass
class Running:
    """A server in a thread. Everything that touches it goes through :meth:`call`."""

    server: Server
    loop: asyncio.AbstractEventLoop

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""
        return self.server.addresses

    @property
    def refused(self) -> list[str]:
        """What its proxy was asked for in vain."""
        return list(self.server.proxy.refused)

    def call(self, act: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        """Return what ``act`` returns, awaited in the server's own thread."""
        return asyncio.run_coroutine_threadsafe(act(self.server), self.loop).result()


@contextmanager
def serving(config: Config) -> Iterator[Running]:
    """Serve while the block runs; then end every execution and the server."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cloud-run", daemon=True)
    thread.start()

    def call(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        server = call(start(config))
        try:
            yield Running(server, loop)
        finally:
            call(server.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
