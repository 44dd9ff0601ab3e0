"""Everything the server knows, on disk: SQLite, so that a kill at any moment loses no answer given.

A resource is its message as bytes under its name. ``rank`` orders the resources of one parent:
jobs by name, executions newest first, tasks by index.
"""

import sqlite3
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from google.cloud.run_v2 import types as run
from google.longrunning.operations_pb2 import Operation

from mbats.local.cloud_run.names import parent
from mbats.local.cloud_run.refusals import invalid, not_found

DEFAULT_PAGE = 100
_LAST = 10**15
_TABLES = """
CREATE TABLE IF NOT EXISTS resource (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, parent TEXT NOT NULL, rank TEXT NOT NULL,
  finished INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS listing ON resource (kind, parent, rank);
CREATE TABLE IF NOT EXISTS process (
  pid INTEGER, started REAL, execution TEXT NOT NULL, PRIMARY KEY (pid, started)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
  operation TEXT PRIMARY KEY, execution TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_for ON waiting (execution);
"""

Resource: TypeAlias = run.Job | run.Execution | run.Task


@dataclass(frozen=True)
class Page:
    """One page of a listing: the messages as bytes, and the token of the next page."""

    bodies: list[bytes]
    next_token: str


class Store:
    """The resources of one server. One process, one thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "state.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write all of the block, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Jobs, executions, tasks

    def put(self, resource: Resource) -> None:
        """Create or replace a resource."""
        kind = type(resource)
        self._put(
            resource.name,
            kind.__name__,
            _rank(resource),
            bool(getattr(resource, "completion_time", None)),
            kind.serialize(resource),
        )

    def job(self, name: str) -> run.Job:
        """Return a job; NOT_FOUND otherwise."""
        return run.Job.deserialize(self._body(name))

    def execution(self, name: str) -> run.Execution:
        """Return an execution; NOT_FOUND otherwise."""
        return run.Execution.deserialize(self._body(name))

    def task(self, name: str) -> run.Task:
        """Return a task; NOT_FOUND otherwise."""
        return run.Task.deserialize(self._body(name))

    def exists(self, name: str) -> bool:
        """Say whether there is a resource of this name."""
        found = self._db.execute("SELECT 1 FROM resource WHERE name = ?", (name,)).fetchone()
        return found is not None

    def remove(self, name: str) -> None:
        """Forget a resource and all below it."""
        self._db.execute(
            "DELETE FROM resource WHERE name = ? OR substr(name, 1, ?) = ?",
            (name, len(name) + 1, f"{name}/"),
        )

    def unfinished(self) -> list[run.Execution]:
        """Return the executions that are not complete."""
        rows = self._db.execute(
            "SELECT body FROM resource WHERE kind = 'Execution' AND NOT finished"
        )
        return [run.Execution.deserialize(body) for (body,) in rows]

    def open_tasks(self, execution: str) -> list[run.Task]:
        """Return the tasks of an execution that are not complete."""
        rows = self._db.execute(
            "SELECT body FROM resource WHERE kind = 'Task' AND parent = ? AND NOT finished"
            " ORDER BY rank",
            (execution,),
        )
        return [run.Task.deserialize(body) for (body,) in rows]

    def page(self, kind: str, parent_name: str, size: int, token: str) -> Page:
        """Return one page of what a parent has of a kind. Size 0 is Google's choice."""
        if size < 0:
            invalid(f"page_size must not be negative, not {size}.")
        size = min(size or DEFAULT_PAGE, 1_000)
        rows = self._db.execute(
            "SELECT rank, body FROM resource WHERE kind = ? AND parent = ? AND rank > ?"
            " ORDER BY rank LIMIT ?",
            (kind, parent_name, _decoded(token), size + 1),
        ).fetchall()
        more = len(rows) > size
        token = urlsafe_b64encode(rows[size - 1][0].encode()).decode() if more else ""
        return Page([body for _, body in rows[:size]], token)

    # Operations

    def put_operation(self, operation: Operation, execution: str | None = None) -> None:
        """Create or replace an operation; ``execution`` is the one that it waits for."""
        self._put(
            operation.name,
            "Operation",
            operation.name,
            operation.done,
            operation.SerializeToString(),
        )
        if execution:
            self._db.execute(
                "INSERT OR REPLACE INTO waiting VALUES (?, ?)", (operation.name, execution)
            )

    def operation(self, name: str) -> Operation:
        """Return an operation; NOT_FOUND otherwise."""
        return Operation.FromString(self._body(name))

    def operations_of(self, execution: str) -> list[str]:
        """Return the names of the operations that wait for an execution."""
        rows = self._db.execute(
            "SELECT operation FROM waiting JOIN resource ON name = operation WHERE execution = ?",
            (execution,),
        )
        return [name for (name,) in rows]

    def execution_of(self, operation: str) -> str | None:
        """Return the name of the execution that an operation waits for."""
        found = self._db.execute(
            "SELECT execution FROM waiting WHERE operation = ?", (operation,)
        ).fetchone()
        return found[0] if found else None

    # Processes

    def note_process(self, pid: int, started: float, execution: str) -> None:
        """Remember a process from its start on; ``started`` is psutil's start time."""
        self._db.execute("INSERT INTO process VALUES (?, ?, ?)", (pid, started, execution))

    def forget_process(self, pid: int, started: float) -> None:
        """Forget a process that has ended."""
        self._db.execute("DELETE FROM process WHERE pid = ? AND started = ?", (pid, started))

    def processes(self) -> list[tuple[int, float]]:
        """Return (pid, start time) of the processes remembered."""
        return list(self._db.execute("SELECT pid, started FROM process"))

    def _put(self, name: str, kind: str, rank: str, finished: bool, body: bytes) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?, ?, ?)",
            (name, kind, parent(name), rank, finished, body),
        )

    def _body(self, name: str) -> bytes:
        row = self._db.execute("SELECT body FROM resource WHERE name = ?", (name,)).fetchone()
        if row is None:
            not_found(name)
        return bytes(row[0])

    def put_all(self, resources: Iterable[Resource]) -> None:
        """Create or replace many resources at once."""
        with self.together():
            for resource in resources:
                self.put(resource)


def _rank(resource: Resource) -> str:
    if isinstance(resource, run.Execution):
        created = int(resource.create_time.timestamp() * 1e6)
        return f"{10 * _LAST - created:017d} {resource.name}"
    if isinstance(resource, run.Task):
        return f"{resource.index:05d}"
    return str(resource.name)


def _decoded(token: str) -> str:
    try:
        return b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        return invalid(f"Invalid page_token: {token!r}.")
