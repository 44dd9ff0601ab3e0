"""The composition root of bots: opens everything a session needs, runs it, closes everything."""

import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from mbats.backtest.provenance import git_sha, image_digest
from mbats.config import Settings
from mbats.desk.reconcile import proven_book
from mbats.desk.stores import Desk
from mbats.desk.switch import journal_name, kill_switch
from mbats.errors import ConfigError, MbatsError
from mbats.gcp.control import ControlObject
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.lease import ObjectLease
from mbats.gcp.live_runs import LiveRuns, RowWriter
from mbats.gcp.publisher import EventPublisher, Publisher
from mbats.gcp.tickbus import TickSubscription
from mbats.live.bot import Bot
from mbats.live.heap import start_up_set_apart
from mbats.live.inbox import Continued, Control, Inbox, Logged, LogReached, Stop, Suspending
from mbats.live.mode import Mode, banner, require_mode
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import Surroundings
from mbats.live.session import Assignment
from mbats.live.trader import Account
from mbats.live.wall_clock import WallClock
from mbats.live.watches import AccountWatch, ControlWatch
from mbats.local.paper import is_paper, paper_account, tick_instruments
from mbats.market.instrument import Instrument
from mbats.market.tick import Tick
from mbats.trading.risk.context import Limits
from mbats.vendors.oanda import OandaVendor
from mbats.vendors.oanda_broker import OandaBroker
from mbats.vendors.oanda_client import Backoff, OandaReader, session
from mbats.vendors.oanda_gate import Gate
from mbats.vendors.oanda_recent import OandaRecent
from mbats.vendors.oanda_streams import TransactionStream

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
LEASE_WAIT_SECONDS = 60.0
FLUSH_SECONDS = 2.0
"""How long a checkpoint waits for events: the bot has limits to watch, and tries again."""

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


def run_session(settings: Settings, asked: Session, say: Callable[[str], None]) -> str:
    """Run one session from its recovery to its end; return its run id.

    ``say`` is given the banner. Raises :class:`RefusedError` where the mode is not allowed, the
    lease is held or the account does not reconcile, and whatever stops the bot.
    """
    require_mode(settings, asked.mode, asked.account, armed=asked.armed)
    _require_account_of_mode(asked)
    with ExitStack() as opened:
        parts = _Parts(settings, asked, opened)
        say(banner(asked.mode, asked.account, _where(parts.at_broker)))
        parts.lease.acquire(wait_s=LEASE_WAIT_SECONDS)
        opened.callback(parts.lease.release)
        bot = Bot(parts.plan(), parts.ports())
        _take_signals(parts.inbox, opened)
        opened.enter_context(start_up_set_apart())
        bot.run()
        return bot.run_id


