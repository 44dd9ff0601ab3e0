"""The local stack: starts the services, waits until they answer, stops exactly what it started.

What may go wrong and what ``up`` does about it: a service that runs, answers and is launched as
today is kept; one that crashed, hangs or is launched differently is started anew on the same
port and data; processes of a start that broke off are stopped; a port somebody else has is left
to them and a free one used; two ``up`` at once wait for each other.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

from mbats.config import Settings
from mbats.errors import ConfigError, NotReadyError
from mbats.local import ports, processes, rest, state
from mbats.local.archiver_service import ARCHIVER_SERVICE
from mbats.local.cloud_run_service import CLOUD_RUN_SERVICE
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.environments import Say, silent
from mbats.local.functions_service import FUNCTIONS_SERVICE
from mbats.local.lock import locked
from mbats.local.service import Launch, Ports, Service, Site
from mbats.local.state import Record

SERVICES: tuple[Service, ...] = (
    *EMULATOR_SERVICES,
    ARCHIVER_SERVICE,
    FUNCTIONS_SERVICE,
    CLOUD_RUN_SERVICE,
)

Condition = Literal["running", "starting", "not answering", "crashed", "stopped"]

_ATTEMPTS = 3  # at finding ports that nobody takes between the choice and the start
_PAUSE = 0.05  # seconds between two looks at a starting service


@dataclass(frozen=True)
class Up:
    """What ``up`` did: the services it started (not those that ran), and how to reach them all."""

    started: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class Status:
    """How a service does. ``since`` is in UTC; ``memory`` is the resident size in bytes."""

    service: str
    title: str
    condition: Condition
    addresses: Mapping[str, str]
    pid: int | None
    since: datetime | None
    memory: int
    log: Path
    data: Path


class _PortLostError(NotReadyError):
    """Somebody took a port between the choice and the start: choose again."""


class Stack:
    """The services of one home. Several stacks, each with its own home, run side by side.

    ``any_ports`` ignores the preferred ports, for tests. ``patience`` is how many seconds a
    service may take until it answers; ``recheck`` how many one that runs already may (it may be
    busy with a load, and must not be killed for that); ``grace`` how many it has to end before
    it is killed.
    """

    def __init__(
        self,
        settings: Settings,
        services: Sequence[Service] = SERVICES,
        *,
        any_ports: bool = False,
        say: Say = silent,
        patience: float = 120.0,
        recheck: float = 30.0,
        grace: float = 5.0,
    ) -> None:
        self.settings = settings
        self.services = {service.name: service for service in services}
        self.site = Site(settings, say=say)
        self.home = self.site.home
        self._any_ports = any_ports
        self._patience = patience
        self._recheck = recheck
        self._grace = grace

    def up(self) -> Up:
        """Start what does not run; return when every service answers.

        Raises :class:`NotReadyError` with the end of the log of the service that did not start;
        what this call had started is stopped again then.
        """
        if self.settings.profile != "local":
            raise ConfigError(
                f"The local stack has no place in profile {self.settings.profile!r}.",
                mend="use profile `local`: mbats --profile local up",
            )
        with locked(self.home / "stack.lock"):
            for service in self.services.values():
                service.fetch(self.site)
            for _ in range(_ATTEMPTS - 1):
                with suppress(_PortLostError):
                    return self._up()
            return self._up()

    def down(self, names: Collection[str] | None = None) -> tuple[str, ...]:
        """Stop the services named, or all this stack ever started; return what was stopped."""
        with locked(self.home / "stack.lock"):
            remembered = state.read(self.home)
            ours = self._ours(remembered)
            chosen = sorted(ours if names is None else set(ours) & set(names))
            self._stop(chosen, remembered)
            left = {n: r for n, r in remembered.items() if n not in chosen and r.process()}
            state.write(self.home, left)
        return tuple(chosen)

    def status(self) -> list[Status]:
        """Return how each service does; changes nothing."""
        records = state.read(self.home)
        return [self._status(each, records.get(each.name)) for each in self.services.values()]

    def running_settings(self) -> Settings:
        """Return the settings pointed at the services that are ready now."""
        return self.settings.model_copy(update=state.endpoints(state.read(self.home)))

    def _up(self) -> Up:
        remembered = state.read(self.home)
        kept, others = self._kept(remembered)
        with locked(_machine_lock()):
            site = self._choose_ports(kept, remembered)
            launches = {name: each.launch(site) for name, each in self.services.items()}
            for name in [n for n, r in kept.items() if r.launch != fingerprint(launches[n])]:
                self.site.say(f"{name} is launched differently now: starting it anew")
                self._stop([name], {name: kept.pop(name)})
            started = self._start(site, launches, kept, remembered)
        for service in self.services.values():
            service.prepare(site)
        ready = {n: replace(r, ready=True) for n, r in (kept | started).items()}
        state.write(self.home, others | ready)
        return Up(tuple(started), self.settings.model_copy(update=state.endpoints(ready)))

    def _kept(self, records: Mapping[str, Record]) -> tuple[dict[str, Record], dict[str, Record]]:
        """Return the records of our services that are well, and of services of other callers.

        Stops what is ours but unwell, and what a start that broke off left behind.
        """
        alive = {name: record for name, record in records.items() if record.process()}
        others = {name: record for name, record in alive.items() if name not in self.services}
        kept = {}
        for name in alive.keys() - others.keys():
            if self._answers_within(self.services[name], alive[name], self._recheck):
                kept[name] = alive[name]
            else:
                self.site.say(f"{name} runs but does not answer: starting it anew")
        self._stop(self.services.keys() - kept.keys(), records)
        return kept, others

    def _ours(self, records: Mapping[str, Record]) -> dict[str, list[psutil.Process]]:
        """Return every living process of this stack by service, remembered or not."""
        ours = processes.tagged(self.home)
        for name, record in records.items():
            members = processes.family(record.process())
            if members:
                ours.setdefault(name, []).extend(members)
        return ours

    def _choose_ports(self, kept: Mapping[str, Record], before: Mapping[str, Record]) -> Site:
        chosen: dict[str, Ports] = {name: record.ports for name, record in kept.items()}
        taken = {port for record in before.values() for port in record.ports.values()}
        for name in self.services.keys() - kept.keys():
            mine: dict[str, int] = {}
            last = before[name].ports if name in before else {}
            for port, preferred in self.services[name].ports.items():
                wanted = [last[port]] if port in last else []
                wanted += [] if self._any_ports else [preferred]
                mine[port] = ports.choose(wanted, taken - set(last.values()))
                taken.add(mine[port])
            chosen[name] = mine
        return replace(self.site, ports=chosen)

    def _start(
        self,
        site: Site,
        launches: Mapping[str, Launch],
        kept: Mapping[str, Record],
        remembered: Mapping[str, Record],
    ) -> dict[str, Record]:
        """Start all that is not kept, side by side, and wait until all of it answers.

        If that fails, what was remembered stays so: the next start finds the same ports again.
        """
        started: dict[str, Record] = {}
        try:
            for name in [name for name in self.services if name not in kept]:
                site.data(name).mkdir(parents=True, exist_ok=True)
                launch = launches[name]
                process = processes.spawn(
                    self.home, name, launch.command, launch.environment, site.log(name)
                )
                started[name] = Record(
                    service=name,
                    pid=process.pid,
                    started=processes.started(process.pid),
                    ports=site.ports[name],
                    launch=fingerprint(launch),
                    endpoints=self.services[name].endpoints(site),
                )
                state.write(self.home, {**remembered, **started})
            self._wait(started)
        except BaseException:
            self._stop(started, started)
            state.write(self.home, remembered)
            raise
        return started

    def _stop(self, names: Collection[str], records: Mapping[str, Record]) -> None:
        """Stop all processes of the services named, and what they start meanwhile."""
        for _ in range(_ATTEMPTS):
            ours = self._ours(records)
            found = [process for name in names for process in ours.get(name, ())]
            if not found:
                return
            processes.stop(found, self._grace)

    def _wait(self, started: Mapping[str, Record]) -> None:
        deadline = time.monotonic() + self._patience
        pending = dict(started)
        while pending:
            for name, record in list(pending.items()):
                if self._answers(self.services[name], record):
                    del pending[name]
                elif record.process() is None:
                    raise self._died(name, record)
                elif time.monotonic() > deadline:
                    raise self._broke(name, f"did not answer within {self._patience:g} s")
            time.sleep(_PAUSE if pending else 0)

    def _died(self, name: str, record: Record) -> NotReadyError:
        for number in record.ports.values():
            if not ports.is_free(number):
                return _PortLostError(
                    f"Port {number} of {name} was taken by {processes.listener(number)}.",
                    mend="run the command again",
                )
        return self._broke(name, "ended at once")

    def _broke(self, name: str, how: str) -> NotReadyError:
        log = self.site.log(name)
        return NotReadyError(
            f"{self.services[name].title} {how}.",
            tried=[f"end of {log}:", *tail(log)],
            mend="mbats doctor",
        )

    def _answers(self, service: Service, record: Record) -> bool:
        """Say whether this very process answers: not somebody else who has its port."""
        process = record.process()
        if process is None:
            return False
        if service.health and not rest.answers(record.ports["http"], service.health):
            return False
        return all(processes.listens(process, port) for port in record.ports.values())

    def _answers_within(self, service: Service, record: Record, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._answers(service, record):
            if record.process() is None or time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def _status(self, service: Service, record: Record | None) -> Status:
        process = record.process() if record else None
        condition: Condition = "stopped"
        if record:
            condition = "crashed"
            if process:
                condition = "not answering" if record.ready else "starting"
                if record.ready and self._answers(service, record):
                    condition = "running"
        return Status(
            service=service.name,
            title=service.title,
            condition=condition,
            addresses={p: f"{ports.HOST}:{n}" for p, n in (record.ports if record else {}).items()},
            pid=process.pid if process else None,
            since=_time_of(record.started) if record and process else None,
            memory=sum(_memory(member) for member in processes.family(process)),
            log=self.site.log(service.name),
            data=self.site.data(service.name),
        )


def fingerprint(launch: Launch) -> str:
    """Return a digest that differs whenever the service would be launched differently."""
    document = json.dumps([launch.command, dict(launch.environment), launch.version])
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def tail(log: Path, lines: int = 6) -> list[str]:
    """Return the last lines of a log, without those that are empty."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _machine_lock() -> Path:
    """Return the lock that stacks of one user hold from choosing ports until they are bound."""
    return Path(tempfile.gettempdir()) / f"mbats-ports-{os.getuid()}.lock"


def _time_of(started: float) -> datetime:
    return datetime.fromtimestamp(psutil.boot_time() + started, UTC)


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
