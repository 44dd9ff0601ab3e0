"""Processes of the local stack: started so that they can be found again, and only they stopped.

A process carries its stack's home and its service's name in its environment. So one that was
started by an ``up`` that died before it could write the state is still known as ours, and its
children with it. A process id alone is never trusted: it is compared with the start time.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from mbats.errors import NotReadyError

HOME_TAG = "_MBATS_STACK"
SERVICE_TAG = "_MBATS_SERVICE"
LOG_LIMIT = 5_000_000  # bytes; a longer log is set aside when its service starts

_Gone = (psutil.NoSuchProcess, psutil.ZombieProcess)
_children: dict[int, subprocess.Popen[bytes]] = {}


def spawn(
    home: Path, service: str, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> psutil.Process:
    """Start ``command`` in its own session, its output appended to ``log``.

    Raises :class:`NotReadyError` if the program cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    tags = {HOME_TAG: str(home), SERVICE_TAG: service}
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                env={**os.environ, **environment, **tags},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise NotReadyError(
            f"The program of {service} cannot be run: {error}.",
            tried=[" ".join(command)],
            mend="mbats doctor",
        ) from error
    _children[child.pid] = child
    return psutil.Process(child.pid)


def started(pid: int) -> float:
    """Return when a process began, in seconds since the machine did.

    The time of day when it began moves with every setting of the clock, as after a laptop's sleep.
    """
    while True:
        boot = psutil.boot_time()
        began = psutil.Process(pid).create_time()
        if psutil.boot_time() == boot:  # else the clock was set just now
            return float(began - boot)


def find(pid: int, began: float) -> psutil.Process | None:
    """Return the living process with this id **and** this start, as :func:`started` says."""
    if pid in _children:
        _children[pid].poll()  # reap it, or a dead child would look alive
    try:
        process = psutil.Process(pid)
        same = abs(started(pid) - began) < 0.005  # it is counted in hundredths
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except _Gone:
        return None


def reap() -> None:
    """Take note of children that ended: until then they are zombies, and another waits for them."""
    for child in _children.values():
        child.poll()


def tagged(home: Path) -> dict[str, list[psutil.Process]]:
    """Return all living processes that carry this stack's home, by service."""
    found: dict[str, list[psutil.Process]] = {}
    for process, environ in _of_stacks():
        if environ[HOME_TAG] == str(home):
            found.setdefault(environ.get(SERVICE_TAG, ""), []).append(process)
    return found


def homes() -> set[Path]:
    """Return the homes of all stacks that have living processes."""
    return {Path(environ[HOME_TAG]) for _, environ in _of_stacks()}


def _of_stacks() -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
    for process in psutil.process_iter():
        with suppress(*_Gone, psutil.AccessDenied):
            environ = process.environ()
            if HOME_TAG in environ and process.status() != psutil.STATUS_ZOMBIE:
                yield process, environ


def exists(pid: int) -> bool:
    """Say whether some process has this id."""
    return bool(psutil.pid_exists(pid))


def family(process: psutil.Process | None) -> list[psutil.Process]:
    """Return the process and its descendants; none of None."""
    if process is None:
        return []
    with suppress(*_Gone):
        return [process, *process.children(recursive=True)]
    return []


def listens(process: psutil.Process, port: int) -> bool:
    """Say whether the process or a descendant listens on the TCP port."""
    for member in family(process):
        with suppress(*_Gone, psutil.AccessDenied):
            for connection in member.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def listener(port: int) -> str:
    """Describe who listens on the port, as far as this user may know."""
    for process in psutil.process_iter(["pid", "name"]):
        with suppress(*_Gone, psutil.AccessDenied):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"{process.info['name']} (process {process.info['pid']})"
    return "another program"


def stop(processes: Iterable[psutil.Process], grace: float) -> None:
    """Ask the processes to end, wait ``grace`` seconds, then kill. A reused id is never hit."""
    asked = list(set(processes))
    for process in asked:
        with suppress(*_Gone):
            process.terminate()
    _, left = psutil.wait_procs(asked, timeout=grace)
    for process in left:
        with suppress(*_Gone):
            process.kill()
    psutil.wait_procs(left, timeout=grace)
