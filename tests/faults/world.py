"""The world of one seed: the simulator's engine with its faults, the market, and a killer.

It answers the bot's questions one by one, lets time pass as they take time, and kills the bot with
SIGKILL at points drawn from the seed: before a request is applied, after it, around every write.
"""

import json
import os
import random
import signal
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mbats.local.oanda_sim import AccountSpec, Fault, FaultAt, FaultPlan, SimConfig, spec_of
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.faults import REQUEST_FAULTS
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.routes import find
from mbats.local.oanda_sim.server import Server
from mbats.local.oanda_sim.sources import Replay
from mbats.local.oanda_sim.streams import UNKNOWN_TYPE
from mbats.local.oanda_sim.times import SECOND, from_datetime
from tests.faults.wire import Ask, Channel, Reply

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = "101-001-1000001-001"
INSTRUMENTS = {"EUR_USD": 110_000, "USD_JPY": 150_000}
CLIENT_TIMEOUT = 10.0
HEARTBEAT = 5 * SECOND
MILLI = SECOND // 1000
LONGEST_PAUSE_MS = 25_000

# Points a bot is killed at: a kind of question, whether before or after it is dealt with, and the
# number of that question in a life at most.
KILL_POINTS = {
    ("write", "before"): 14, ("write", "after"): 14, ("read", "before"): 12, ("read", "after"): 12,
    ("append", "before"): 25, ("append", "torn"): 25, ("append", "after"): 25,
    ("store", "before"): 10, ("store", "torn"): 10, ("store", "after"): 10, ("take", "after"): 250,
    ("compact", "before"): 1, ("compact", "torn"): 1, ("compacted", "before"): 1,
}  # fmt: skip


@dataclass
class Kill:
    kind: str
    when: str
    number: int


