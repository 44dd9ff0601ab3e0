"""A last question before an order leaves: asked between the connection and the write to it.

A request takes its time before its first byte is on the wire: a name is looked up, a connection
made, a handshake done, and the process may be frozen anywhere on the way. So the question is asked
where nothing is left to wait for, before the headers and again before the body. A request whose
body was not written is none: its length is in its headers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager

Ask = Callable[[], None]


class Gate:
    """Holds back what one session is about to write. For the one thread that uses the session."""

    def __init__(self) -> None:
        self._ask: Ask | None = None

    def watch(self, session: requests.Session) -> None:
        """Ask before every write of the connections that ``session`` makes from now on."""
        adapter = _Adapter(self)
        session.mount("https://", adapter)
        session.mount("http://", adapter)

    @contextmanager
    def asking(self, ask: Ask) -> Iterator[None]:
        """Call ``ask`` before whatever is written meanwhile; what it raises keeps it back."""
        self._ask = ask
        try:
            yield
        finally:
            self._ask = None

    def look(self) -> None:
        """Ask, where there is a question."""
        if self._ask is not None:
            self._ask()


class _Adapter(HTTPAdapter):
    """Makes connections that look at the gate before they write."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        self._watch(manager)
        return manager

    def _watch(self, manager: PoolManager) -> None:
        pools: dict[str, Any] = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._gated(pool.ConnectionCls)})
            for scheme, pool in pools.items()
        }

    def _gated(self, connection: Any) -> Any:
        gate = self._gate

        def send(self: Any, data: Any) -> None:
            if self.sock is None and self.auto_open:
                self.connect()
            gate.look()
            connection.send(self, data)

        return type(connection.__name__, (connection,), {"send": send})
