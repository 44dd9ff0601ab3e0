"""Control files: a workbook or a schedule that a person put into the bucket ``control``.

A file is put in force whole or not at all. One that is wrong is set aside with a report that a
person can read, and what was in force stays so. What is handled is remembered by generation, so
an event that comes twice, or after that of a newer file, changes nothing.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from mbats import schemas
from mbats.desk.events.delivery import CloudEvent, Say
from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.gcp.batch import plain_rows, table_of
from mbats.gcp.objects import Objects
from mbats.gcp.records import Record
from mbats.gcp.warehouse import Warehouse
from mbats.live.events import Event
from mbats.market import catalogue
from mbats.market.history import HistoryStore
from mbats.market.watchlist import Watchlist, read_watchlist
from mbats.strategy.schedule import SECRET, Schedule, read_schedule
from mbats.vendors import watchlist as watchlists

WATCHLIST, STRATEGIES = "interested_tickers.xlsx", "strategies.csv"
NAMES = (WATCHLIST, STRATEGIES)
QUARANTINE, RECORDS = "quarantine/", "records/"
REFUSED = "CONTROL_FILE_REFUSED"
LARGEST = 20_000_000
"""Bytes above which a file is refused without being read."""

CLAIM = timedelta(minutes=5)
"""A load that has not ended by then has died: the next event does it again."""

POLL_SECONDS = 1.0
_ROUNDS = 5


class BusyError(NotReadyError):
    """Another process is loading the file."""


@dataclass(frozen=True)
class Checked:
    """What a file says. ``problems`` are sentences with row and column; none means it is good."""

    name: str
    problems: Sequence[str]
    watchlist: Watchlist | None = None
    schedule: Schedule | None = None

    @property
    def entries(self) -> int:
        """How many good rows it has."""
        return len((self.watchlist or self.schedule or _NOTHING).entries)

    @property
    def holds_secret(self) -> bool:
        """Whether the file is not to be copied anywhere."""
        return any(SECRET in problem for problem in self.problems)


_NOTHING = Schedule((), ())


@dataclass(frozen=True)
class Outcome:
    """What became of a file. ``state`` is loaded, quarantined, known, gone or ignored."""

    name: str
    generation: int
    state: str
    entries: int = 0
    problems: Sequence[str] = ()
    report: str = ""
    schedule_copied_to: str = ""


class Folder(Protocol):
    """Where the DAGs look for the schedule."""

    def put(self, name: str, content: bytes) -> str:
        """Write a file whole, unless it is there as it is; return where, empty for nowhere."""
        ...


@dataclass
class Stores:
    """What a good file is put into. ``tell`` takes a risk event and returns when it is stored."""

    objects: Objects
    warehouse: Warehouse
    security_master: HistoryStore
    dags: Folder
    tell: Callable[[Event], None]
    say: Say
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    strategies: Collection[str] | None = field(default=None)


def check(name: str, content: bytes, strategies: Collection[str] | None = None) -> Checked:
    """Return what a control file of this name says; every problem in words."""
    try:
        if name == WATCHLIST:
            return _checked_watchlist(content)
        if name == STRATEGIES:
            schedule = read_schedule(content, strategies)
            return Checked(name, [str(p) for p in schedule.problems], schedule=schedule)
    except DataError as error:
        return Checked(name, [f"the file: {error.cause} {error.mend}".strip()])
    except Exception as error:  # noqa: BLE001 - poison is set aside, whatever it breaks
        return Checked(name, [f"the file: it breaks the reader: {type(error).__name__}"])
    return Checked(name, [f"the file: there is no control file of this name: {', '.join(NAMES)}"])


def _checked_watchlist(content: bytes) -> Checked:
    watchlist = read_watchlist(content)
    problems = [str(problem) for problem in watchlist.problems]
    for entry in watchlist.entries:
        try:
            catalogue.instrument(entry.instrument)
        except DataError as error:
            problems.append(f"sheet {entry.sheet} row {entry.row}: {error.cause}")
    if not watchlist.entries and not problems:
        problems.append("the file: it has no instruments; leave the file out to change nothing")
    return Checked(WATCHLIST, problems, watchlist=watchlist)


def take(stores: Stores, event: CloudEvent) -> Outcome:
    """Handle the event that an object was written. Raises :class:`DataError` for another event."""
    try:
        name, generation = str(event.data["name"]), int(event.data["generation"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The event names no object and generation: {error!r}") from error
    if not name or generation <= 0:
        raise DataError(f"The event names no object and generation: {name!r:.80} {generation}")
    if name.startswith((QUARANTINE, RECORDS)) or name.endswith("/"):
        return Outcome(name, generation, "ignored")
    return settle(stores, name, generation)


def settle(stores: Stores, name: str, generation: int | None = None) -> Outcome:
    """Bring the desk in line with the object ``name`` as it is now; return what became of it.

    ``generation`` is what an event spoke of: an older one than is there, or was handled, changes
    nothing. Raises :class:`NotReadyError` where a store does not answer, or another process is at
    it: call again.
    """
    record = Record(stores.objects, "control", f"{RECORDS}{name}.json")
    overtaken = False
    for _ in range(_ROUNDS):
        found = _read(stores.objects, name)
        if found is None:
            return _told(stores, Outcome(name, generation or 0, "gone"))
        content, live = found
        known, version = record.read()
        done = known is not None and known["generation"] >= live and known["state"] != "loading"
        if done and not overtaken:
            return _told(stores, Outcome(name, live, "known"))
        if known is not None and not overtaken:
            _wait_for_other(known, live, stores.now())
        try:
            claim = record.write(_claim(known, live, stores.now()), version)
            outcome = _apply(stores, name, content, live)
            record.write(_record(known, outcome, stores.now()), claim)
        except RefusedError:
            # A newer file came meanwhile, and what was just written may lie over it: look again.
            overtaken = True
            continue
        return _told(stores, outcome)
    raise NotReadyError(f"{name} changes too fast.", mend="wait until it is written, then again")


def _read(objects: Objects, name: str) -> tuple[bytes | None, int] | None:
    """Return a file's bytes, None for one that is too large, and its generation."""
    for stored in objects.list("control", name):
        if stored.name == name and stored.size > LARGEST:
            return None, stored.generation
    return objects.read("control", name)