@dataclass
class World:
    """``quiet`` worlds have no faults and no kills: for looking at what is left.

    ``rate`` is the share of writes that fail, ``breaks`` that of ticks at which prices break off.
    """

    seed: int
    seconds: int = 420
    lives: int = 6
    rate: float = 0.25
    start: datetime = START
    names: tuple[str, ...] = tuple(INSTRUMENTS)
    breaks: float = 0.004
    account_id: str = ACCOUNT
    kill_points: Mapping[tuple[str, str], int] = field(default_factory=lambda: KILL_POINTS)
    posts: Counter[str] = field(default_factory=Counter)
    kills: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(f"world/{self.seed}")
        self.quiet = False
        config = SimConfig(
            seed=self.seed,
            start=self.start,
            specs=tuple(spec_of(name) for name in self.names),
            accounts=(
                AccountSpec(id=self.account_id, first_transaction_id=self.dice.randint(900, 999)),
            ),
            history_days=0,
            faults=self._plan(),
        )
        self.engine = Engine(config, Replay([]))
        self.account = self.engine.accounts[self.account_id]
        self.server = Server(self.engine)
        self.engine.on_commit.append(lambda _, lines: self._committed(lines))
        self.end_ns = from_datetime(self.start + timedelta(seconds=self.seconds))
        self.ticks = deque(self._market())
        self.inbox: deque[tuple[str, Any]] = deque()
        self._stream_from = 0  # the transaction stream is open from here on
        self._stalled = False
        self._prices_from = 0
        self._heartbeat_at = 0
        self._kill: Kill | None = None
        self._seen: Counter[str] = Counter()

    def _plan(self) -> FaultPlan:
        each = self.rate / len(REQUEST_FAULTS)
        return FaultPlan(
            seed=self.seed,
            write_rates=dict.fromkeys(REQUEST_FAULTS, each),
            read_rates=dict.fromkeys(REQUEST_FAULTS, each / 2),
            stream_rates=dict.fromkeys(
                (Fault.CUT, Fault.END, Fault.STALL, Fault.MALFORMED, Fault.DUPLICATE,
                 Fault.UNKNOWN_TYPE), 0.02,
            ),
        )  # fmt: skip

    def _market(self) -> list[Quote]:
        """Return the quotes of random walks, about a tick a second."""
        made = []
        for name, mid in INSTRUMENTS.items():
            at, precision = from_datetime(self.start), self.engine.market.specs[name].precision
            while at < self.end_ns:
                at += self.dice.randint(200, 2500) * MILLI
                mid += self.dice.randint(-14, 14)
                made.append(Quote(name, at, mid - 2, mid + 2, precision, True))
        return sorted(made, key=lambda quote: (quote.time_ns, quote.instrument))

    # A life of the bot.

    def live(self, channel: Channel, pid: int, *, may_kill: bool) -> None:
        """Answer one bot's questions until it is gone."""
        self._kill = self._next_kill() if may_kill else None
        self._seen.clear()
        self.inbox.clear()
        self._stream_from = self._prices_from = self.engine.now_ns
        self._stalled = False
        while (ask := channel.receive()) is not None:
            if self._struck(ask.kind, "before"):
                self._shoot(pid, ask.kind, "before")
                continue
            if self._struck(ask.kind, "torn"):
                channel.send(Reply(self.engine.now_ns, "torn"))
                self.kills.append(f"{ask.kind} torn")
                continue
            answer = getattr(self, f"_{ask.kind}")(ask)
            if self._struck(ask.kind, "after"):
                self._shoot(pid, ask.kind, "after")
                continue
            channel.send(Reply(self.engine.now_ns, answer))

    def pause(self) -> None:
        """Let time pass while nobody is there: an instant, a bar, or five.

        Half of the pauses are shorter than a bar may be decided on: the next life makes the same
        decision again.
        """
        self._move(self.engine.now_ns + int(LONGEST_PAUSE_MS ** self.dice.random()) * MILLI)

    def _next_kill(self) -> Kill:
        kind, when = self.dice.choice(list(self.kill_points))
        return Kill(kind, when, self.dice.randint(1, self.kill_points[kind, when]))

    def _struck(self, kind: str, when: str) -> bool:
        kill = self._kill
        if kill is None or kill.kind != kind:
            return False
        self._seen[when] += 1
        return kill.when == when and self._seen[when] == kill.number

    def _shoot(self, pid: int, kind: str, when: str) -> None:
        self.kills.append(f"{kind} {when}")
        os.kill(pid, signal.SIGKILL)

    # The bot's questions.

    def _now(self, ask: Ask) -> None:
        return None

    def _sleep(self, ask: Ask) -> None:
        self._move(self.engine.now_ns + int(ask.payload * SECOND))

    def _append(self, ask: Ask) -> None:
        return None  # the bot writes its journal itself; this is where it may be shot

    def _leave(self, ask: Ask) -> None:
        return None  # the bot is about to write to its socket: it may freeze here

    # The same for compactions, events, and objects in Cloud Storage.
    _compact = _compacted = _store = _stored = _object = _objected = _append

    def _take(self, ask: Ask) -> tuple[str, Any] | None:
        """Return what is next in the bot's inbox, at most ``payload`` seconds from now."""
        limit = self.engine.now_ns + int(ask.payload * SECOND)
        while not self.inbox:
            due = self.ticks[0].time_ns if self.ticks else self.end_ns
            if due > limit:
                self._move(limit)
                break
            self._move(due)
            if not self.ticks:
                return ("stop", None)
        return self.inbox.popleft() if self.inbox else None

    def _read(self, ask: Ask) -> tuple[str, Any]:
        return self._request(ask, "read")

    def _write(self, ask: Ask) -> tuple[str, Any]:
        return self._request(ask, "write")

    # Requests and what goes wrong with them.

    def _request(self, ask: Ask, kind: str) -> tuple[str, Any]:
        method, url, headers, body = ask.payload
        parts = urlsplit(url)
        request = Request(
            method, unquote(parts.path), dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in headers.items()}, body,
        )  # fmt: skip
        if method == "POST":
            key = json.loads(body)["order"].get("clientExtensions", {}).get("id")
            self.posts[key] += 1
        self._take_time(self.dice.randint(5, 60) * MILLI)
        fault = None if self.quiet else self.engine.faults.next(kind)
        if fault is None:
            return self._apply(request)
        return self._faulty(request, fault)

    def _apply(self, request: Request) -> tuple[str, Any]:
        found = find(request.method, request.path)
        assert not isinstance(found, int), request.path
        answer = self.server._apply(request, *found)
        return ("answer", (answer.status, answer.encoded()))

    def _faulty(self, request: Request, fault: FaultAt) -> tuple[str, Any]:
        html = ("answer", (fault.status, b"<html><body>nginx</body></html>"))
        match fault.fault:
            case Fault.LOSE_REQUEST | Fault.RESET:
                return ("reset", None)
            case Fault.REFUSE:
                return ("refused", None)
            case Fault.RATE_LIMIT:
                return ("answer", (429, b'{"errorMessage":"Too many requests"}'))
            case Fault.SERVER_ERROR:
                return html
            case Fault.DELAY_APPLY:
                at = self.engine.now_ns + int(fault.seconds * SECOND)
                self.engine.schedule(at, lambda: self._apply(request))
                self._take_time(int(CLIENT_TIMEOUT * SECOND))
                return ("timeout", None)
        status, body = self._apply(request)[1]
        match fault.fault:
            case Fault.DELAY_ANSWER:
                self._take_time(int(CLIENT_TIMEOUT * SECOND))
                return ("timeout", None)
            case Fault.SERVER_ERROR_AFTER:
                return html
            case Fault.CUT_ANSWER:
                return ("answer", (status, body[: len(body) // 2]))
            case Fault.GARBLED_ANSWER:
                return ("answer", (status, b"<html><body>proxy error</body></html>"))
        return ("reset", None)  # DROP_ANSWER, RESET_AFTER

    # Time.

    def _take_time(self, ns: int) -> None:
        self._move(self.engine.now_ns + ns)

    def _move(self, to_ns: int) -> None:
        """Let the market and the broker live up to ``to_ns``."""
        while self.ticks and self.ticks[0].time_ns <= to_ns:
            quote = self.ticks.popleft()
            self.engine.advance(quote.time_ns)
            self.engine.put_price(quote)
            self._price(quote)
            self._heartbeat()
        self.engine.advance(to_ns)
        self._heartbeat()

    def _price(self, quote: Quote) -> None:
        if quote.time_ns < self._prices_from or self._lost_prices(quote.time_ns):
            return
        bid, ask = (Decimal(side).scaleb(-quote.precision) for side in (quote.bid, quote.ask))
        item = (quote.instrument, quote.time_ns, bid, ask, quote.tradeable)
        self.inbox.append(("tick", item))

    def _lost_prices(self, at: int) -> bool:
        """Break the price bus now and then: what comes until it is back is never seen."""
        if self.quiet or self.dice.random() > self.breaks:
            return False
        self.inbox.append(("lost", "a break"))
        self._prices_from = at + self.dice.randint(1, 8) * SECOND
        self.engine.schedule(self._prices_from, lambda: self.inbox.append(("back", None)))
        return True

    # The transaction stream.

    def _committed(self, lines: list[str]) -> None:
        for line in lines:
            if self.engine.now_ns < self._stream_from or self._stalled:
                continue
            fault = None if self.quiet else self.engine.faults.next("transactions")
            self._say(line, fault.fault if fault else None)

    def _say(self, line: str, fault: Fault | None) -> None:
        match fault:
            case Fault.CUT | Fault.END:
                self._break("the stream ended")
            case Fault.MALFORMED:
                self._break("a line that is not JSON")
            case Fault.STALL:
                self._stalled = True
                until = self.engine.now_ns + 10 * SECOND
                self.engine.schedule(until, self._break_stall)
            case Fault.DUPLICATE:
                self.inbox.append(("line", line))
                self.inbox.append(("line", line))
            case Fault.UNKNOWN_TYPE:
                self.inbox.append(("line", line))
                self.engine.schedule(self.engine.now_ns, self._log_unknown)
            case _:
                self.inbox.append(("line", line))

    def _log_unknown(self) -> None:
        with self.account.batch(self.engine.now_ns) as batch:
            batch.add(UNKNOWN_TYPE, comment="a type that no client knows yet")

    def _break_stall(self) -> None:
        if self._stalled:
            self._stalled = False
            self._break("silence")

    def _break(self, reason: str) -> None:
        self.inbox.append(("broken", reason))
        self._stream_from = self.engine.now_ns + self.dice.randint(1, 4) * SECOND
        self.engine.schedule(self._stream_from, lambda: self.inbox.append(("connected", None)))

    def _heartbeat(self) -> None:
        now = self.engine.now_ns
        if now >= self._heartbeat_at and now >= self._stream_from and not self._stalled:
            self._heartbeat_at = now + HEARTBEAT
            line = {"type": "HEARTBEAT", "lastTransactionID": str(self.account.ledger.last_id)}
            self.inbox.append(("line", json.dumps(line)))
