"""A whole desk of real processes on the emulators: simulator, streamer, archiver, bot.

The desk's clock stands on a Wednesday noon, whatever day it is: there is a market to trade in.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import requests

from mbats import schemas
from mbats.desk import Desk
from mbats.desk.switch import journal_name, kill_switch
from mbats.gcp.control import ControlObject
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.lease import TTL_SECONDS
from mbats.gcp.tables import apply_tables
from mbats.gcp.views import FOLDER, apply_views

LAUNCHER = Path(__file__).with_name("shifted.py")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
PATIENCE_SECONDS = 240.0  # of a machine that is busy with other things
ANSWER_SECONDS = 60.0  # of a simulator on such a machine

STRATEGY = '''
import backtrader as bt

class Holding(bt.Strategy):
    """One bracket as soon as there is a bar, far from the market."""

    def next(self):
        if not self.position.size and len(self) < 1000:
            close = self.data.close[0]
            self.buy_bracket(
                size=10_000, exectype=bt.Order.Market, stopprice=close - 0.09,
                limitprice=close + 0.09,
            )
'''


def wait_for(what, seconds=PATIENCE_SECONDS):
    """Return the first truthy answer of ``what``; fail where none comes."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {_named(what)}"
        time.sleep(0.1)


def _named(what):
    """Say which condition it is: many have no name but their line."""
    code = what.__code__
    return f"{what.__qualname__}, {Path(code.co_filename).name}:{code.co_firstlineno}"


