"""The simulator against OANDA's own description: every status, every field, every type.

Random requests of every operation, valid and not, in an account that trades all the while.
"""

import json
import random
import re
import socket
import string
import traceback

import pytest

from mbats.local.oanda_sim import AccountSpec, Replay, SimConfig, serve, spec_of, views
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.http import Request
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.routes import find
from mbats.local.oanda_sim.server import Server
from mbats.local.oanda_sim.times import SECOND, rfc3339
from tests.local.oanda_sim.conftest import PRICES, WEDNESDAY
from tests.local.oanda_sim.described import operations, problems, unknown

ACCOUNT = AccountSpec().id
UNLISTED = ("/price", "/price/range", "/v3/pricing", "/v3/pricing/range")
OPERATIONS = {o.name: o for o in operations() if not o.path.endswith(UNLISTED)}
ODD = (
    "", " ", "0", "-1", "1e400", "NaN", "²", "٣", "%00", "a" * 300, "None", "null", "true", "[]",
    "9" * 40, "../..", "America", "EUR_USD;", "EUR/USD", "@", "@nobody", "1.5", "\u2028", "1,2,,x",
)  # fmt: skip


class World:
    """One simulated broker, and requests made up for it."""

    def __init__(self, seed, **account):
        self.dice = random.Random(f"described/{seed}")
        config = SimConfig(
            seed=seed, start=WEDNESDAY, history_days=0, accounts=(AccountSpec(**account),),
            specs=tuple(spec_of(name) for name in PRICES),
        )  # fmt: skip
        self.engine = Engine(config, Replay([]))
        self.server = Server(self.engine)
        self.points = dict(PRICES)
        self.move()

    def move(self):
        """Let some time pass, now and then a day, and prices with it."""
        seconds = self.dice.choice((1, 5, 60, 3600, 30_000))
        self.engine.advance(self.engine.now_ns + seconds * SECOND)
        for name, (bid, ask) in self.points.items():
            step = self.dice.randint(-60, 60)
            self.points[name] = bid, ask = bid + step, ask + step
            precision = self.engine.market.specs[name].precision
            self.engine.put_price(
                Quote(name, self.engine.now_ns, bid, ask, precision, self.dice.random() < 0.97)
            )

    def ask(self, method, path, query=None, headers=None, body=b""):
        given = {"authorization": "Bearer t", **(headers or {})}
        request = Request(method, path, query or {}, given, body)
        found = find(method, path)
        answer = self.server._refusal(request, found)
        if answer is None:
            answer = self.server._apply(request, *found)
        return answer.status, json.loads(answer.encoded())

    def one_of(self, *values):
        return self.dice.choice(values)

    def random_request(self, operation):
        """Return what to ask of an operation: mostly sensible, sometimes odd."""
        path = operation.path
        for name in ("accountID", "instrument", "orderSpecifier", "tradeSpecifier",
                     "transactionID"):  # fmt: skip
            path = path.replace("{" + name + "}", str(self.path_value(name)))
        query = {
            name: str(self.query_value(name))
            for name in operation.query
            if self.dice.random() < 0.5
        }
        headers = {"accept-datetime-format": self.one_of("RFC3339", "UNIX", "odd")}
        body = self.body(operation) if operation.method != "GET" else b""
        if self.dice.random() < 0.5 and (sensible := self.sensible(operation)) is not None:
            path, body = sensible
        return operation.method, path, query, headers if self.dice.random() < 0.3 else {}, body

    def sensible(self, operation):
        """Return path and body of what will probably be done, for what chance seldom hits."""
        state = self.engine.accounts[ACCOUNT].state
        base = f"/v3/accounts/{ACCOUNT}"
        trades, orders = list(state.open_trades.values()), list(state.pending.values())
        match operation.name:
            case "order.create":
                made = {"type": "MARKET", "instrument": self.one_of(*PRICES),
                        "units": str(self.one_of(100, -100, 50))}  # fmt: skip
                return f"{base}/orders", json.dumps({"order": made}).encode()
            case "position.close" if trades:
                trade = self.one_of(*trades)
                side, other = ("long", "short") if trade.is_long else ("short", "long")
                made = {f"{side}Units": self.one_of("ALL", "1"), f"{other}Units": "NONE"}
                return f"{base}/positions/{trade.instrument}/close", json.dumps(made).encode()
            case "trade.close" if trades:
                return f"{base}/trades/{self.one_of(*trades).id}/close", b'{"units": "1"}'
            case "order.replace" if orders:
                order = self.one_of(*orders)
                names = ("type", "instrument", "units", "price", "distance", "tradeID")
                shown = views.order(self.engine.accounts[ACCOUNT], order)
                made = {name: shown[name] for name in names if name in shown}
                return f"{base}/orders/{order.id}", json.dumps({"order": made}).encode()
            case "order.get" | "order.cancel" | "order.set_client_extensions" if orders:
                last = {"order.get": "", "order.cancel": "/cancel"}.get(
                    operation.name, "/clientExtensions"
                )
                body = json.dumps({"clientExtensions": {"tag": "new"}}).encode()
                return f"{base}/orders/{self.one_of(*orders).id}{last}", body
        return None

    def path_value(self, name):
        if self.dice.random() < 0.08:
            return self.one_of(*(odd for odd in ODD if odd and "/" not in odd))
        ids = self.ids(name)
        return {
            "accountID": ACCOUNT,
            "instrument": self.one_of(*PRICES),
        }.get(name) or self.one_of(*ids)

    def ids(self, name):
        account = self.engine.accounts[ACCOUNT]
        known = {
            "orderSpecifier": account.state.pending,
            "tradeSpecifier": account.state.open_trades,
        }.get(name, {})
        every = range(1, account.ledger.last_id + 2)
        return [*known, *known, self.one_of(*every), "@key-1", "@key-2"]

    def query_value(self, name):
        if self.dice.random() < 0.15:
            return self.one_of(*ODD)
        last = self.engine.accounts[ACCOUNT].ledger.last_id
        at = self.engine.now_ns - self.dice.randint(-60, 200_000) * SECOND
        time = self.one_of(rfc3339(at), f"{at / SECOND:.9f}", rfc3339(at)[:19] + "Z")
        number = self.dice.randint(0, last + 2)
        return {
            "instruments": ",".join(self.dice.sample(list(PRICES), self.dice.randint(1, 3))),
            "instrument": self.one_of(*PRICES),
            "sinceTransactionID": number, "id": number, "beforeID": number,
            "from": self.one_of(time, number), "to": self.one_of(time, number),
            "time": time, "since": time,
            "price": self.one_of("M", "B", "A", "MBA", "BA"),
            "granularity": self.one_of("S5", "M1", "M5", "H1", "D", "W", "M"),
            "count": self.dice.randint(0, 600),
            "smooth": self.one_of("True", "false"), "includeFirst": self.one_of("True", "false"),
            "dailyAlignment": self.dice.randint(0, 24),
            "alignmentTimezone": self.one_of("America/New_York", "Europe/London", "UTC"),
            "weeklyAlignment": self.one_of("Friday", "Monday"),
            "ids": f"{number},{number + 1}",
            "state": self.one_of("PENDING", "ALL", "FILLED", "CANCELLED", "TRIGGERED", "OPEN",
                                 "CLOSED", "CLOSE_WHEN_TRADEABLE"),
            "pageSize": self.dice.randint(0, 1001),
            "type": self.one_of("ORDER", "FUNDING", "ORDER_FILL", "MARKET_ORDER,ORDER_FILL"),
            "units": self.dice.randint(1, 100),
            "includeUnitsAvailable": self.one_of("True", "False"),
            "includeHomeConversions": self.one_of("True", "False"),
        }[name]  # fmt: skip

    # Bodies.

    def body(self, operation):
        if self.dice.random() < 0.05:
            return self.one_of(
                b"", b"[]", b"1", b"null", b"{", b'"x"', b'{"order": 1}', b'{"order": []}',
                b'{"order": {"type": 7}}', b'{"units": {}}', b"\xff\xfe", b"NaN", b"[" * 5000,
                b'{"order":{"type":"MARKET","units":NaN,"instrument":"EUR_USD"}}',
                b'{"order":{"type":"MARKET","units":"1","instrument":["EUR_USD"]}}',
            )  # fmt: skip
        document = {name: self.field(name) for name in operation.body if self.dice.random() < 0.8}
        return json.dumps(document).encode()

    def field(self, name):
        if self.dice.random() < 0.05:
            return self.one_of(None, [], {}, 7, True, "", "x", *ODD)
        match name:
            case "order":
                return self.order()
            case (
                "clientExtensions"
                | "tradeClientExtensions"
                | "longClientExtensions"
                | ("shortClientExtensions")
            ):
                return self.extensions()
            case "takeProfit":
                return self.maybe({"price": self.price(80), **self.dependent()})
            case "stopLoss":
                return self.maybe({"price": self.price(-80), **self.dependent()})
            case "trailingStopLoss":
                return self.maybe({"distance": self.one_of("0.00100", "0.050"), **self.dependent()})
            case "longUnits" | "shortUnits" | "units":
                return self.one_of("ALL", "NONE", "1", "10", 5, "-1", "0.5", "0")
            case "alias":
                return self.one_of("Mine", "")
        return self.one_of("0.02", "0.05", "0", "2", 0.04)

    def maybe(self, value):
        return self.one_of(None, value, value)

    def dependent(self):
        made = {"timeInForce": self.one_of("GTC", "GTD", "GFD", "FOK")}
        if self.dice.random() < 0.3:
            made["gtdTime"] = rfc3339(self.engine.now_ns + self.one_of(-9, 9, 9000) * SECOND)
        if self.dice.random() < 0.3:
            made["clientExtensions"] = self.extensions()
        return made

    def extensions(self):
        letters = "".join(self.dice.choices(string.printable, k=self.dice.randint(0, 140)))
        return {
            name: value
            for name, value in (("id", f"key-{self.dice.randint(1, 30)}"), ("tag", "t"),
                                ("comment", letters))
            if self.dice.random() < 0.7
        }  # fmt: skip

    def price(self, away=0):
        bid, ask = self.points["EUR_USD"]
        points = self.one_of(bid, ask) + away + self.dice.randint(-40, 40)
        return self.one_of(
            f"{points / 1e5:.5f}", f"{points / 1e5:.7f}", "0", "-1", f"{points / 1e5}"
        )

    def order(self):
        kind = self.one_of(
            "MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "TAKE_PROFIT", "STOP_LOSS",
            "TRAILING_STOP_LOSS", "MARKET", "LIMIT", "FIXED_PRICE", "odd",
        )  # fmt: skip
        trades = list(self.engine.accounts[ACCOUNT].state.open_trades) or [1]
        made = {
            "type": kind,
            "instrument": self.one_of("EUR_USD", "EUR_USD", *PRICES, "odd"),
            "units": self.one_of("100", "-100", 7, "-50", "0", "0.5", "999999999", "x"),
            "price": self.price(self.one_of(-50, 50)),
            "priceBound": self.price(),
            "distance": self.one_of("0.00100", "0.2", "-1"),
            "tradeID": str(self.one_of(*trades, 99_999)),
            "clientTradeID": self.one_of("key-1", "key-2"),
            "timeInForce": self.one_of("GTC", "GTD", "GFD", "FOK", "IOC", "odd"),
            "gtdTime": rfc3339(self.engine.now_ns + self.one_of(-9, 9, 9000) * SECOND),
            "positionFill": self.one_of(
                "DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY", "odd"
            ),
            "triggerCondition": self.one_of("DEFAULT", "INVERSE", "BID", "ASK", "MID"),
            "guaranteed": self.one_of(True, False),
            "clientExtensions": self.extensions(),
            "tradeClientExtensions": self.extensions(),
            "takeProfitOnFill": {"price": self.price(60), **self.dependent()},
            "stopLossOnFill": {"price": self.price(-60), **self.dependent()},
            "trailingStopLossOnFill": {"distance": "0.00300", **self.dependent()},
        }
        always = {"type", "instrument"}
        need = {"MARKET": {"units"}, "TAKE_PROFIT": {"tradeID", "price"}}.get(
            kind, {"units", "price"}
        )
        rare = {"guaranteed", "clientTradeID", "priceBound", "timeInForce", "positionFill"}
        return {
            name: value
            for name, value in made.items()
            if name in always
            or self.dice.random() < (0.95 if name in need else 0.1 if name in rare else 0.2)
        }


