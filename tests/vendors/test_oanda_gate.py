"""The last question before an order leaves, asked of a real connection: what was not written?"""

import json
import socket
import threading
from dataclasses import replace

import pytest

from mbats.config import Settings
from mbats.errors import NotReadyError
from mbats.live.orders.ports import HeldBackError, Outcome
from mbats.local.oanda_sim import spec_of
from mbats.trading.order import OrderType
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import Backoff, OandaReader, session
from mbats.vendors.oanda_gate import Gate
from tests.live.fakes import intent


class Wire:
    """A server that keeps what each connection wrote, and answers whole requests with a 503."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.written, self.ended = [], threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        kept = bytearray()
        self.written.append(kept)
        with connection:
            while data := connection.recv(65536):
                kept += data
                if is_whole(kept):
                    connection.sendall(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n")
        self.ended.release()

    def close(self):
        self._listening.close()


def is_whole(request):
    head, _, body = bytes(request).partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


@pytest.fixture
def wire():
    made = Wire()
    yield made
    made.close()


def broker_at(wire):
    settings = Settings(
        oanda_environment="sim", oanda_endpoint=f"http://127.0.0.1:{wire.port}", oanda_account="A"
    )
    api, gate = session(settings, 5.0), Gate()
    gate.watch(api.client)
    reader = OandaReader(api, address="here", backoff=Backoff(attempts=1))
    instruments = {"EUR_USD": spec_of("EUR_USD").instrument}
    return api, OandaBroker(api, reader, "A", instruments, gate)


ORDER = replace(intent(), type=OrderType.LIMIT, price=intent(kind=OrderType.LIMIT).price)


def holding_back(looks, at):
    def look():
        looks.append(len(looks) + 1)
        if len(looks) == at:
            raise HeldBackError("frozen")

    return look


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_order_is_not_whole_at_the_broker_wherever_it_was_held_back(wire, at):
    """At the first look nothing was connected, at the second nothing written, then no body."""
    api, broker = broker_at(wire)
    looks = []
    broker.last_look = holding_back(looks, at)
    with pytest.raises(HeldBackError):
        broker.place(ORDER, comment="")
    assert looks == list(range(1, at + 1))
    api.client.close()
    if at > 1:
        assert wire.ended.acquire(timeout=10), "the connection is closed"
    assert not any(is_whole(request) for request in wire.written)
    assert not any(b"EUR_USD" in request for request in wire.written)


def test_an_order_that_is_let_pass_is_written_whole_and_a_read_is_not_asked_about(wire):
    api, broker = broker_at(wire)
    looks = []
    broker.last_look = holding_back(looks, 99)
    answer = broker.place(ORDER, comment="")
    assert answer.outcome is Outcome.UNKNOWN
    assert looks == [1, 2, 3], "before the session, before the headers, before the body"
    broker.cancel(7)
    assert looks[3:] == [4, 5], "a cancel has no body"
    with pytest.raises(NotReadyError):
        broker.transactions_since(1)
    assert len(looks) == 5
    api.client.close()
    assert wire.ended.acquire(timeout=10)
    body = bytes(wire.written[0]).partition(b"\r\n\r\n")[2]
    assert json.loads(body.partition(b"PUT")[0])["order"]["clientExtensions"]["id"] == ORDER.key


def test_the_next_order_goes_on_a_connection_of_its_own(wire):
    _, broker = broker_at(wire)
    looks = []
    broker.last_look = holding_back(looks, 3)
    with pytest.raises(HeldBackError):
        broker.place(ORDER, comment="")
    broker.place(ORDER, comment="")
    assert [is_whole(request) for request in wire.written] == [False, True]
