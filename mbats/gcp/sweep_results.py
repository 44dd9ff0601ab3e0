"""What the tasks of a sweep leave in Cloud Storage until somebody gathers it.

A folder a task: `sweeps/SWEEP/00003-of-10000/`. In it an object for each batch of members, named
after their run ids, so that a batch written again takes its own place; and `task.json`, in which
the task says that it has begun, then that it has ended and what its members are. An object is whole
or not there, and no task writes another's.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import accumulate, pairwise
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from mbats import schemas
from mbats.backtest.gathering import Ended
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.backtest.sweep import Swept
from mbats.errors import DataError
from mbats.gcp.batch import plain_rows, table_of
from mbats.gcp.objects import BucketName, Objects, StoredObject
from mbats.gcp.risk_store import this_process

BUCKET: BucketName = "data"
FOLDER = "sweeps"  # terraform/data.tf deletes what lies there after 30 days
TASK = "task.json"
READERS = 16
PARQUET = "application/vnd.apache.parquet"

Made = TypeVar("Made")

_TASK = re.compile(r"/(\d{5,})-of-(\d{5,})/task\.json$")


class Stored(Protocol):
    """The risk store, as a task sees it."""

    def done(self, sweep_id: str) -> Collection[str]:
        """Return the run ids of a sweep's members that are stored and done."""
        ...


class TaskResults:
    """A :class:`mbats.backtest.sweep.SweepStore` of one task, which others do not write to."""

    def __init__(
        self, objects: Objects, stored: Stored, sweep_id: str, task: int, tasks: int
    ) -> None:
        self._objects = objects
        self._stored = stored
        self._folder = f"{_folder(sweep_id)}{task:05d}-of-{tasks:05d}/"

    def done(self, sweep_id: str) -> set[str]:
        """Return the run ids that are done: stored, or left by an earlier attempt of this task."""
        mine = {
            str(run["run_id"])
            for stored, content in _left(self._objects, self._folder)
            for run in _read(self._objects, stored, content, _runs)
            if run["status"] == "done"
        }
        return mine | set(self._stored.done(sweep_id))

    def finish_many(self, results: Sequence[RunResult]) -> None:
        """Leave many runs as one object: all of them or none."""
        played = {"host": this_process(), "deadline_at": None}
        told = [RunResult({**played, **result.run}, result.tables) for result in results]
        name = _digest([str(result.run["run_id"]) for result in results])
        self._write(f"{name}.parquet", packed(told), PARQUET)

    def begin(self) -> None:
        """Say that this task is at work: what it said when it ended before no longer counts."""
        self._say({})

    def end(self, swept: Swept, share: Sequence[str]) -> None:
        """Say that the results of this task's ``share`` of a sweep's members are all there."""
        members = {"members": list(share), "failed": dict(swept.failed)}
        self._say({"sweep": _digest(swept.members), **members})

    def _say(self, what: Mapping[str, Any]) -> None:
        self._write(TASK, json.dumps(what).encode(), "application/json")

    def _write(self, name: str, content: bytes, content_type: str) -> None:
        self._objects.write(BUCKET, self._folder + name, content, content_type=content_type)


class TasksResults:
    """What all tasks left: a :class:`mbats.backtest.gathering.LeftResults`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def ended(self, sweep_id: str) -> list[Ended]:
        """Return what each task said that has ended and not begun again."""
        found = []
        for stored, content in self._said(sweep_id):
            said = json.loads(content)
            name = _TASK.search(stored.name)
            if name and "members" in said:
                task, tasks = map(int, name.groups())
                found.append(Ended(task, tasks, at=stored.updated, **said))
        return found

    def _said(self, sweep_id: str) -> Iterator[tuple[StoredObject, bytes]]:
        there = list(self._objects.list(BUCKET, _folder(sweep_id)))
        tasks = [each for each in there if _TASK.search(each.name)]
        return zip(tasks, _contents(self._objects, tasks), strict=True)

    def results(self, sweep_id: str, done: Collection[str]) -> Iterator[list[RunResult]]:
        """Yield what tasks left of the runs that are not ``done``, object by object."""
        for stored, content in _left(self._objects, _folder(sweep_id)):
            runs = _read(self._objects, stored, content, _runs)
            if any(run["run_id"] not in done for run in runs):
                yield _read(self._objects, stored, content, unpacked)


def packed(results: Sequence[RunResult]) -> bytes:
    """Return results as one Parquet file: a row a run, with its rows of each table as a list."""
    runs = table_of(schemas.table("risk", "run"), [dict(result.run) for result in results])
    columns: dict[str, pa.Array] = {"run": runs.to_struct_array().combine_chunks()}
    for name in RESULT_TABLES:
        tables = [result.tables[name] for result in results]
        ends = list(accumulate((table.num_rows for table in tables), initial=0))
        rows = pa.concat_tables(tables).combine_chunks().to_struct_array().combine_chunks()
        columns[name] = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), rows)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def unpacked(content: bytes) -> list[RunResult]:
    """Return the results in a file of :func:`packed`."""
    file = pq.read_table(pa.BufferReader(content))
    parts = {name: _parts(name, file.column(name).combine_chunks()) for name in RESULT_TABLES}
    return [
        RunResult(run, {name: parts[name][number] for name in RESULT_TABLES})
        for number, run in enumerate(_runs(content))
    ]


def _runs(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of ``risk.run`` in a file of :func:`packed`."""
    runs = pq.read_table(pa.BufferReader(content), columns=["run"]).column("run").combine_chunks()
    return plain_rows(schemas.table("risk", "run"), pa.Table.from_struct_array(runs))


def _parts(name: str, lists: pa.LargeListArray) -> list[pa.Table]:
    """Return each run's rows of one table."""
    if not len(lists.values):
        return [_empty(name)] * len(lists)
    schema: pa.Schema = schemas.table("risk", name).arrow
    arrays = [lists.values.field(field.name).cast(field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    return [table.slice(first, end - first) for first, end in pairwise(lists.offsets.to_pylist())]


@cache
def _empty(name: str) -> pa.Table:
    """Return a table without rows, one for all: of 20,000 runs most leave most tables empty."""
    return schemas.table("risk", name).arrow.empty_table()


def _left(objects: Objects, prefix: str) -> Iterator[tuple[StoredObject, bytes]]:
    """Yield the objects that hold results, and their contents."""
    there = [each for each in objects.list(BUCKET, prefix) if each.name.endswith(".parquet")]
    return zip(there, _contents(objects, there), strict=True)


def _read(
    objects: Objects, stored: StoredObject, content: bytes, how: Callable[[bytes], Made]
) -> Made:
    try:
        return how(content)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(
            f"{objects.address(BUCKET, stored.name)} cannot be read: {error}",
            mend="remove it and run the sweep again: what was in it is played again",
        ) from error


def _contents(objects: Objects, there: Sequence[StoredObject]) -> Iterator[bytes]:
    """Yield the contents in their order, a few read at once and held at once."""
    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(there), READERS):
            names = [each.name for each in there[first : first + READERS]]
            read = pool.map(partial(objects.read, BUCKET), names)
            for name, found in zip(names, read, strict=True):
                if found is None:
                    raise DataError(
                        f"{objects.address(BUCKET, name)} was removed while it was read.",
                        mend="gather again",
                    )
                yield found[0]


def _folder(sweep_id: str) -> str:
    return f"{FOLDER}/{quote(sweep_id, safe='')}/"


def _digest(run_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(run_ids).encode()).hexdigest()[:20]
