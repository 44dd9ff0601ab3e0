"""A bot that is suspended at any question; meanwhile another takes over, or somebody flattens.

A suspension is not a kill: the sleeper wakes with its order half sent, its lease run out, and in
the belief that no time has passed. Where another process holds the account by then it must end
without a byte to the broker; where nobody came it must hold its lease again and go on; where the
account was flattened it must send no order: none at all where it slept long enough to know that it
did, else none after it heard, in a second. The journal and the lease are those of the
cloud, on files.
"""

import os
import random
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mbats.gcp.journal import ObjectJournal
from mbats.gcp.lease import RENEWALS, TTL_SECONDS, ObjectLease
from mbats.live.orders.ports import Answer
from mbats.live.store import STALL
from mbats.live.watches import CONTROL_SECONDS
from mbats.local.oanda_sim.times import SECOND
from mbats.vendors.oanda_broker import OandaBroker
from tests.faults import audit as auditor
from tests.faults import flattened, life
from tests.faults.emulated import MortalObjects
from tests.faults.flattened import FlattenedWorld
from tests.faults.folder_objects import FolderObjects
from tests.faults.seeds import Outcome, _be_the_bot, memory_folder
from tests.faults.wire import Ask, Channel, Reply
from tests.faults.world import ACCOUNT

TAKEN = 5
"""How a bot exits whose account another process has taken."""

COLLIDED = "Another process wrote record"
NEVER_COMPACTED = 10**9
SECONDS = 300
POINTS = {
    ("leave", "before"): 12, ("write", "after"): 12, ("read", "before"): 12, ("read", "after"): 12,
    ("object", "before"): 60, ("object", "after"): 60, ("objected", "before"): 60,
    ("store", "before"): 8, ("take", "after"): 200,
}  # fmt: skip
SLEEPS = ((1, 4), (6, 14), (16, 90))  # seconds: shorter than a stall, than a lease, and longer


class SleepersLease(ObjectLease):
    """The lease of a process whose renewing thread sleeps when it does."""

    def __init__(self, objects: Any, outside: life.Outside) -> None:
        super().__init__(
            objects, f"account-{ACCOUNT}", keep=False, clock=outside.elapsed, wall=outside.elapsed,
            sleep=outside.sleep,
        )  # fmt: skip

    def check(self) -> None:
        since = self._clock() - (self._since or (self._clock(), 0.0))[0]
        if TTL_SECONDS / RENEWALS <= since < TTL_SECONDS / 2:
            self.renew()
        super().check()


class SendsWhatItHad(OandaBroker):
    """Never looks a last time: what was on its way goes on when the process wakes."""

    def _order(self, request: Any) -> Answer:
        return self._send(request)


BROKERS = {"": OandaBroker, "late": SendsWhatItHad}


@dataclass
class Sleeper:
    """A forked bot, and the question it was suspended at, if it was."""

    channel: Channel
    pid: int
    said: Path
    pending: Ask | None = None
    answer: Any = None
    answered: bool = False
    code: int | None = None


