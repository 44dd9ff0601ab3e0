"""A trading week in minutes: one bot from Sunday to Friday, through edges, cuts and restarts.

Market time runs as fast as the processor allows: whenever nothing is due, the world moves on to
what is. The bot is a forked process, so that its memory is its own.
"""

import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mbats.live.orders.file_lease import FileLease
from mbats.live.session import Assignment
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.sources import RandomWalk
from mbats.local.oanda_sim.times import SECOND, from_datetime
from mbats.market.granularity import Granularity
from mbats.strategy.loading import LoadedStrategy, load_strategy
from mbats.trading.risk.context import Limits
from tests.faults.life import Duty, Inbox, MortalEvents, MortalJournal, Outside, Stores, trade
from tests.faults.seeds import one_life
from tests.faults.wire import Ask, Channel
from tests.faults.world import World

OPENS = datetime(2026, 11, 22, 22, tzinfo=UTC)
CLOSES = datetime(2026, 11, 27, 22, tzinfo=UTC)
"""Sunday and Friday, 17:00 New York: 120 hours with four rollovers between."""

EARLY = timedelta(minutes=10)  # how long before its first price the bot is there
DOWN_SECONDS = 90
SAMPLE = timedelta(hours=1)
WARM_UP_BARS = 500
LIMITS = Limits(price_age=timedelta(minutes=2), drawdown=None)
TRADED: Mapping[str, tuple[Sequence[str], Granularity, Mapping[str, Any]]] = {
    "sma_reversal": (("EUR_USD", "GBP_USD"), Granularity.M1, {"period": 30}),
    "rsi_stochastic": (("USD_JPY", "AUD_USD"), Granularity.M5, {}),
}
OWNERS = {name: strategy for strategy, (names, *_) in TRADED.items() for name in names}


@dataclass(frozen=True)
class Script:
    """One accelerated session. ``restarts`` say when, and whether by SIGKILL.

    ``step_ms`` is the grid of prices: at every step about half the instruments have one.
    """

    seed: int = 1
    opens: datetime = OPENS
    closes: datetime = CLOSES
    step_ms: int = 5_000
    restarts: Sequence[tuple[datetime, bool]] = (
        (OPENS + timedelta(hours=7, minutes=13, seconds=31), True),
        (OPENS + timedelta(hours=23, minutes=58, seconds=40), False),  # over the first rollover
    )
    leaks: bool = False


class WeekWorld(World):
    """The market of a script, and what becomes of the bot's lives in it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.dies_at: int | None = None
        start = script.opens - EARLY
        seconds = int((script.closes - start).total_seconds()) + 60
        super().__init__(
            script.seed, seconds, rate=0.01, start=start, names=tuple(OWNERS), breaks=0.0005
        )
        self.quotes = list(self.ticks)
        self.cuts = self.stream_cuts = 0
        self.restarts = [(from_datetime(at), kills) for at, kills in script.restarts]

    def _market(self) -> list[Quote]:
        specs = list(self.engine.market.specs.values())
        walk = RandomWalk(
            specs, self.seed, self.engine.now_ns, self.script.step_ms, 0.08, daily_break=True
        )
        made = []
        while (quote := walk.take()).time_ns < self.end_ns:
            made.append(quote)
        return made

    def live(self, channel: Channel, pid: int, *, may_kill: bool) -> None:
        """Answer one bot until it is gone, then let a while pass."""
        self.dies_at = None
        if self.restarts:
            at, kills = self.restarts.pop(0)
            if kills:
                self.dies_at = at
            else:
                self.engine.schedule(at, lambda: self.inbox.append(("stop", "SIGTERM")))
        super().live(channel, pid, may_kill=False)
        self._move(self.engine.now_ns + DOWN_SECONDS * SECOND)

    def _struck(self, kind: str, when: str) -> bool:
        return when == "after" and self.dies_at is not None and self.engine.now_ns >= self.dies_at

    def _lost_prices(self, at: int) -> bool:
        lost = super()._lost_prices(at)
        self.cuts += lost
        return lost

    def _break(self, reason: str) -> None:
        self.stream_cuts += 1
        super()._break(reason)

    def _take(self, ask: Ask) -> Any:
        """Return what is next, and whether that is all there is at this instant."""
        return super()._take(ask), not self.inbox


class WeekInbox(Inbox):
    """Asks only when the world may have something; looks at the memory every few hours."""

    memory: Path
    leaks = False

    def __init__(self, outside: Outside, stream: Any, put: list[Any]) -> None:
        super().__init__(outside, stream, put)
        self._empty_at: int | None = None
        self._sample_at = outside.now() + SAMPLE
        self._leaked: list[Any] = []

    def take(self, timeout: float) -> Any:
        """Return the next item; the world is spared the question where it has just said so."""
        if not self._put and not (timeout == 0 and self._outside.asked == self._empty_at):
            found, was_all = self._outside.ask("take", timeout)
            self._empty_at = self._outside.asked if was_all else None
            if found is not None:
                self._understand(*found)
            self._look_at_memory()
        if self.leaks and self._put:
            self._leaked.append((self._outside.now(), len(self._put)))
        return self._put.pop(0) if self._put else None

    def _look_at_memory(self) -> None:
        now = self._outside.now()
        if now < self._sample_at:
            return
        self._sample_at = now + SAMPLE
        gc.collect()
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        sample = {
            "time": now.isoformat(),
            "process": os.getpid(),
            "blocks": sys.getallocatedblocks(),
            "resident_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        }
        with self.memory.open("a") as file:
            file.write(json.dumps(sample) + "\n")


class WrittenRuns:
    """The runs of all lives, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, row: Mapping[str, Any]) -> None:
        self._write(row)

    def note(self, row: Mapping[str, Any]) -> None:
        self._write(row)

    def end(self, row: Mapping[str, Any], error: str | None) -> None:
        self._write({**row, "error": error})

    def _write(self, row: Mapping[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(dict(row), default=str) + "\n")


class WrittenRows:
    """The rows of all lives that no topic carries, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        with self._path.open("a") as file:
            file.writelines(json.dumps([table, dict(row)], default=str) + "\n" for row in rows)


def run_week(script: Script, folder: Path) -> tuple[WeekWorld, list[str]]:
    """Live through a script; return its world, and what each life that ended badly said."""
    world, badly = WeekWorld(script), []
    for number in range(len(script.restarts) + 1):
        be = partial(_be, script=script, folder=folder, life=number)
        said = one_life(world, folder / f"said-{number}", be, may_kill=False)
        if said:
            badly.append(f"life {number}: {said}")
            break
    return world, badly


def _be(channel: Channel, *, script: Script, folder: Path, life: int) -> None:
    outside = Outside(channel)
    WeekInbox.memory, WeekInbox.leaks = folder / "memory", script.leaks
    lease = FileLease(folder / "lease")
    stores = Stores(
        MortalJournal(folder / "journal", outside),
        MortalEvents(folder / "events", outside),
        lease,
        WrittenRuns(folder / "runs"),
        WrittenRows(folder / "rows"),
    )
    duty = Duty(f"run-{life}", assignments(), script.closes, LIMITS, WARM_UP_BARS)
    trade(outside, stores, duty, make_inbox=WeekInbox)
    lease.release()


def assignments() -> list[Assignment]:
    """Return what the week's bot trades."""
    return [
        Assignment(name, loaded(name), list(instruments), granularity)
        for name, (instruments, granularity, _) in TRADED.items()
    ]


def loaded(name: str) -> LoadedStrategy:
    """Return one of the week's strategies with its parameters."""
    return load_strategy(name, {k: str(v) for k, v in TRADED[name][2].items()})
