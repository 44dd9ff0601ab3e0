"""The live part of `make demo`: a bot on a simulated OANDA, from price stream to fill, in seconds.

Everything is the real thing but the broker's own machine and the clock: the simulator speaks
OANDA's v20 on a socket, the bot recovers, decides, checks and trades as it would for money. It
needs no cloud service and no emulator: ticks come straight from the price stream.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from mbats.config import Settings
from mbats.live.bot import Bot
from mbats.live.control import MemoryControl
from mbats.live.events import Event
from mbats.live.inbox import Control, Inbox, Logged, LogReached, Stop
from mbats.live.orders.file_lease import FileLease
from mbats.live.orders.journal import FileJournal
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import Surroundings
from mbats.live.session import Assignment
from mbats.live.trader import Account
from mbats.live.wall_clock import elapsed
from mbats.local.oanda_sim import Running, SimConfig, serve, spec_of
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick
from mbats.strategy.loading import load_strategy
from mbats.trading.risk.context import Limits
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import connect, session
from mbats.vendors.oanda_recent import OandaRecent
from mbats.vendors.oanda_streams import PriceStream, TransactionStream

Row = dict[str, Any]


@dataclass
class Shown:
    """What the session did: its fills and denials as rows, the ticks it saw, the account's end."""

    fills: list[Row] = field(default_factory=list)
    risk_events: list[Row] = field(default_factory=list)
    ticks: int = 0
    balance: Decimal = Decimal(0)
    net_asset_value: Decimal = Decimal(0)


class _MarketHours:
    """The time, moved to a Wednesday: a demo on a weekend has a market too."""

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        now = wall()
        self._wall = wall
        self._shift = timedelta(days=(now.weekday() - 2) % 7 + 7)

    def now(self) -> datetime:
        """Return it, in UTC."""
        return self._wall() - self._shift

    def elapsed(self) -> float:
        """Return seconds that nobody sets."""
        return elapsed()


class _Rows:
    """An event sink that keeps rows for the screen."""

    unconfirmed = 0

    def __init__(self, shown: Shown, say: Callable[[Row], None]) -> None:
        self._shown = shown
        self._say = say

    def __call__(self, event: Event) -> None:
        if event.table == "fill":
            self._shown.fills.append(event.row)
            self._say(event.row)
        elif event.table == "risk_event":
            self._shown.risk_events.append(event.row)

    def flush(self) -> None:
        """Nothing waits."""


class _NoRuns:
    """The demo's own run is not recorded."""

    def start(self, row: Any) -> None:
        """Nothing to do."""

    def note(self, row: Any) -> None:
        """Nothing to do."""

    def end(self, row: Any, error: str | None) -> None:
        """Nothing to do."""


def run_demo(
    home: Path,
    *,
    seconds: float = 30.0,
    fills: int = 6,
    strategy: str = "sma_reversal",
    instrument: str = "EUR_USD",
    seed: int = 7,
    say: Callable[[Row], None] = lambda row: None,
) -> Shown:
    """Run a bot for ``seconds``, or until it has had ``fills`` fills; return what it did.

    ``say`` is given each fill's row as it happens. ``home`` holds journal and lease while it runs.
    """
    shown = Shown()
    clock = _MarketHours()
    config = SimConfig(
        seed=seed, start=clock.now(), specs=(spec_of(instrument),), annual_volatility=0.5
    )
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=_made(home))))
        simulator = opened.enter_context(serve(config))
        bot, inbox = _bot(simulator, clock, folder, strategy, instrument, shown, say, opened)
        ending = threading.Event()
        opened.callback(ending.set)
        watcher = threading.Thread(
            target=_stop_in_time, args=(inbox, shown, seconds, fills, ending), daemon=True
        )
        watcher.start()
        bot.run()
        if bot.live is not None:
            shown.balance = bot.live.trader.book.balance
            shown.net_asset_value = bot.live.trader.net_asset_value()
    return shown


def _bot(
    simulator: Running, clock: _MarketHours, folder: Path, strategy: str, instrument: str,
    shown: Shown, say: Callable[[Row], None], opened: ExitStack,
) -> tuple[Bot, Inbox]:  # fmt: skip
    account_id, inbox = simulator.account_id, Inbox()
    settings = Settings.model_validate(
        {
            "oanda_environment": "sim",
            "oanda_endpoint": simulator.url,
            "oanda_account": account_id,
        }
    )
    instruments = {instrument: spec_of(instrument).instrument}

    def put(item: Any) -> None:
        shown.ticks += isinstance(item, Tick)
        inbox.put(item if isinstance(item, Tick | Logged | LogReached) else Control(item))

    streams = [
        TransactionStream(settings, put),
        PriceStream(
            settings, [instrument], lambda item: put(item) if isinstance(item, Tick) else None
        ),
    ]

    def open_streams() -> None:
        for stream in streams:
            stream.start()
            opened.callback(stream.stop)

    reader = connect(settings)
    lease = FileLease(folder / "lease")
    opened.callback(lease.release)
    around = Surroundings(
        OandaBroker(session(settings), reader, account_id, instruments),
        FileJournal(folder / "journal"), lease, clock, time.sleep,
    )  # fmt: skip
    assignment = Assignment(
        strategy, load_strategy(strategy, {"period": "3"} if strategy == "sma_reversal" else {}),
        [instrument], Granularity.S5, "units:10000",
    )  # fmt: skip
    limits = Limits(spread_pips=None, duplicate_window=timedelta(0))
    plan = Plan(
        Account(account_id, "USD", "demo", instruments, limits), [assignment],
        clock.now() + timedelta(days=1), "demo", {"kind": "paper"},
    )  # fmt: skip
    ports = Ports(
        around, inbox, OandaRecent(connect(settings), clock), _Rows(shown, say), MemoryControl(),
        _NoRuns(), lambda why: None, open_streams, lambda table, rows: None, lambda: None,
    )  # fmt: skip
    return Bot(plan, ports), inbox


def _stop_in_time(
    inbox: Inbox, shown: Shown, seconds: float, fills: int, ending: threading.Event
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and len(shown.fills) < fills:
        if ending.wait(0.2):
            return
    inbox.put(Stop("the demo is over"))


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home