class SleepingWorld(FlattenedWorld):
    """Answers bots until they are gone, or until one is suspended at a point."""

    asked_of_broker = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.flat_at = 2 * self.end_ns  # not by itself
        self.posted_at: list[datetime] = []

    def flatten(self) -> None:
        """Flatten the account: everything is closed when this returns."""
        self.flat_at = self.engine.now_ns
        self._flatten()

    def serve(self, bot: Sleeper, point: tuple[str, str, int] | None = None) -> bool:
        """Answer a bot; return whether it was suspended, and did not end before."""
        if bot.pending is not None:
            self._wake(bot)
        kind, when, left = point or ("", "", 0)
        while (ask := bot.channel.receive()) is not None:
            left -= ask.kind == kind
            if left == 0 and (ask.kind, when) == (kind, "before"):
                bot.pending, bot.answered = ask, False
                return True
            answer = self._answer(ask)
            if left == 0 and ask.kind == kind:
                bot.pending, bot.answer, bot.answered = ask, answer, True
                return True
            bot.channel.send(Reply(self.engine.now_ns, answer))
        bot.channel.close()
        bot.code = os.waitstatus_to_exitcode(os.waitpid(bot.pid, 0)[1])
        return False

    def _wake(self, bot: Sleeper) -> None:
        """Let a bot go on: its streams broke in its sleep, and what they said is lost."""
        self._listen()
        self.inbox.append(("broken", "suspended"))
        self.inbox.append(("connected", None))
        looks_at = self.engine.now_ns + int(CONTROL_SECONDS * SECOND)
        self.engine.schedule(
            looks_at, lambda: self.inbox.append(("control", self.control.read()[0]))
        )
        answer = bot.answer if bot.answered else self._answer(bot.pending)
        bot.pending = None
        bot.channel.send(Reply(self.engine.now_ns, answer))

    def _answer(self, ask: Ask | None) -> Any:
        assert ask is not None
        self.asked_of_broker += ask.kind == "write"
        if ask.kind == "write" and ask.payload[0] == "POST":
            self.posted_at.append(self.now())
        return getattr(self, f"_{ask.kind}")(ask)

    def listen(self) -> None:
        """Let a new bot hear what happens from now on."""
        self._listen()

    def _listen(self) -> None:
        self.inbox.clear()
        self._stream_from = self._prices_from = self.engine.now_ns
        self._stalled = False

    def sleep(self, seconds: float) -> None:
        """Let time pass while nobody is awake."""
        self._move(self.engine.now_ns + int(seconds * SECOND))

    def stop_in(self, seconds: float) -> None:
        """Tell the bot that is awake then to end its session."""
        at = self.engine.now_ns + int(seconds * SECOND)
        self.engine.schedule(at, lambda: self.inbox.append(("stop", "SIGTERM")))


def run_suspended(seed: int, variant: str = "", kind: str = "") -> Outcome:
    """Live through a seed: a bot sleeps, another comes or none, it wakes, and all must agree.

    ``kind`` is what it is about to do as it falls asleep; any, if it is empty.
    """
    with memory_folder() as folder:
        world = SleepingWorld(seed, rate=0.06, seconds=SECONDS)
        outcome = Outcome(seed, kills=world.kills)
        try:
            _Seed(world, folder, outcome, variant).live(kind)
            objects = FolderObjects(folder / "objects")
            records = ObjectJournal(objects, ACCOUNT).records()  # type: ignore[arg-type]
            rows, conflicts = auditor.stored_rows(folder / "events")
            outcome.problems += conflicts
            found = auditor.disagreements(world, records, rows, life.OWNERS)
            if world.closed >= 0:
                found = flattened.without_the_switch(found)
                found += [f"left in a flattened account: {what}" for what in world.left()]
            outcome.problems += found
            outcome.figures |= auditor.figures(world, records)
        except Exception:  # noqa: BLE001 - whatever the seed trips over is a finding
            outcome.problems.append(traceback.format_exc())
        return outcome


