"""A container as a process: a session of its own, its output in a file, ended whole.

Every process carries the server's folder in its environment, and its children inherit that. So
what a killed server left behind is found again, whatever it had time to write down.
"""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mbats.local import processes
from mbats.local.cloud_run.clock import Clock

TAG = "_MBATS_CLOUD_RUN"
GRACE = 10.0  # seconds from SIGTERM to SIGKILL, as on Cloud Run
NOT_STARTED = 127  # what a shell says of a program that it cannot find

_Gone = (psutil.NoSuchProcess, psutil.ZombieProcess)


@dataclass(frozen=True)
class Exit:
    """How a process ended. ``signal`` is 0 unless one killed it; ``code`` is then 128 + it."""

    code: int
    signal: int = 0


class Container:
    """A running process. ``pid`` and ``started`` together name it for ever."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._exit = asyncio.ensure_future(process.wait())
        self.pid = process.pid
        self.started = 0.0  # it may have ended before anybody could ask
        with suppress(*_Gone):
            self.started = processes.started(process.pid)

    @classmethod
    async def start(
        cls, command: Sequence[str], environ: Mapping[str, str], folder: Path, log: Path
    ) -> "Container":
        """Start a command in ``folder``, its output appended to ``log``. OSError if it cannot."""
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environ,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(process)

    async def ended(self) -> Exit:
        """Wait until it ends by itself; what it started ends with it."""
        code = await asyncio.shield(self._exit)
        self._kill_all()
        return Exit(code) if code >= 0 else Exit(128 - code, -code)

    async def end(self, clock: Clock, grace: float = GRACE) -> Exit:
        """SIGTERM to the program; after ``grace`` seconds SIGKILL to all that is left of it."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        waiting = asyncio.ensure_future(clock.sleep(grace))
        await asyncio.wait({self._exit, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        self._kill_all()
        return await self.ended()

    async def kill(self) -> Exit:
        """SIGKILL to all of it, at once."""
        self._kill_all()
        return await self.ended()

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def left_behind(tag: str, remembered: Sequence[tuple[int, float]]) -> list[psutil.Process]:
    """Return the living processes of a server that is no more: those it noted, and those tagged."""
    found = {process for process in (processes.find(*each) for each in remembered) if process}
    for process in psutil.process_iter():
        with suppress(*_Gone, psutil.AccessDenied):
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process)
    return sorted(found, key=lambda process: process.pid)


def end_left_behind(
    tag: str, remembered: Sequence[tuple[int, float]], grace: float = GRACE
) -> list[int]:
    """End what a killed server left running; return the process ids."""
    found = left_behind(tag, remembered)
    processes.stop(found, grace)
    return [process.pid for process in found]