class _Parts:
    """What one session is made of; what is opened is closed by ``opened``, in reverse order."""

    def __init__(self, settings: Settings, asked: Session, opened: ExitStack) -> None:
        self._settings = settings
        self._asked = asked
        self._opened = opened
        self._desk = opened.enter_context(Desk(settings))
        self._clock = WallClock()
        self._run_id = f"{asked.mode}-{self._clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        names = sorted({name for a in asked.assignments for name in a.instruments})
        self._priced = tick_instruments(names, settings.account_currency)
        self.inbox = Inbox()
        self.at_broker = settings.model_copy(update={"oanda_account": asked.account})
        self._market: Put = self.inbox.put
        if asked.mode is Mode.PAPER:
            paper = opened.enter_context(
                paper_account(settings, asked.account, names, now=self._clock.now)
            )
            self.at_broker = paper.settings
            self._market = _priced(paper.price, self.inbox.put)
        self.lease = ObjectLease(self._desk.objects, f"account-{asked.account}")

    @cached_property
    def _instruments(self) -> dict[str, Instrument]:
        return _instruments(self.at_broker, self._priced)

    @cached_property
    def _control(self) -> ControlObject:
        return ControlObject(self._desk.objects, self._asked.account)

    def plan(self) -> Plan:
        """Return what the session is to do."""
        asked, settings = self._asked, self._settings
        account = Account(
            asked.account, settings.account_currency, self._run_id, self._instruments, asked.limits
        )
        return Plan(
            account,
            asked.assignments,
            asked.until,
            self._run_id,
            _row(asked, settings),
            settings.bot_name,
        )

    def ports(self) -> Ports:
        """Open everything that the session needs around it."""
        publisher = Publisher(self._settings, patience_s=FLUSH_SECONDS)
        self._opened.callback(publisher.close)
        rows = RowWriter(self._desk.warehouse)
        rows.start()
        self._opened.callback(rows.close)
        switch = kill_switch(self._desk, self._asked.account, f"bot {self._run_id}")
        return Ports(
            around=self._around(),
            inbox=self.inbox,
            source=self._past(),
            events=EventPublisher(publisher),
            control=self._control,
            runs=LiveRuns(self._desk.warehouse),
            flatten=lambda why: _flatten(switch, why),
            open_stream=self._streams(),
            rows=rows,
            suspend=lambda: os.kill(os.getpid(), signal.SIGSTOP),
        )

    def _around(self) -> Surroundings:
        return Surroundings(
            self._broker(),
            ObjectJournal(self._desk.objects, journal_name(self._asked.account)),
            self.lease, self._clock, time.sleep,
            proven=partial(proven_book, self._desk, self._asked.account),
        )  # fmt: skip

    def _broker(self) -> OandaBroker:
        """Return the broker on connections of its own: one for each thread."""
        api, gate = session(self.at_broker, ANSWER_SECONDS), Gate()
        gate.watch(api.client)
        reader = OandaReader(api, address=_where(self.at_broker), backoff=_READS)
        return OandaBroker(api, reader, self._asked.account, self._instruments, gate)

    def _past(self) -> OandaRecent:
        """Return where past bars come from: the market's own, on paper too."""
        prices_at = self._settings if self._asked.mode is Mode.PAPER else self.at_broker
        api = session(prices_at, ANSWER_SECONDS)
        return OandaRecent(OandaReader(api, address=_where(prices_at), backoff=_READS), self._clock)

    def _streams(self) -> Callable[[], None]:
        """Return what begins to listen to the broker, to prices and to the kill switch."""
        put = self.inbox.put
        threads = (
            TransactionStream(self.at_broker, _told(put)),
            tick_subscription(self._settings, self._asked.account, self._priced, self._market),
            ControlWatch(self._control, put, self._clock),
            AccountWatch(self._broker().state, put),
        )

        def start() -> None:
            for thread in threads:
                thread.start()
                self._opened.callback(thread.stop)

        return start


def tick_subscription(
    settings: Settings, account: str, instruments: Sequence[str], put: Put
) -> TickSubscription:
    """Return a bot's subscription: the one made for it where it has a name, else its own."""
    name = f"{settings.bot_name or f'bot-{account}'}-ticks"
    return TickSubscription(settings, name, instruments, put, create=not settings.bot_name)


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
    return lambda item: put(item if isinstance(item, Logged | LogReached) else Control(item))


def _take_signals(inbox: Inbox, opened: ExitStack) -> None:
    """Turn signals into items: SIGTERM and SIGINT stop, SIGTSTP suspends, SIGCONT goes on.

    A process that was stopped finds ticks of meanwhile waiting, and bars to decide on. It must look
    at the trading state before it looks at them: the kill switch may have been used.
    """
    meanings: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: lambda: inbox.put(Stop("SIGTERM")),
        signal.SIGINT: lambda: inbox.put(Stop("SIGINT")),
        signal.SIGTSTP: lambda: inbox.put(Control(Suspending())),
        signal.SIGCONT: lambda: inbox.put_first(Control(Continued())),
    }
    for number, act in meanings.items():
        before = signal.signal(number, lambda *_, act=act: act())
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
        "git_sha": git_sha(),
        "image_digest": image_digest(),
    }
