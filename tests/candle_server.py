"""A small OANDA on a free port: candles from a seed, with gaps, and an unfinished last one.

Answers in the recorded shapes of /v3/accounts, /v3/accounts/{id}/instruments and
/v3/instruments/{name}/candles, and refuses what OANDA refuses: more than 5,000 candles, a count
beside both ends of a range, times in the future, a wrong token.
"""

import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from mbats.market.granularity import Granularity
from mbats.market.newyork import instant

CAP = 5000
TOKEN = "token-of-the-test"
ACCOUNT = "101-001-1-001"
Fault = tuple[int, str]


@dataclass
class CandleServer:
    """``now`` is the server's clock; ``faults`` are answers given before any real one."""

    seed: int = 1
    first: datetime = datetime(2024, 3, 4, tzinfo=UTC)
    now: datetime = datetime(2024, 3, 15, 12, 0, 30, tzinfo=UTC)
    gap_share: float = 0.05
    by_interval: bool = False  # whether count counts intervals, not candles
    closed: tuple[datetime, datetime] | None = None
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    _made: dict[Any, list[tuple[datetime, dict[str, Any]]]] = field(default_factory=dict)
    edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda candles: candles

    def __enter__(self) -> "CandleServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = server.answer(self.path, self.headers.get("Authorization", ""))
                payload = body.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def answer(self, path: str, authorization: str) -> tuple[int, str]:
        if self.faults:
            return self.faults.pop(0)
        if authorization != f"Bearer {TOKEN}":
            return _refused(401, "Insufficient authorization to perform request.")
        url = urlparse(path)
        parts = url.path.strip("/").split("/")
        if parts == ["v3", "accounts"]:
            return 200, json.dumps({"accounts": [{"id": ACCOUNT, "tags": []}]})
        if parts == ["v3", "accounts", ACCOUNT, "instruments"]:
            return 200, json.dumps({"instruments": INSTRUMENTS, "lastTransactionID": "7"})
        if parts[:2] == ["v3", "instruments"] and parts[3:] == ["candles"]:
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            self.requests.append(query)
            return self._candles(parts[2], query)
        return _refused(404, "The requested resource was not found.")

    def _candles(self, name: str, query: dict[str, str]) -> tuple[int, str]:
        if name not in {described["name"] for described in INSTRUMENTS}:
            return _refused(400, "Invalid value specified for 'instrument'")
        count = int(query.get("count", 500))
        if count > CAP:
            return _refused(400, "Maximum value for 'count' exceeded")
        if "count" in query and "from" in query and "to" in query:
            return _refused(400, "'count' cannot be specified when 'to' and 'from' are")
        start = datetime.fromisoformat(query["from"])
        if start > self.now:
            return _refused(400, "Invalid value specified for 'from'. Time is in the future")
        bar = Granularity(query["granularity"])
        first = query.get("includeFirst", "True").lower() == "true"
        held = [c for c in self.all(name, bar) if c[0] >= start and (first or c[0] > start)]
        if self.by_interval:
            step = timedelta(microseconds=bar.micros)
            held = [c for c in held if c[0] < start + count * step]
        candles = self.edit([candle for _, candle in held[:count]])
        document = {"instrument": name, "granularity": bar.value, "candles": candles}
        return 200, json.dumps(document)

    def all(self, name: str, bar: Granularity) -> list[tuple[datetime, dict[str, Any]]]:
        """Every candle there is, by its start; the last is still going on."""
        if (name, bar) not in self._made:
            self._made[name, bar] = list(self._make(name, bar))
        return self._made[name, bar]

    def _make(self, name: str, bar: Granularity) -> Iterator[tuple[datetime, dict[str, Any]]]:
        rng = random.Random(f"{self.seed} {name} {bar}")
        price = 110_000 if name == "EUR_USD" else 15_012_300
        starts = bar.starts(instant(self.first), instant(self.now))
        for at, end in zip(starts.tolist(), bar.bar_end(starts).tolist(), strict=True):
            at, end = at.replace(tzinfo=UTC), end.replace(tzinfo=UTC)
            closed = self.closed and self.closed[0] <= at < self.closed[1]
            walk = [price + rng.randint(-20, 20) for _ in range(4)]
            if not closed and (rng.random() >= self.gap_share or end > self.now):
                yield at, _candle(at, walk, rng.randint(1, 500), end <= self.now)
            price = walk[-1]


def _candle(at: datetime, walk: list[int], volume: int, complete: bool) -> dict[str, Any]:
    ohlc = {"o": walk[0], "h": max(walk), "l": min(walk), "c": walk[-1]}
    sides = {
        side: {part: f"{(points + shift) / 100_000:.5f}" for part, points in ohlc.items()}
        for side, shift in (("bid", -7), ("mid", 0), ("ask", 7))
    }
    time = at.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
    return {"complete": complete, "volume": volume, "time": time, **sides}


def _refused(status: int, message: str) -> tuple[int, str]:
    return status, json.dumps({"errorMessage": message})


def _described(name: str, pip: int, margin: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "CURRENCY",
        "displayName": name.replace("_", "/"),
        "pipLocation": pip,
        "displayPrecision": 1 - pip,
        "tradeUnitsPrecision": 0,
        "minimumTradeSize": "1",
        "maximumTrailingStopDistance": "1.00000",
        "minimumTrailingStopDistance": "0.00050",
        "maximumPositionSize": "0",
        "maximumOrderUnits": "100000000",
        "marginRate": margin,
        "guaranteedStopLossOrderMode": "DISABLED",
        "tags": [{"type": "ASSET_CLASS", "name": "CURRENCY"}],
        "financing": {"longRate": "-0.0323", "shortRate": "0.012", "financingDaysOfWeek": []},
    }


INSTRUMENTS = [_described("EUR_USD", -4, "0.02"), _described("USD_JPY", -2, "0.05")]
