"""Both streams: one JSON line a chunk, heartbeats, windows, snapshots, weekends."""

import json
import socket
from datetime import UTC, datetime

import pytest

from mbats.local.oanda_sim import Quote, Replay, SimConfig, serve, spec_of
from mbats.local.oanda_sim.times import SECOND

START = datetime(2026, 9, 23, 14, 0, tzinfo=UTC)
MILLI = 1_000_000


class Raw:
    """A stream read straight off a socket, chunk by chunk."""

    def __init__(self, running, path, number=1):
        self._socket = socket.create_connection(("127.0.0.1", running.port), timeout=60)
        account = running.account_id
        head = f"GET /v3/accounts/{account}/{path} HTTP/1.1\r\nHost: sim\r\n"
        self._socket.sendall(f"{head}Authorization: Bearer t\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.head = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            self.head.append(line.decode().strip())
        running.wait_for_streams(number)

    def chunk(self):
        """Return the next chunk, b"" at the clean end; EOFError where the stream was cut."""
        size = self._file.readline()
        if not size:
            raise EOFError("closed between chunks without a last chunk")
        data = self._file.read(int(size, 16) + 2)
        if len(data) != int(size, 16) + 2:
            raise EOFError("cut in mid-chunk")
        return data[:-2]

    def line(self):
        return json.loads(self.chunk())

    def close(self):
        self._file.close()
        self._socket.close()


@pytest.fixture
def open_stream():
    made = []

    def open_(running, path, number=1):
        made.append(Raw(running, path, number))
        return made[-1]

    yield open_
    for raw in made:
        raw.close()


def _quotes(*points):
    start = int(START.timestamp()) * SECOND
    return Replay([Quote("EUR_USD", start + ms * MILLI, bid, bid + 10, 5) for ms, bid in points])


def _config(**more):
    return SimConfig(start=START, speed=0, specs=(spec_of("EUR_USD"),), **more)


def test_one_json_line_a_chunk_and_a_request_id(stepped, open_stream):
    raw = open_stream(stepped, "pricing/stream?instruments=EUR_USD,USD_JPY")
    assert raw.head[0] == "HTTP/1.1 200 OK"
    names = {line.split(":")[0].lower() for line in raw.head[1:]}
    assert {"transfer-encoding", "requestid"} <= names
    for name in ("EUR_USD", "USD_JPY"):
        chunk = raw.chunk()
        assert chunk.endswith(b"\n")
        assert chunk.count(b"\n") == 1
        assert json.loads(chunk)["instrument"] == name


def test_no_snapshot_where_none_is_wanted(stepped, open_stream):
    raw = open_stream(stepped, "pricing/stream?instruments=EUR_USD&snapshot=False")
    stepped.advance(20)
    assert raw.line()["time"] > "2026-09-23T14:00:00.0"


def test_at_most_four_prices_a_second_the_last_of_each_window(open_stream):
    points = [(10, 1000), (20, 1001), (240, 1002), (260, 1003), (490, 1004), (1200, 1005)]
    with serve(_config(), source=_quotes((0, 999), *points)) as running:
        raw = open_stream(running, "pricing/stream?instruments=EUR_USD&snapshot=false")
        running.advance(2)
        lines = [raw.line() for _ in range(3)]
        assert [line["bids"][0]["price"] for line in lines] == ["0.01002", "0.01004", "0.01005"]


def test_windows_of_two_connections_do_not_align(open_stream):
    points = [(0, 999), (300, 1000), (350, 1001), (390, 1002)]
    with serve(_config(), source=_quotes(*points)) as running:
        first = open_stream(running, "pricing/stream?instruments=EUR_USD&snapshot=false")
        running.advance(0.1)
        second = open_stream(running, "pricing/stream?instruments=EUR_USD&snapshot=false", 2)
        running.advance(0.9)
        # windows end at 250, 500 … and at 350, 600 …; the price at 350 opens the next of those
        assert first.line()["bids"][0]["price"] == "0.01002"
        assert second.line()["bids"][0]["price"] == "0.01001"
        assert second.line()["bids"][0]["price"] == "0.01002"


def test_every_price_where_windows_are_off(open_stream):
    points = [(ms, 1000 + ms) for ms in range(10)]
    with serve(_config(price_window_ms=0), source=_quotes(*points)) as running:
        raw = open_stream(running, "pricing/stream?instruments=EUR_USD&snapshot=false")
        running.advance(1)
        assert [raw.line()["bids"][0]["price"] for _ in range(9)][-1] == "0.01009"


def test_heartbeats_come_every_five_seconds(stepped, open_stream):
    raw = open_stream(stepped, "transactions/stream")
    stepped.advance(11)
    first, second = raw.line(), raw.line()
    assert first == {
        "type": "HEARTBEAT",
        "lastTransactionID": "3",
        "time": "2026-09-23T14:00:05.000000000Z",
    }
    assert second["time"] == "2026-09-23T14:00:10.000000000Z"


def test_price_heartbeats_carry_no_transaction_id(open_stream):
    with serve(_config(heartbeat_seconds=1), source=_quotes((0, 1000))) as running:
        raw = open_stream(running, "pricing/stream?instruments=EUR_USD&snapshot=false")
        running.advance(1)
        assert raw.line() == {"type": "HEARTBEAT", "time": "2026-09-23T14:00:01.000000000Z"}


def test_transaction_stream_starts_now_and_says_whole_batches(stepped, open_stream, client):
    from oandapyV20.endpoints.orders import OrderCreate

    api = client(stepped)
    order = {"type": "MARKET", "instrument": "EUR_USD", "units": "1"}
    api.request(OrderCreate(stepped.account_id, {"order": order}))
    raw = open_stream(stepped, "transactions/stream")
    made = api.request(OrderCreate(stepped.account_id, {"order": order}))
    assert [raw.line(), raw.line()] == [
        made["orderCreateTransaction"],
        made["orderFillTransaction"],
    ]


def test_weekend_says_the_stale_price_then_only_heartbeats(open_stream):
    config = SimConfig(
        start=datetime(2026, 9, 25, 20, 58, tzinfo=UTC), speed=0, specs=(spec_of("EUR_USD"),)
    )
    with serve(config) as running:
        running.advance(24 * 3600)
        raw = open_stream(running, "pricing/stream?instruments=EUR_USD")
        stale = raw.line()
        assert (stale["tradeable"], stale["status"]) == (False, "non-tradeable")
        assert stale["time"].startswith("2026-09-25T20:59")
        running.advance(10)
        assert [raw.line()["type"] for _ in range(2)] == ["HEARTBEAT"] * 2


def test_empty_book_is_streamed_as_such(stepped, open_stream):
    import requests

    raw = open_stream(stepped, "pricing/stream?instruments=EUR_USD&snapshot=false")
    body = {"instrument": "EUR_USD", "bids": [], "asks": []}
    requests.post(f"{stepped.url}/sim/price", json=body, timeout=60).raise_for_status()
    stepped.advance(0.25)
    line = raw.line()
    assert (line["bids"], line["asks"]) == ([], [])


def test_streams_have_a_limit():
    import requests

    from mbats.local.oanda_sim import Behaviour

    with serve(_config(behaviour=Behaviour(streams_allowed=0))) as running:
        url = f"{running.url}/v3/accounts/{running.account_id}/transactions/stream"
        answer = requests.get(url, headers={"Authorization": "Bearer t"}, timeout=60)
        assert answer.status_code == 429


def test_unix_times_on_a_stream(stepped):
    import requests

    url = f"{stepped.url}/v3/accounts/{stepped.account_id}/pricing/stream?instruments=EUR_USD"
    headers = {"Authorization": "Bearer t", "Accept-Datetime-Format": "UNIX"}
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        line = json.loads(next(answer.iter_lines(chunk_size=60)))
    assert line["time"] == "1790172000.000000000"