def survey(seed, requests=6_000, **account):
    """Return every problem of many random requests with its first, and operations unanswered."""
    world = World(seed, **account)
    found, statuses = {}, {name: set() for name in OPERATIONS}
    for _ in range(requests):
        operation = world.one_of(*OPERATIONS.values())
        request = world.random_request(operation)
        try:
            status, document = world.ask(*request)
        except Exception:  # noqa: BLE001 - a client would see its connection closed
            said = traceback.format_exc().strip().splitlines()
            found.setdefault(f"{operation.name}: {said[-1]} {said[-3].strip()}", request)
            continue
        statuses[operation.name].add(status)
        for problem in problems(operation, status, document):
            found.setdefault(f"{operation.name}: {problem}", request)
        if world.dice.random() < 0.1:
            world.move()
    return found, [name for name, seen in statuses.items() if not seen & {200, 201}]


@pytest.mark.parametrize(
    ("seed", "account"),
    [(1, {}), (2, {"hedging": True}), (3, {"fifo": True, "commission_per_million": 50})],
)
def test_every_answer_is_one_that_the_description_has(seed, account):
    found, unanswered = survey(seed, **account)
    assert found == {}
    assert unanswered == []


def test_prices_are_as_described():
    world = World(4)
    for name in PRICES:
        shown = world.engine.market.price_document(name, None)
        assert unknown("pricing.ClientPrice", shown, name) == []


@pytest.mark.parametrize("account", ["101-001-9999999-001", "odd"])
def test_a_strange_account_gets_a_status_that_the_description_has_there(account):
    world = World(5)
    for operation in OPERATIONS.values():
        if "{accountID}" not in operation.path:
            continue
        path = operation.path.replace("{accountID}", account)
        status, document = world.ask(operation.method, re.sub(r"{\w+}", "7", path))
        assert status in operation.answers, operation.name
        assert document["errorMessage"]


RAW = {
    b"GET /v3/accounts HTTP/1.1\r\nbad header\r\n\r\n": b"400",
    b"nonsense\r\n\r\n": b"400",
    b"HEAD /v3/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n": b"405",
    b"GET /v3/accounts HTTP/1.1\r\nHost: x\r\n\r\n": b"401",
    b"PATCH /v3/\xff HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n": b"40",
}


@pytest.mark.parametrize("sent", RAW)
def test_what_is_no_good_request_is_answered_all_the_same(sent):
    config = SimConfig(start=WEDNESDAY, speed=0, history_days=0)
    with serve(config) as sim, socket.create_connection((sim.host, sim.port), 5) as client:
        client.sendall(sent)
        assert client.recv(4096).startswith(b"HTTP/1.1 " + RAW[sent])
