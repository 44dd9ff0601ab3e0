"""The two streams: prices and transactions, one JSON line a chunk, heartbeats, and their faults.

What a stream says is decided in engine time, synchronously, so that it is the same in every run;
only the writing to the socket waits for the network.
"""

import asyncio
import json
from typing import Any

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.faults import Fault, FaultAt
from mbats.local.oanda_sim.http import Connection
from mbats.local.oanda_sim.ledger import Ledger
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.times import in_unix_form, rfc3339

_MOST_UNSENT = 64 * 1024 * 1024
UNKNOWN_TYPE = "FUTURE_TRANSACTION_TYPE"


class Stream:
    """One open stream. Subclasses decide what is said."""

    kind = ""

    def __init__(self, engine: Engine, connection: Connection, unix_times: bool) -> None:
        self.engine = engine
        self.connection = connection
        self._unix = unix_times
        self._stalled = False
        self._beat_ns = engine.config.client_ns(engine.config.heartbeat_seconds)
        self.written = asyncio.Event()
        self._schedule_beat()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be said."""
        return self.connection.closed

    def heartbeat(self) -> dict[str, Any]:
        """Return the heartbeat of now."""
        return {"type": "HEARTBEAT", "time": rfc3339(self.engine.now_ns)}

    def say(self, line: dict[str, Any] | str, *, counts: bool = True) -> None:
        """Say one line; where it ``counts``, its fault happens to it."""
        if self.closed or self._stalled:
            return
        if self._unix:
            line = in_unix_form(json.loads(line) if isinstance(line, str) else line)  # type: ignore[assignment]
        text = line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))
        data = text.encode() + b"\n"
        fault = self.engine.faults.next(self.kind) if counts else None
        if fault is None:
            self.connection.chunk(data)
        else:
            self._say_with(fault, data)
        if self.connection.unsent > _MOST_UNSENT:
            self.connection.reset()  # the client does not read: OANDA would not wait either

    def _say_with(self, fault: FaultAt, data: bytes) -> None:
        if fault.fault is Fault.CUT:
            self.connection.cut_chunk(data)
        elif fault.fault is Fault.END:
            self.connection.end_stream()
        elif fault.fault is Fault.STALL:
            self._stalled = True
        elif fault.fault is Fault.MALFORMED:
            self.connection.chunk(data[: len(data) // 2] + b"\n")
            self.connection.chunk(data)
        elif fault.fault is Fault.DUPLICATE:
            self.connection.chunk(data)
            self.connection.chunk(data)
        else:
            self.connection.chunk(data)
            self._make_unknown_transaction()

    def _make_unknown_transaction(self) -> None:
        """Let the account have a transaction of a type no client knows, right after this."""

    def _schedule_beat(self) -> None:
        self.engine.schedule(self.engine.now_ns + self._beat_ns, self._beat)

    def _beat(self) -> None:
        if not self.closed:
            self.say(self.heartbeat(), counts=False)
            self._schedule_beat()


class PriceStream(Stream):
    """PRICE lines: the last price of each window, at most four windows a second.

    Windows are counted from the connection's opening, so those of two connections do not align.
    """

    kind = "pricing"

    def __init__(
        self,
        engine: Engine,
        account: Account,
        connection: Connection,
        unix_times: bool,
        instruments: list[str],
        snapshot: bool,
    ) -> None:
        super().__init__(engine, connection, unix_times)
        self._decimals = account.behaviour.price_decimals
        self._instruments = frozenset(instruments)
        self._opened_ns = engine.now_ns
        self._window_ns = engine.config.client_ns(engine.config.price_window_ms / 1000)
        self._waiting: dict[str, Quote] = {}
        if snapshot:
            for name in instruments:
                if name in engine.market.quotes:
                    self._say_price(engine.market.quotes[name])
        engine.on_price.append(self.price)

    def price(self, quote: Quote) -> None:
        """Take a new price."""
        if quote.instrument not in self._instruments or self.closed:
            return
        if not self._window_ns:
            self._say_price(quote)
            return
        if not self._waiting:
            now = self.engine.now_ns
            ends = now - (now - self._opened_ns) % self._window_ns + self._window_ns
            self.engine.schedule(ends, self._end_window)
        self._waiting[quote.instrument] = quote

    def stop(self) -> None:
        """Hear no more prices."""
        self.engine.on_price.remove(self.price)

    def _end_window(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for quote in waiting.values():
            self._say_price(quote)

    def _say_price(self, quote: Quote) -> None:
        market = self.engine.market
        self.say(market.price_document(quote.instrument, self._decimals, quote=quote))


class TransactionStream(Stream):
    """Transaction lines from now on, and heartbeats that carry the last transaction id."""

    kind = "transactions"

    def __init__(
        self, engine: Engine, account: Account, connection: Connection, unix_times: bool
    ) -> None:
        self._account = account
        super().__init__(engine, connection, unix_times)
        engine.on_commit.append(self.committed)

    def heartbeat(self) -> dict[str, Any]:
        """Return the heartbeat of now."""
        return {
            "type": "HEARTBEAT",
            "lastTransactionID": str(self._account.ledger.last_id),
            "time": rfc3339(self.engine.now_ns),
        }

    def committed(self, ledger: Ledger, lines: list[str]) -> None:
        """Take the lines of a batch."""
        if ledger is self._account.ledger:
            for line in lines:
                self.say(line)

    def stop(self) -> None:
        """Hear no more transactions."""
        self.engine.on_commit.remove(self.committed)

    def _make_unknown_transaction(self) -> None:
        def add() -> None:
            with self._account.batch(self.engine.now_ns) as batch:
                batch.add(UNKNOWN_TYPE, comment="a type that no client knows yet")

        self.engine.schedule(self.engine.now_ns, add)
