"""The way to Google, which ends on this machine: a proxy that refuses every host but Cloud Run's.

Google's clients reach run.googleapis.com through it as they would through a company's proxy. It
leads them to a TLS server of ours, which tells gRPC (HTTP/2) from REST (HTTP/1.1) by ALPN. Every
other host is refused by name, and remembered: a client of the local stack that asks for one would
have reached the real cloud.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from mbats.local.cloud_run.certificates import GOOGLE, Certificates

_SERVED = re.compile(rf"(?:[a-z]+-[a-z]+[0-9]-)?run\.{re.escape(GOOGLE)}:443")
_LONGEST_HEAD = 16_384  # bytes
_CHUNK = 65_536
_GONE = (OSError, asyncio.IncompleteReadError, ssl.SSLError)

Say = Callable[[str], None]


class Front:
    """TLS of every googleapis.com name, before the plain gRPC and REST servers."""

    def __init__(self, certificates: Certificates, grpc_port: int, rest_port: int) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.chain, certificates.key)
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self._ports = {"h2": grpc_port}
        self._rest_port = rest_port

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Start to listen."""
        return await asyncio.start_server(self._accept, host, port, ssl=self._context)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = cast(ssl.SSLObject, writer.get_extra_info("ssl_object"))
        protocol = session.selected_alpn_protocol() or "http/1.1"
        await _join(reader, writer, self._ports.get(protocol, self._rest_port))


class Proxy:
    """An HTTP proxy that knows one place to go. ``refused`` lists what was asked for in vain."""

    def __init__(self, front_port: int, say: Say) -> None:
        self._front_port = front_port
        self._say = say
        self.refused: list[str] = []

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Start to listen."""
        return await asyncio.start_server(self._accept, host, port, limit=_LONGEST_HEAD)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (*_GONE, asyncio.LimitOverrunError):
            writer.close()
            return
        method, _, rest = head.decode("latin-1").partition("\r\n")[0].partition(" ")
        target = rest.rpartition(" ")[0]
        if method == "CONNECT" and _SERVED.fullmatch(target.lower()):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _join(reader, writer, self._front_port)
        else:
            await self._refuse(writer, f"{method} {target}")

    async def _refuse(self, writer: asyncio.StreamWriter, wanted: str) -> None:
        shown = re.sub(r"[^\x21-\x7e ]", "?", wanted)[:200]
        self.refused.append(shown)
        message = f"The local stack has no way to {shown}: only to Cloud Run jobs."
        self._say(f"refused {shown}")
        body = message.encode()
        head = (
            f"HTTP/1.1 403 Refused {shown}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with suppress(*_GONE):
            writer.write(head.encode("latin-1") + body)
            await writer.drain()
        writer.close()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass bytes between a client and a port of this machine until either side ends."""
    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(_pass(reader, there_writer), _pass(there_reader, writer))
    finally:
        writer.close()
        there_writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(*_GONE):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(*_GONE, RuntimeError):
        writer.close()