def awaited(objects: Objects, name: str, generation: int, seconds: float) -> Outcome | None:
    """Return what the function made of a generation; None if it has not within ``seconds``."""
    record = Record(objects, "control", f"{RECORDS}{name}.json")
    deadline = time.monotonic() + seconds
    while True:
        known, _ = record.read()
        if known is not None and known["generation"] >= generation and known["state"] != "loading":
            return Outcome(
                name,
                known["generation"],
                known["state"],
                (known["in_force"] or {}).get("entries", 0),
                known["problems"],
                known["report"],
            )
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)


def _wait_for_other(known: Mapping[str, Any], live: int, now: datetime) -> None:
    begun = datetime.fromisoformat(known["at"])
    if known["state"] == "loading" and known["generation"] >= live and now - begun < CLAIM:
        raise BusyError(
            f"Another process is loading generation {live} since {begun:%H:%M:%S} UTC.",
            mend="it is tried again",
        )


def _claim(known: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    good = (known or {}).get("in_force")
    return {
        "generation": generation,
        "state": "loading",
        "at": now.isoformat(),
        "in_force": good,
    }


def _record(known: Mapping[str, Any] | None, outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what is remembered: what became of this file, and which one is in force."""
    loaded = outcome.state == "loaded"
    good = {"generation": outcome.generation, "at": now.isoformat(), "entries": outcome.entries}
    return {
        "generation": outcome.generation,
        "state": outcome.state,
        "at": now.isoformat(),
        "problems": list(outcome.problems),
        "report": outcome.report,
        "in_force": good if loaded else (known or {}).get("in_force"),
    }


def _apply(stores: Stores, name: str, content: bytes | None, generation: int) -> Outcome:
    if content is None:
        checked = Checked(name, [f"the file: it has more than {LARGEST:,} bytes"])
        return _quarantine(stores, checked, None, generation)
    checked = check(name, content, stores.strategies)
    if checked.problems:
        return _quarantine(stores, checked, content, generation)
    source = f"{stores.objects.address('control', name)}#{generation}"
    where = ""
    if checked.watchlist is not None:
        watchlists.publish(stores.security_master, checked.watchlist, source)
    if checked.schedule is not None:
        _publish_schedule(stores.warehouse, checked.schedule, source)
        where = stores.dags.put(name, content)
    return Outcome(name, generation, "loaded", checked.entries, schedule_copied_to=where)


def _publish_schedule(warehouse: Warehouse, schedule: Schedule, source: str) -> None:
    """Store the rows; those that are no longer in the file become inactive."""
    table = schemas.table("risk", "strategy_schedule")
    rows = schedule.rows(source)
    present = {row["schedule_id"] for row in rows}
    stored = plain_rows(table, warehouse.read(table, {"active": True}))
    left = [
        {key: value for key, value in row.items() if key != "ingested_at"} | {"active": False}
        for row in stored
        if row["schedule_id"] not in present
    ]
    warehouse.merge(table, table_of(table, [*rows, *left]))


def _quarantine(
    stores: Stores, checked: Checked, content: bytes | None, generation: int
) -> Outcome:
    """Copy the file aside with a report beside it, and tell people. The original stays.

    What is too large, or holds a secret, is not copied.
    """
    aside = f"{QUARANTINE}{generation}-{checked.name.replace('/', '_')}"
    report = f"{aside}.report.txt"
    if content is not None and not checked.holds_secret:
        _write_once(stores.objects, aside, content, "application/octet-stream")
    text = report_text(checked, generation, stores.objects.address("control", checked.name))
    _write_once(stores.objects, report, text.encode(), "text/plain; charset=utf-8")
    address = stores.objects.address("control", report)
    outcome = Outcome(
        checked.name, generation, "quarantined", checked.entries, checked.problems, address
    )
    stores.tell(_refusal(outcome, stores.now()))
    return outcome


def report_text(checked: Checked, generation: int, address: str) -> str:
    """Return the report on a file that was refused, for a person."""
    count = len(checked.problems)
    lines = [
        f"{address} was not put in force.",
        f"Generation {generation}, {count} problem{'s' if count != 1 else ''}; "
        f"{checked.entries} row{'s' if checked.entries != 1 else ''} without one.",
        "",
        *(f"  * {problem}" for problem in checked.problems),
        "",
        "Nothing of the file was loaded: what was in force before still is. Correct the file, then",
        f"  mbats control check {checked.name}",
        f"  mbats control put {checked.name}",
    ]
    return "\n".join(lines) + "\n"


def _refusal(outcome: Outcome, now: datetime) -> Event:
    first = outcome.problems[0]
    more = len(outcome.problems) - 1
    row = {
        "event_id": f"control-{outcome.name}-{outcome.generation}",
        "run_id": "control-file",
        "time": now,
        "code": REFUSED,
        "severity": "error",
        "detail": f"{outcome.name} was not put in force: {first}"
        + (f" (and {more} more)" if more else "")
        + f". Report: {outcome.report}",
        "actor": "control-file",
    }
    return Event("risk_event", row)


def _write_once(objects: Objects, name: str, content: bytes, kind: str) -> None:
    try:
        objects.write("control", name, content, content_type=kind, if_generation=0)
    except RefusedError:
        return  # by an earlier delivery of the same event: it says the same


def _told(stores: Stores, outcome: Outcome) -> Outcome:
    severity = "ERROR" if outcome.state == "quarantined" else "INFO"
    stores.say("control_file", severity=severity, name=outcome.name, state=outcome.state,
               generation=outcome.generation, entries=outcome.entries,
               problems=len(outcome.problems))  # fmt: skip
    return outcome
