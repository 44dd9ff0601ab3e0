"""A paper account: the simulator inside the bot's process, fed with the live prices.

So paper, practice and live run the very same code down to the request, and there is no second way
in which fills are simulated. The account survives restarts in a file under the desk's home.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from mbats.config import Settings
from mbats.errors import DataError, RefusedError
from mbats.local.oanda_sim import AccountSpec, Quote, Replay, Running, SimConfig, serve, spec_of
from mbats.local.oanda_sim.config import with_conversions
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.times import MICRO, from_datetime
from mbats.market.tick import Tick

log = logging.getLogger(__name__)

FOLDER = "paper"
PREFIX = "000-"  # OANDA numbers its sites from 001
FIRST_ACCOUNT = "000-001-0000001-001"
STEP_SECONDS = 0.1

LEAD = timedelta(seconds=5)
"""How far an account may be ahead of the machine: the broker that stamps prices has its own clock.

A broker's time never goes back. An account further ahead stands still until the machine is there.
"""


def is_paper(account: str) -> bool:
    """Tell whether an account is one of paper, by its name."""
    return account.startswith(PREFIX)


def at_broker(settings: Settings, account: str) -> Settings:
    """Return the settings that lead to the broker of ``account``: for paper, its simulator.

    Raises :class:`DataError` where a paper account's bot does not run: it has no broker then.
    """
    if not is_paper(account):
        return settings.model_copy(update={"oanda_account": account})
    where = _address_file(settings.home, account)
    try:
        address = json.loads(where.read_text())
        os.kill(address["pid"], 0)
    except (OSError, ValueError, LookupError) as error:
        raise DataError(
            f"The bot of paper account {account} does not run: nothing can be asked or closed.",
            tried=[str(where)],
            mend="`mbats halt` works without it",
        ) from error
    return _pointed(settings, account, address["url"])


def tick_instruments(instruments: Sequence[str], currency: str) -> list[str]:
    """Return what prices are needed to trade ``instruments`` in an account of ``currency``."""
    return with_conversions(list(instruments), currency)


class PaperAccount:
    """A running paper account: :meth:`price` gives it the market, ``settings`` lead to it."""

    def __init__(self, running: Running, settings: Settings, now: Callable[[], datetime]) -> None:
        self._running = running
        self._now = now
        self.settings = settings

    def price(self, tick: Tick) -> None:
        """Let the market move to a tick; one without both sides moves nothing.

        A tick of the future is a price of now: it must not take the account's clock with it.
        """
        if tick.bid is None or tick.ask is None:
            return
        bid, ask = tick.bid, tick.ask
        stamped = min(tick.time, self._now() + LEAD)

        def move(engine: Engine) -> None:
            spec = engine.market.specs.get(tick.instrument)
            if spec is None:
                return
            at = max(from_datetime(stamped), engine.now_ns)
            engine.advance(at)
            points = [int(side.scaleb(spec.precision)) for side in (bid, ask)]
            engine.put_price(
                Quote(tick.instrument, at, points[0], points[1], spec.precision, tick.tradeable)
            )

        self._running.call(move)


@contextmanager
def paper_account(
    settings: Settings,
    account: str,
    instruments: Sequence[str],
    balance: Decimal = Decimal(100_000),
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[PaperAccount]:
    """Run a paper account until the block ends; it goes on from where it was left.

    Raises :class:`RefusedError` where that is ahead of ``now``: it would stand still till then.
    """
    folder = settings.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    spec = AccountSpec(id=account, currency=settings.account_currency, balance=balance)
    config = SimConfig(
        speed=0,
        start=now(),
        specs=tuple(spec_of(n) for n in with_conversions(list(instruments), spec.currency)),
        accounts=(spec,),
        history_days=0,
        state_file=folder / f"{account}.log",
    )
    # An order is filled at the time it comes, not at the pacer's last step before it.
    with serve(config, source=Replay([]), clock=lambda: from_datetime(now())) as running:
        _require_past(running, account, now())
        running.call(lambda engine: engine.advance(from_datetime(now())))
        where = _address_file(settings.home, account)
        where.write_text(json.dumps({"url": running.url, "pid": os.getpid()}))
        ending = threading.Event()
        pacer = threading.Thread(target=_keep_time, args=(running, now, ending), daemon=True)
        pacer.start()
        try:
            yield PaperAccount(running, _pointed(settings, account, running.url), now)
        finally:
            ending.set()
            pacer.join()
            where.unlink(missing_ok=True)


def _require_past(running: Running, account: str, now: datetime) -> None:
    ahead = running.call(lambda engine: _ahead(engine, now))
    if ahead <= LEAD:
        return
    file = running.server.engine.config.state_file
    raise RefusedError(
        f"Paper account {account} was left at {now + ahead:%Y-%m-%d %H:%M:%S}, {ahead} ahead of "
        "this machine's clock: until then it would stand still.",
        tried=[str(file), f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC"],
        mend="set the machine's clock right, if it was set back; or wait; or, to begin the account "
        f"anew, move {file} away",
    )


def _ahead(engine: Engine, now: datetime) -> timedelta:
    return timedelta(microseconds=(engine.now_ns - from_datetime(now)) // MICRO)


def _keep_time(running: Running, now: Callable[[], datetime], ending: threading.Event) -> None:
    """Take the account's time on with the machine's; say so, once, where that was set back."""
    stands = False
    while not ending.wait(STEP_SECONDS):
        at = now()
        ahead = _moved_to(running, at)
        if ahead > LEAD and not stands:
            log.error(
                "the machine's clock was set back: the paper account stands still for %s, until "
                "%s; set the clock right",
                ahead,
                f"{at + ahead:%Y-%m-%d %H:%M:%S}",
            )
        stands = ahead > LEAD


def _moved_to(running: Running, now: datetime) -> timedelta:
    """Take the account's time on to ``now``; return how far it is ahead of it."""

    def move(engine: Engine) -> timedelta:
        engine.advance(from_datetime(now))
        return _ahead(engine, now)

    return running.call(move)


def _pointed(settings: Settings, account: str, url: str) -> Settings:
    changes: dict[str, Any] = {
        "oanda_environment": "sim",
        "oanda_endpoint": url,
        "oanda_account": account,
        "oanda_token": None,
        "oanda_kill_token": None,
    }
    return settings.model_copy(update=changes)


def _address_file(home: Path, account: str) -> Path:
    return home / FOLDER / f"{account}.json"