class Floor:
    """One simulated broker with a desk of processes around it. Use it in a ``with`` statement.

    Prices are where the test moves :attr:`bid`, or with a ``seed`` those of the simulator's walk.
    ``lease_seconds`` is what the bot may sleep without losing its lease; the desk's own else.
    """

    def __init__(
        self, settings, folder, instrument="EUR_USD", seed=None, archives=True, lease_seconds=None
    ):
        self.folder = folder
        self.instrument = instrument
        self._seed = seed
        self._archives = archives
        self._lease = {"LEASE_SECONDS": str(lease_seconds or TTL_SECONDS)}
        unique = uuid.uuid4().hex[:8]
        names = {"risk": f"risk_{unique}", "security_master": f"sm_{unique}"}
        self.settings = settings.model_copy(update=names)
        self._number = uuid.uuid4().int % 10**7
        self.shift = (NOON - datetime.now(UTC)).total_seconds()
        self.bid = Decimal("1.10000")
        self._children = {}
        self._closing = threading.Event()
        self._market = threading.Thread(target=self._quote, daemon=True)
        (folder / "holding.py").write_text(STRATEGY)

    def __enter__(self):
        with Desk(self.settings) as desk:
            apply_tables(desk.warehouse, schemas.all_tables().values())
            apply_views(desk.warehouse, FOLDER)
            for bucket in desk.objects.missing_buckets():
                desk.objects.make_bucket(bucket)
        started = self.now() - timedelta(seconds=1)
        # The stores are the test session's: an account of its own keeps this desk apart.
        self.start("sim", "sim", "--json", "--account", f"101-001-{self._number:07d}-001",
                   "--instruments", self.instrument, "--start", started.isoformat(),
                   *self._prices())  # fmt: skip
        line = wait_for(lambda: self._all_live() and self.output("sim").strip())
        self.url, self.account = (json.loads(line)[name] for name in ("url", "account"))
        # A busy machine took its time to start it: the desk's clock goes by the broker's.
        self.shift = wait_for(self._steady_shift)
        if self._seed is None:
            self._market.start()
        if self._archives:
            self.start("archive", "archive")
        self.start("stream", "stream", "--instruments", self.instrument)
        return self

    def __exit__(self, *_):
        self._closing.set()
        if self._market.is_alive():
            self._market.join(ANSWER_SECONDS)
        self._release_the_streamer_s_lease()
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()

    def _release_the_streamer_s_lease(self):
        """The test session has one stack, a stack one streamer: the next test's would wait."""
        streamer = self._children.get("stream")
        if streamer is None or streamer.poll() is not None:
            return
        streamer.send_signal(signal.SIGTERM)
        try:
            streamer.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            sys.stderr.write("the streamer did not end: its lease ends by itself\n")

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.shift)

    # Processes.

    def environment(self):
        settings = self.settings
        names = ("project", "pubsub_endpoint", "storage_endpoint", "bigquery_endpoint",
                 "bigquery_grpc", "risk", "security_master")  # fmt: skip
        given = {f"MBATS_{n.upper()}": str(getattr(settings, n)) for n in names}
        broker = {}
        if "sim" in self._children and hasattr(self, "url"):
            broker = {
                "MBATS_OANDA_ENVIRONMENT": "sim", "MBATS_OANDA_ENDPOINT": self.url,
                "MBATS_OANDA_ACCOUNT": self.account,
            }  # fmt: skip
        home = {"MBATS_HOME": str(settings.home)}
        return {**os.environ, **given, **broker, **home}

    def command(self, *arguments):
        return [sys.executable, str(LAUNCHER), str(self.shift), *arguments]

    def start(self, name, *arguments, **environment):
        out, err = self.folder / f"{name}.out", self.folder / f"{name}.err"
        with out.open("w") as said, err.open("w") as told:
            child = subprocess.Popen(
                self.command(*arguments), env={**self.environment(), **environment},
                stdout=said, stderr=told,
            )  # fmt: skip
        self._children[name] = child
        return child

    def run(self, *arguments, seconds=PATIENCE_SECONDS):
        """Run a command to its end; return its exit code, its JSON and its errors."""
        done = subprocess.run(
            self.command(*arguments, "--json"), env=self.environment(), capture_output=True,
            text=True, timeout=seconds, check=False,
        )  # fmt: skip
        document = json.loads(done.stdout) if done.stdout.strip() else None
        return done.returncode, document, done.stderr

    def bot(self, *arguments):
        return self.start(
            "bot", "live", str(self.folder / "holding.py"), "--instruments", self.instrument,
            "--granularity", "S5", "--practice", "--until", (NOON + timedelta(hours=3)).isoformat(),
            "--limit", "price-age=30", *arguments, **self._lease,
        )  # fmt: skip

    def output(self, name, kind="out"):
        return (self.folder / f"{name}.{kind}").read_text()

    def _all_live(self):
        """Return True; fail with the last words of a process that ended: nobody waits in vain."""
        for name, child in self._children.items():
            ended = child.poll()
            assert ended is None, (
                f"{name} ended with {ended}: {self.output(name)[-1000:]}"
                f"{self.output(name, 'err')[-3000:]}"
            )
        return True

    # The broker.

    def _prices(self):
        """Return the options that say where the simulator's prices come from."""
        if self._seed is not None:
            return "--seed", str(self._seed)
        prices, first = self.folder / "prices.csv", (NOON - timedelta(seconds=5)).isoformat()
        prices.write_text(
            f"time,instrument,bid,ask\n{first},{self.instrument},{self.bid},{self.bid}5\n"
        )
        return "--prices", str(prices)

    def _steady_shift(self):
        """Return how far the broker's clock is from the wall's, once it does not catch up."""

        def shift():
            broker = datetime.fromisoformat(self.ask("/sim")["time"][:26] + "+00:00")
            return (broker - datetime.now(UTC)).total_seconds()

        before = shift()
        time.sleep(0.5)
        after = shift()
        return after if abs(after - before) < 0.1 else None

    def _quote(self):
        """Be the market: a price every 300 ms, wherever the test has moved it.

        A price that is lost is no matter: the next one comes.
        """
        with requests.Session() as api:
            while not self._closing.wait(0.3):
                body = {
                    "instrument": self.instrument, "bids": str(self.bid),
                    "asks": str(self.bid + Decimal("0.00010")),
                }  # fmt: skip
                with suppress(requests.RequestException):
                    api.post(f"{self.url}/sim/price", json=body, timeout=ANSWER_SECONDS)

    def ask(self, path):
        token = {"Authorization": "Bearer any"}
        answer = requests.get(f"{self.url}{path}", headers=token, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def cut_the_transaction_stream(self):
        """Let the stream break off in the middle of the next thing it says."""
        fault = {"kind": "transactions", "fault": "cut"}
        answer = requests.post(f"{self.url}/sim/fault", json=fault, timeout=ANSWER_SECONDS)
        answer.raise_for_status()

    def log(self):
        return self.ask("/sim/log")["transactions"]

    def positions(self):
        return self.ask(f"/v3/accounts/{self.account}/openPositions")["positions"]

    def waiting(self):
        return self.ask(f"/v3/accounts/{self.account}/pendingOrders")["orders"]

    def holds_a_bracket(self):
        return self._all_live() and len(self.positions()) == 1 and len(self.waiting()) == 2

    def flat(self):
        return not self.positions() and not self.waiting()

    # The stores.

    def state(self):
        with Desk(self.settings) as desk:
            return ControlObject(desk.objects, self.account).read()[0]

    @contextmanager
    def switch(self):
        """Yield the kill switch of the account in this process: no start of a process is waited
        for."""
        at_broker = {
            "oanda_environment": "sim", "oanda_endpoint": self.url, "oanda_account": self.account,
        }  # fmt: skip
        with Desk(self.settings.model_copy(update=at_broker)) as desk:
            yield kill_switch(desk, self.account, "test")

    def checkpoint(self):
        """Return the id of the log up to which the bot will not be told again."""
        with Desk(self.settings) as desk:
            records = ObjectJournal(desk.objects, journal_name(self.account)).records()
        return [r["book"]["cursor"] for r in records if r["record"] == "checkpoint"][-1]

    def query(self, sql):
        with Desk(self.settings) as desk:
            return desk.warehouse.query(sql.replace("{risk}", self.settings.risk))

    def fills(self):
        """Return this account's fills as the view shows them: the bus is the test session's."""
        return self.query(
            "SELECT * FROM `{risk}.v_fill` "
            f"WHERE STARTS_WITH(event_id, '{self.account}-') ORDER BY time"
        )
