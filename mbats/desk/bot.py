"""The composition root of bots: opens everything a session needs, runs it, closes everything."""

import logging
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mbats.config import Settings
from mbats.desk.stores import Desk
from mbats.desk.switch import journal_name, kill_switch
from mbats.errors import ConfigError, MbatsError
from mbats.gcp.control import ControlObject
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.lease import ObjectLease
from mbats.gcp.live_runs import LiveRuns, RowWriter
from mbats.gcp.publisher import EventPublisher, Publisher
from mbats.gcp.tickbus import TickSubscription
from mbats.live.bot import Bot, Continued, Plan, Ports, Suspending, Unseen
from mbats.live.control import ControlStore
from mbats.live.inbox import Control, Inbox, Stop
from mbats.live.mode import Mode, banner, require_mode
from mbats.live.recovery import Surroundings
from mbats.live.session import Assignment
from mbats.live.trader import Account
from mbats.live.wall_clock import WallClock
from mbats.local.paper import is_paper, paper_account, tick_instruments
from mbats.market.instrument import Instrument
from mbats.market.tick import Tick
from mbats.trading.risk.context import Limits
from mbats.vendors.oanda import OandaVendor
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import Backoff, OandaReader, session
from mbats.vendors.oanda_recent import OandaRecent
from mbats.vendors.oanda_streams import TransactionStream

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
LEASE_WAIT_SECONDS = 60.0
WATCH_SECONDS = 1.0
_READS = Backoff(attempts=3, first_s=0.2, longest_s=1.0)  # the bot itself asks again each second

Put = Callable[[Any], None]


@dataclass(frozen=True)
class Session:
    """What `mbats live` was asked for."""

    mode: Mode
    account: str
    assignments: Sequence[Assignment]
    limits: Limits
    until: datetime
    armed: bool = False


class ControlWatch(threading.Thread):
    """Looks at the trading state every second, so that no message need arrive."""

    def __init__(self, store: ControlStore, put: Put, every_seconds: float = WATCH_SECONDS) -> None:
        super().__init__(name="control", daemon=True)
        self._store = store
        self._put = put
        self._every_seconds = every_seconds
        self._ending = threading.Event()
        self._unseen_since: datetime | None = None

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._ending.wait(self._every_seconds):
            try:
                self._put(Control(self._store.read()[0]))
                self._unseen_since = None
            except (MbatsError, OSError) as error:
                self._unseen_since = self._unseen_since or WallClock().now()
                self._put(Control(Unseen(self._unseen_since, str(error))))

    def stop(self) -> None:
        """End at once."""
        self._ending.set()


def run_session(settings: Settings, asked: Session, say: Callable[[str], None]) -> str:
    """Run one session from its recovery to its end; return its run id.

    ``say`` is given the banner. Raises :class:`RefusedError` where the mode is not allowed, the
    lease is held or the account does not reconcile, and whatever stops the bot.
    """
    require_mode(settings, asked.mode, asked.account, armed=asked.armed)
    _require_account_of_mode(asked)
    with ExitStack() as opened:
        desk = opened.enter_context(Desk(settings))
        names = sorted({name for a in asked.assignments for name in a.instruments})
        priced = tick_instruments(names, settings.account_currency)
        inbox = Inbox()
        at_broker = settings.model_copy(update={"oanda_account": asked.account})
        market: Put = inbox.put
        if asked.mode is Mode.PAPER:
            paper = opened.enter_context(paper_account(settings, asked.account, names))
            at_broker, market = paper.settings, _priced(paper.price, inbox.put)
        say(banner(asked.mode, asked.account, _where(at_broker)))
        lease = ObjectLease(desk.objects, f"account-{asked.account}")
        lease.acquire(wait_s=LEASE_WAIT_SECONDS)
        opened.callback(lease.release)
        bot = _bot(settings, at_broker, asked, desk, lease, inbox, market, priced, opened)
        _take_signals(inbox.put, opened)
        bot.run()
        return bot.run_id


