"""HTTP/1.1 over asyncio, with the socket in our hands.

h11 reads requests and frames answers; it never touches the socket. So a fault can close, reset,
cut a chunk in two or stay silent at any byte, which no server framework lets one do.
"""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from mbats.local.oanda_sim.answers import Refusal, invalid

_READ_SIZE = 65_536
_PHRASES = {
    200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 416: "Requested Range Not Satisfiable",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Request:
    """One request. ``query`` keeps the last value of a repeated key."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, a JSON object; an empty body is an empty one. 400 for anything else."""
        if not self.body.strip():
            return {}
        try:
            document = json.loads(self.body, parse_constant=_no_number)
            if isinstance(document, dict):
                return document
            raise ValueError("no object")
        except (ValueError, RecursionError):
            raise Refusal(
                400,
                {
                    "errorMessage": "Invalid JSON, ParseErrorCode: 4, Message: Invalid value.",
                    "errorCode": "oanda::rest::core::InvalidJSONException",
                },
            ) from None

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean of the query: ``True`` and ``true`` are one."""
        value = self.query.get(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise invalid(name)
        return value.lower() == "true"

    @property
    def unix_times(self) -> bool:
        """Whether the client wants UNIX times."""
        return self.headers.get("accept-datetime-format", "").upper() == "UNIX"


@dataclass
class Answer:
    """An answer: ``body`` is a JSON document, or text that is sent as it is."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON_TYPE

    def encoded(self) -> bytes:
        """Return the body's bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":")).encode()


class Connection:
    """One client connection. Everything it writes goes through here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = h11.Connection(h11.SERVER)
        self._bodiless = False  # whether the request wants the head of an answer only
        self.closed = False

    async def next_request(self) -> Request | None:
        """Return the next request, or None when the client is gone or speaks no HTTP."""
        head: h11.Request | None = None
        body = bytearray()
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        while not self.closed:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                return None
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(await self._reader.read(_READ_SIZE))
                except ConnectionError:
                    self.close()
                    return None
                except h11.RemoteProtocolError as error:
                    await self._refuse(error)
                    return None
            elif isinstance(event, h11.Request):
                head = event
                self._bodiless = event.method == b"HEAD"
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:  # the client closed, or wants a second message before our answer
                return None
        return None

    async def send(self, answer: Answer) -> None:
        """Send a whole answer."""
        payload = answer.encoded()
        self._write(self._head(answer, {"Content-Length": str(len(payload))}))
        if not self._bodiless:
            self._write(self._http.send(h11.Data(data=payload)))
        self._write(self._http.send(h11.EndOfMessage()))
        await self.drain()
        if self._http.our_state is h11.MUST_CLOSE:
            self.close()

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP, where an answer can still be given, and close."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.send(Answer(error.error_status_hint, {"errorMessage": str(error)}))
        self.close()

    def send_part(self, answer: Answer, fraction: float = 0.5) -> None:
        """Send the head and only the first part of the body, then close."""
        payload = answer.encoded()
        self._write(self._head(answer, {"Content-Length": str(len(payload))}))
        self._write(payload[: max(1, int(len(payload) * fraction))])
        self.close()

    def start_stream(self, headers: dict[str, str]) -> None:
        """Send the head of a chunked answer."""
        head = Answer(200, b"", headers, "application/octet-stream")
        self._write(self._head(head, {"Transfer-Encoding": "chunked"}))

    def chunk(self, line: bytes) -> None:
        """Send one line as one chunk, in one write."""
        self._write(b"%x\r\n%b\r\n" % (len(line), line))

    def cut_chunk(self, line: bytes) -> None:
        """Send the first half of a chunk, then close."""
        self._write((b"%x\r\n" % len(line)) + line[: max(1, len(line) // 2)])
        self.close()

    def end_stream(self) -> None:
        """End a chunked answer as the protocol wants it, then close."""
        self._write(b"0\r\n\r\n")
        self.close()

    async def wait_until_gone(self) -> None:
        """Return when the client closes its side."""
        try:
            while await self._reader.read(_READ_SIZE):
                pass
        except ConnectionError:
            return

    async def drain(self) -> None:
        """Let written bytes go out."""
        if self.closed:
            return
        try:
            await self._writer.drain()
        except ConnectionError:
            self.close()

    @property
    def unsent(self) -> int:
        """Bytes written that the client has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def close(self) -> None:
        """Close after what is written has gone out."""
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None and not self.closed:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True
        self._writer.transport.abort()

    def _head(self, answer: Answer, framing: dict[str, str]) -> bytes:
        headers = {"Content-Type": answer.content_type, **answer.headers, **framing}
        event = h11.Response(
            status_code=answer.status,
            reason=_PHRASES.get(answer.status, "Unknown").encode(),
            headers=[(key.encode(), value.encode()) for key, value in headers.items()],
        )
        return self._http.send(event) or b""

    def _write(self, data: bytes | None) -> None:
        if self._writer.is_closing():
            self.closed = True  # the client went away first
        if data and not self.closed:
            self._writer.write(data)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _request(head: h11.Request, body: bytes) -> Request:
    target = urlsplit(head.target.decode("latin-1"))
    return Request(
        method=head.method.decode("ascii"),
        path=unquote(target.path),
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers={key.decode("latin-1"): value.decode("latin-1") for key, value in head.headers},
        body=body,
    )
