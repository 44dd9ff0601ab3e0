"""The socket server: requests to the engine, streams from it, faults in between.

One asyncio loop owns the engine, so no two requests meet inside it. A pacer tells the engine the
time; with speed 0 nobody does but the /sim/advance path and the handle.
"""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import Callable
from hashlib import blake2b

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.control import control
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.faults import Fault, FaultAt
from mbats.local.oanda_sim.http import Answer, Connection, Request
from mbats.local.oanda_sim.rest import names_of
from mbats.local.oanda_sim.routes import Route, find
from mbats.local.oanda_sim.streams import PriceStream, Stream, TransactionStream
from mbats.local.oanda_sim.times import SECOND, in_unix_form

_LOG = logging.getLogger(__name__)
_LONGEST_NAP = 0.02  # seconds between looks at the clock
_LONGEST_STEP = 0.25  # wall seconds of engine time lived through before requests get their turn
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_HTML = (
    "<html>\r\n<head><title>{status}</title></head>\r\n<body><center><h1>{status}</h1></center>"
    "<hr><center>nginx</center></body>\r\n</html>\r\n"
)
_BEFORE = (
    Fault.LOSE_REQUEST, Fault.RATE_LIMIT, Fault.SERVER_ERROR, Fault.RESET, Fault.REFUSE,
)  # fmt: skip