def _bot(
    settings: Settings, at_broker: Settings, asked: Session, desk: Desk, lease: ObjectLease,
    inbox: Inbox, market: Put, priced: Sequence[str], opened: ExitStack,
) -> Bot:  # fmt: skip
    clock = WallClock()
    api = session(at_broker, ANSWER_SECONDS)
    reader = OandaReader(api, address=_where(at_broker), backoff=_READS)
    instruments = _instruments(at_broker, priced)
    control = ControlObject(desk.objects, asked.account)
    publisher = Publisher(settings)
    opened.callback(publisher.close)
    rows = RowWriter(desk.warehouse)
    rows.start()
    opened.callback(rows.close)
    stream = TransactionStream(at_broker, _told(inbox.put))
    ticks = TickSubscription(settings, f"bot-{asked.account}", priced, market)
    watch = ControlWatch(control, inbox.put)
    run_id = f"{asked.mode}-{clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    switch = kill_switch(desk, asked.account, f"bot {run_id}")

    def open_streams() -> None:
        for thread in (stream, ticks, watch):
            thread.start()
            opened.callback(thread.stop)

    prices_at = settings if asked.mode is Mode.PAPER else at_broker
    source_api = session(prices_at, ANSWER_SECONDS)
    source = OandaReader(source_api, address=_where(prices_at), backoff=_READS)
    journal = ObjectJournal(desk.objects, journal_name(asked.account))
    account = Account(asked.account, settings.account_currency, run_id, instruments, asked.limits)
    return Bot(
        Plan(account, asked.assignments, asked.until, run_id, _row(asked, settings)),
        Ports(
            around=Surroundings(
                OandaBroker(api, reader, asked.account, instruments), journal, lease, clock,
                time.sleep,
            ),
            inbox=inbox,
            source=OandaRecent(source, clock),
            events=EventPublisher(publisher),
            control=control,
            runs=LiveRuns(desk.warehouse),
            flatten=lambda why: _flatten(switch, why),
            open_stream=open_streams,
            rows=rows,
            suspend=lambda: os.kill(os.getpid(), signal.SIGSTOP),
        ),
    )  # fmt: skip


def _flatten(switch: Any, why: str) -> None:
    """Close everything; what is left is told, and the desk stays halted either way."""
    try:
        switch.flatten(why, timedelta(seconds=20))
    except MbatsError as error:
        log.critical("flattening: %s", error)


def _instruments(settings: Settings, wanted: Sequence[str]) -> dict[str, Instrument]:
    listed = {one.name: one for one in OandaVendor(settings).instruments()}
    unknown = [name for name in wanted if name not in listed]
    if unknown:
        raise ConfigError(
            f"Account {settings.oanda_account} has no instrument {unknown[0]}.",
            tried=sorted(listed)[:20],
            mend="trade one that the broker lists",
        )
    return {name: listed[name] for name in wanted}


def _priced(price: Callable[[Tick], None], put: Put) -> Put:
    """Return a put that shows the paper account every price before the bot sees it."""

    def both(item: Any) -> None:
        if isinstance(item, Tick):
            price(item)
        put(item)

    return both


def _told(put: Put) -> Put:
    """Return a put for the transaction stream: how the stream does is a control message."""
    from mbats.live.inbox import Logged, LogReached

    return lambda item: put(item if isinstance(item, Logged | LogReached) else Control(item))


def _take_signals(put: Put, opened: ExitStack) -> None:
    """Turn signals into items: SIGTERM and SIGINT stop, SIGTSTP suspends, SIGCONT goes on."""
    meanings: dict[signal.Signals, Callable[[], Any]] = {
        signal.SIGTERM: lambda: Stop("SIGTERM"),
        signal.SIGINT: lambda: Stop("SIGINT"),
        signal.SIGTSTP: lambda: Control(Suspending()),
        signal.SIGCONT: lambda: Control(Continued()),
    }
    for number, make in meanings.items():
        before = signal.signal(number, lambda *_, make=make: put(make()))
        opened.callback(signal.signal, number, before)


def _require_account_of_mode(asked: Session) -> None:
    if is_paper(asked.account) != (asked.mode is Mode.PAPER):
        raise ConfigError(
            f"Account {asked.account} is not one of --{asked.mode}.",
            mend="paper accounts, and only they, begin with 000-",
        )


def _where(settings: Settings) -> str:
    if settings.oanda_environment == "sim":
        return f"OANDA simulator at {settings.oanda_endpoint}"
    return f"OANDA {settings.oanda_environment}"


def _row(asked: Session, settings: Settings) -> dict[str, Any]:
    return {
        "kind": str(asked.mode),
        "strategy": "+".join(a.name for a in asked.assignments),
        "parameters": {a.name: dict(a.loaded.parameters) for a in asked.assignments},
        "instruments": sorted({name for a in asked.assignments for name in a.instruments}),
        "granularity": ",".join(sorted({a.granularity.value for a in asked.assignments})),
        "vendor": "oanda",
        "assumptions": {
            "mode": asked.mode.upper(),
            "environment": settings.oanda_environment,
            "sizer": {a.name: a.sizer for a in asked.assignments},
            "traded": {a.name: list(a.instruments) for a in asked.assignments},
            "strategy_file": {a.name: a.loaded.file_hash for a in asked.assignments},
            "limits": {k: None if v is None else str(v) for k, v in vars(asked.limits).items()},
        },
        "git_sha": _git_sha(),
    }


def _git_sha() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