class _Seed:
    """One seed's story: who sleeps where, for how long, and who comes meanwhile."""

    def __init__(self, world: SleepingWorld, folder: Path, outcome: Outcome, variant: str) -> None:
        self._world = world
        self._folder = folder
        self._outcome = outcome
        self._variant = variant
        self._dice = random.Random(f"suspended/{world.seed}")

    def live(self, wanted: str = "") -> None:
        dice, world = self._dice, self._world
        kind, when = dice.choice(sorted(p for p in POINTS if wanted in ("", p[0])))
        # The first object is the lease itself: who sleeps before that has nothing to lose.
        point = (kind, when, max(dice.randint(1, POINTS[kind, when]), 2 if kind == "object" else 1))
        low, high = dice.choice(SLEEPS)
        sleeper = self._bot(0, self._variant)
        slept = world.serve(sleeper, point)
        self._outcome.figures |= {"slept": int(slept), "taken": 0, "went_on": 0, "flattened": 0}
        if slept:
            fell_asleep = world.now()
            world.sleep(dice.uniform(low, high))
            roll = dice.random()
            if roll < 0.5:
                self._taken_over(sleeper)
            elif roll < 0.75:
                self._flattened(sleeper, fell_asleep)
            else:
                world.serve(sleeper)
                self._outcome.figures["went_on"] = 1
                self._require(sleeper, 0)
        else:
            self._require(sleeper, 0)
        world.quiet = True
        last = self._bot(2)
        world.serve(last)
        self._require(last, 0)

    def _taken_over(self, sleeper: Sleeper) -> None:
        """Let another bot trade; wake the first while that one still does, or when it has ended."""
        dice, world = self._dice, self._world
        other = self._bot(1)
        if dice.random() < 0.5:
            world.stop_in(dice.uniform(40, 80))
            world.serve(other)
        elif not world.serve(other, ("take", "after", dice.randint(20, 120))):
            self._require(other, 0)
        before = world.asked_of_broker
        world.serve(sleeper)
        self._outcome.figures["taken"] = 1
        self._require(sleeper, TAKEN)
        sent = world.asked_of_broker - before
        if sent:
            self._outcome.problems.append(f"it sent {sent} requests after it was taken over")
        if other.pending is not None:
            world.serve(other)
        if other.code == TAKEN and COLLIDED in other.said.read_text():
            # The sleeper was writing to the journal. Nobody may go on then; the next start does.
            self._outcome.figures["collided"] = 1
        else:
            self._require(other, 0)

    def _flattened(self, sleeper: Sleeper, fell_asleep: datetime) -> None:
        """Flatten the account, let a while pass, then wake the bot: it has no order to send."""
        world = self._world
        world.flatten()
        world.sleep(self._dice.uniform(0, 5))
        knows = world.now() - fell_asleep > STALL + timedelta(seconds=CONTROL_SECONDS)
        last = world.now() + (timedelta(0) if knows else flattened.OBEYED)
        world.serve(sleeper)
        self._outcome.figures["flattened"] = 1
        self._require(sleeper, 0)
        sent = sum(at >= last for at in world.posted_at)
        if sent:
            self._outcome.problems.append(f"it sent {sent} orders after it was flattened")

    def _bot(self, number: int, variant: str = "") -> Sleeper:
        ours, theirs = socket.socketpair()
        said = self._folder / f"said-{number}"
        self._world.listen()
        pid = os.fork()
        if pid == 0:
            ours.close()
            be: Callable[[Channel], object] = partial(
                _live, folder=self._folder, seed=self._world.seed, number=number, variant=variant
            )
            _be_the_bot(Channel(theirs), be, said)
        theirs.close()
        return Sleeper(Channel(ours), pid, said)

    def _require(self, bot: Sleeper, code: int) -> None:
        if bot.code != code:
            said = bot.said.read_text() if bot.said.exists() else "it said nothing"
            self._outcome.problems.append(f"exit code {bot.code}, not {code}: {said}")


def _live(channel: Channel, folder: Path, seed: int, number: int, variant: str) -> None:
    outside = life.Outside(channel)
    objects: Any = MortalObjects(FolderObjects(folder / "objects"), outside)  # type: ignore[arg-type]
    lease = SleepersLease(objects, outside)
    lease.acquire(wait_s=120)
    journal = ObjectJournal(objects, ACCOUNT, worth=NEVER_COMPACTED)
    stores = life.Stores(
        journal, life.MortalEvents(folder / "events", outside), lease,
        control=flattened.AskedControl(outside), flatten=partial(flattened.close_all, outside),
    )  # fmt: skip
    duty = life.Duty(f"run-{number}", life.restless(seed), life.FOR_EVER)
    try:
        life.trade(outside, stores, duty, BROKERS[variant])
    finally:
        lease.release()
