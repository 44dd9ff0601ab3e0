"""One seed from beginning to end: lives, kills, a quiet last life, the audit."""

import faulthandler
import logging
import os
import shutil
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas  # noqa: F401 - pyarrow imports it late: once here, not once a life

from tests.faults import audit as auditor
from tests.faults import life
from tests.faults.wire import Channel
from tests.faults.world import World

_SHOT = -9


@dataclass
class Outcome:
    seed: int
    problems: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)


def run_seed(seed: int, variant: str = "", *, rate: float = 0.12, lives: int = 6) -> Outcome:
    """Live through a seed and return what does not agree at its end."""
    with memory_folder() as folder:
        world = World(seed, rate=rate, lives=lives)
        outcome = Outcome(seed, kills=world.kills)

        def bot(number: int) -> Callable[[Channel], object]:
            return partial(life.live, folder=folder, seed=seed, life=number, variant=variant)

        live_through(world, folder, outcome, bot)
        try:
            outcome.problems += auditor.audit(world, folder, life.OWNERS)
            outcome.figures = auditor.figures(world, auditor.journaled(folder))
        except Exception:  # noqa: BLE001 - whatever the audit trips over is a finding
            outcome.problems.append(traceback.format_exc())
        return outcome


def live_through(
    world: World, folder: Path, outcome: Outcome, bot: Callable[[int], Callable[[Channel], object]]
) -> None:
    """Live the lives of a world: some that are killed, one that is not, and one without faults.

    ``bot`` makes the bot of a life.
    """
    for number in range(world.lives + 2):
        last = number == world.lives + 1
        world.quiet = last
        said = one_life(
            world, folder / f"said-{number}", bot(number), may_kill=number < world.lives
        )
        if said:
            outcome.problems.append(f"life {number}: {said}")
            return
        if not last:
            world.pause()


def one_life(world: World, said: Path, be: Callable[[Channel], object], *, may_kill: bool) -> str:
    """Fork a bot and answer it until it ends; return why it ended badly, or an empty text.

    ``be`` is the bot; what it dies of is written to ``said``.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_the_bot(Channel(theirs), be, said)
    theirs.close()
    channel = Channel(ours)
    try:
        world.live(channel, pid, may_kill=may_kill)
    finally:
        channel.close()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code in (0, _SHOT):
        return ""
    return f"exit code {code}: {said.read_text() if said.exists() else 'it said nothing'}"


def _be_the_bot(channel: Channel, be: Callable[[Channel], object], said: Path) -> None:
    code = 1
    try:
        logging.disable(logging.CRITICAL)
        faulthandler.disable()
        be(channel)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the parent is told
        code = getattr(error, "exit_code", 1)
        said.write_text("".join(traceback.format_exception(error))[-3000:])
    finally:
        os._exit(code)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory: what a SIGKILL leaves is the same there, and no disk is waited for."""
    memory = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="mbats-faults-", dir=memory if memory.is_dir() else None)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


if __name__ == "__main__":
    found = run_seed(int(sys.argv[1]), *sys.argv[2:])
    print(found)