class Server:
    """A simulator on a socket. Make and use it inside one running loop."""

    def __init__(self, engine: Engine, clock: Callable[[], int] | None = None) -> None:
        """``clock`` gives the engine's time, in nanoseconds, to an engine of speed 0."""
        self.engine = engine
        self._clock = clock
        self.port = 0
        self._host = ""
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()
        self._streams: set[Stream] = set()
        self._numbers = itertools.count(1)
        self._recent: list[float] = []
        self._anchor = (0.0, 0)
        self._failed: list[BaseException] = []
        self._stream_opened = asyncio.Event()

    async def start(self, host: str, port: int) -> None:
        """Listen on ``host`` and ``port`` (0: a free one) and let time run."""
        self._host = host
        if self.engine.follows_wall:
            self.engine.advance(time.time_ns())
        await self._listen(port)
        self._set_anchor()
        if self.engine.config.speed:
            self._watch(asyncio.create_task(self._pace()))

    async def stop(self) -> None:
        """Close the port and every connection; raise what went wrong inside, if anything did."""
        self._close_port()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.engine.close()
        if self._failed:
            raise self._failed[0]

    async def _listen(self, port: int) -> None:
        self._listener = await asyncio.start_server(self._connected, self._host, port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def _close_port(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            connection.reset()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._watch(asyncio.create_task(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._open.add(connection)
        try:
            while not connection.closed:
                request = await connection.next_request()
                if request is None:
                    break
                await self._handle(connection, request)
        finally:
            self._open.discard(connection)
            connection.close()

    def _watch(self, task: asyncio.Task[None]) -> None:
        """Keep a task, and keep its error: a simulator that failed must not look well."""
        self._connections.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)
            _LOG.error("the simulator failed inside", exc_info=error)

    async def _handle(self, connection: Connection, request: Request) -> None:
        self._catch_up()
        if request.path == "/sim" or request.path.startswith("/sim/"):
            await connection.send(control(self.engine, request))
        else:
            await self._serve(connection, request)

    # The clock

    def _set_anchor(self) -> None:
        self._anchor = (time.monotonic(), self.engine.now_ns)

    def _catch_up(self) -> None:
        """Tell the engine the time, a step at most, so that requests get their turn.

        An accelerated engine that cannot keep up lets its time slip. At the wall's own pace it
        lags for a moment on a busy machine and must not stay behind: everybody else's clock has
        gone on, and would find its prices older and older.
        """
        speed = self.engine.config.speed
        if self._clock is not None:
            self.engine.advance(self._clock())
        if not speed:
            return
        wall, began = self._anchor
        until = began + int((time.monotonic() - wall) * speed * SECOND)
        most = self.engine.now_ns + int(_LONGEST_STEP * speed * SECOND)
        self.engine.advance(min(until, most))
        if until > most and speed > 1:
            self._set_anchor()

    async def _pace(self) -> None:
        while True:
            self._catch_up()
            due = self.engine.next_time()
            left = _LONGEST_NAP
            if due is not None:
                left = (due - self.engine.now_ns) / SECOND / self.engine.config.speed
            await asyncio.sleep(min(max(left, 0.0), _LONGEST_NAP))

    # Requests

    async def _serve(self, connection: Connection, request: Request) -> None:
        found = find(request.method, request.path)
        refusal = self._refusal(request, found)
        if refusal is not None:
            await connection.send(self._finish(refusal, request))
            return
        assert not isinstance(found, int)
        route, parts = found
        kind = "write" if request.method in _WRITES else "read"
        fault = self.engine.faults.next(kind)
        if fault is not None and fault.fault in _BEFORE:
            await self._fail_before(connection, request, fault)
        elif route.scope == "stream" and fault is not None:
            connection.close()  # a stream has no answer that could be late, cut or garbled
        elif route.scope == "stream":
            await self._stream(connection, request, route, parts[0])
        elif fault is None:
            await connection.send(self._apply(request, route, parts))
        else:
            await self._fail_after(connection, request, route, parts, fault)

    def _refusal(
        self, request: Request, found: tuple[Route, tuple[str, ...]] | int
    ) -> Answer | None:
        token = self.engine.config.token
        given = request.headers.get("authorization", "")
        if not given.startswith("Bearer ") or (token is not None and given != f"Bearer {token}"):
            message = "Insufficient authorization to perform request."
            return Answer(401, {"errorMessage": message})
        if found == 405:
            return Answer(405, {"errorMessage": f"{request.method} is not allowed here."})
        if found == 404:
            return Answer(404, {"errorMessage": "Unable to process the request: no such path."})
        if self._over_rate():
            return self._too_many()
        return None

    def _over_rate(self) -> bool:
        most = self.engine.config.behaviour.requests_per_second
        if not most:
            return False
        now = time.monotonic()
        self._recent = [at for at in self._recent if at > now - 1.0]
        if len(self._recent) >= most:
            return True
        self._recent.append(now)
        return False

    def _too_many(self) -> Answer:
        retry = self.engine.config.behaviour.retry_after_seconds
        headers = {} if retry is None else {"Retry-After": str(retry)}
        return Answer(429, {"errorMessage": "Too many requests"}, headers)

    def _apply(self, request: Request, route: Route, parts: tuple[str, ...]) -> Answer:
        """Let the engine do what the request asks; every outcome is an answer."""
        try:
            if route.scope == "site":
                answer = route.resource(self.engine)
            elif route.scope == "market":
                answer = route.resource(self.engine, request, *parts)
            else:
                account = self._account(parts[0])
                answer = route.resource(self.engine, account, request, *parts[1:])
        except Refusal as refusal:
            answer = Answer(route.status(refusal.status), refusal.body)
        return self._finish(answer, request)

    def _account(self, name: str) -> Account:
        account = self.engine.accounts.get(name)
        if account is None:
            raise Refusal(403, {"errorMessage": "The provided request was forbidden."})
        return account

    def _finish(self, answer: Answer, request: Request) -> Answer:
        """Put the request id on an answer, and times in the form the client wants."""
        if request.unix_times:
            body = answer.body
            if isinstance(body, str):
                body = json.loads(body)
            answer.body = in_unix_form(body)
        answer.headers.setdefault("RequestID", self._request_id(answer))
        return answer

    def _request_id(self, answer: Answer) -> str:
        """Return the id of the transactions that an answer holds, else one of its own."""
        if isinstance(answer.body, dict):
            for value in answer.body.values():
                if isinstance(value, dict) and "requestID" in value:
                    return str(value["requestID"])
        digest = blake2b(f"{self.engine.seed}/{next(self._numbers)}".encode(), digest_size=7)
        return str(10**16 + int.from_bytes(digest.digest()))

    # Faults

    async def _fail_before(self, connection: Connection, request: Request, fault: FaultAt) -> None:
        if fault.fault is Fault.LOSE_REQUEST:
            connection.close()
        elif fault.fault is Fault.RESET:
            connection.reset()
        elif fault.fault is Fault.RATE_LIMIT:
            await connection.send(self._finish(self._too_many(), request))
        elif fault.fault is Fault.SERVER_ERROR:
            await connection.send(_html(fault.status))
        else:
            self._close_port()
            asyncio.get_running_loop().call_later(fault.seconds, self._reopen)

    def _reopen(self) -> None:
        if self._listener is None:
            self._watch(asyncio.create_task(self._listen(self.port)))

    async def _fail_after(
        self,
        connection: Connection,
        request: Request,
        route: Route,
        parts: tuple[str, ...],
        fault: FaultAt,
    ) -> None:
        if fault.fault is Fault.DELAY_APPLY:
            await self._later(fault.seconds)
        answer = self._apply(request, route, parts)
        if fault.fault is Fault.DELAY_ANSWER:
            await self._later(fault.seconds)
        if fault.fault is Fault.DROP_ANSWER:
            connection.close()
        elif fault.fault is Fault.RESET_AFTER:
            connection.reset()
        elif fault.fault is Fault.SERVER_ERROR_AFTER:
            await connection.send(_html(fault.status))
        elif fault.fault is Fault.CUT_ANSWER:
            connection.send_part(answer)
        elif fault.fault is Fault.GARBLED_ANSWER:
            body = "<html><body>proxy error</body></html>"
            await connection.send(Answer(answer.status, body, answer.headers, "text/html"))
        else:
            await connection.send(answer)

    async def _later(self, seconds: float) -> None:
        """Wait client seconds on the engine's clock: a stepped engine must be advanced."""
        due = asyncio.get_running_loop().create_future()
        at = self.engine.now_ns + self.engine.config.client_ns(seconds)
        self.engine.schedule(at, lambda: None if due.done() else due.set_result(None))
        await due

    # Streams

    async def wait_for_streams(self, number: int) -> None:
        """Return when ``number`` streams are open."""
        while len(self._streams) < number:
            self._stream_opened.clear()
            await self._stream_opened.wait()

    async def _stream(
        self, connection: Connection, request: Request, route: Route, account_name: str
    ) -> None:
        try:
            stream = self._open_stream(connection, request, route, account_name)
        except Refusal as refusal:
            refused = Answer(route.status(refusal.status), refusal.body)
            await connection.send(self._finish(refused, request))
            return
        self._streams.add(stream)
        self._stream_opened.set()
        try:
            await connection.drain()
            await connection.wait_until_gone()
        finally:
            self._streams.discard(stream)
            stream.stop()
            connection.close()

    def _open_stream(
        self, connection: Connection, request: Request, route: Route, account_name: str
    ) -> PriceStream | TransactionStream:
        account = self._account(account_name)
        if len(self._streams) >= self.engine.config.behaviour.streams_allowed:
            raise Refusal(429, {"errorMessage": "Too many active streams"})
        names = names_of(request, account, ())
        if route.resource == "pricing" and not names:
            raise Refusal(400, {"errorMessage": "Invalid value specified for 'instruments'"})
        snapshot = request.flag("snapshot", default=True)
        connection.start_stream({"RequestID": self._request_id(Answer(200, {}))})
        if route.resource == "pricing":
            return PriceStream(
                self.engine, account, connection, request.unix_times, names, snapshot
            )
        return TransactionStream(self.engine, account, connection, request.unix_times)


def _html(status: int) -> Answer:
    return Answer(status, _HTML.format(status=status), {}, "text/html")
