"""The risk store: runs and everything they leave behind, in BigQuery.

A run is ``running``, then ``done`` with all its rows or ``failed`` with none: its rows and its
new status are written by one transaction.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pyarrow as pa

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.gcp.batch import plain_rows, table_of
from mbats.gcp.warehouse import Warehouse, Write

RUN_LIFE = timedelta(hours=24)
CLOCK_SLACK = timedelta(minutes=1)  # start times of processes are counted from the boot
ABANDONED = "Abandoned: "
CANDIDATES_SHOWN = 10
FINISH_TRIES = 5
SWEEP_PATIENCE_S = 3 * 3600.0  # sweeps write the same tables, one at a time

# Hosts whose name says nothing about where a process number counts: every container has one.
_ANONYMOUS_HOSTS = ("localhost", "")


class RiskStore:
    """A :class:`mbats.backtest.result.RunStore` over the warehouse."""

    def __init__(
        self, warehouse: Warehouse, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._warehouse = warehouse
        self._now = now
        self._schema = schemas.table("risk", "run")
        self._table = f"`{warehouse.target(self._schema)}`"

    def start(self, run: Mapping[str, Any]) -> None:
        """Record that the run has begun (status ``running``).

        ``host`` is this process and ``deadline_at`` a day from now where ``run`` has none.
        Raises :class:`RefusedError` where the run id is taken.
        """
        row = {
            "host": this_process(),
            "deadline_at": self._now() + RUN_LIFE,
            "started_at": self._now(),
            **run,
            "status": "running",
        }
        count = self._warehouse.merge(self._schema, table_of(self._schema, [row]), insert_only=True)
        if not count.inserted:
            raise RefusedError(f"There is a run {run['run_id']} already.", mend="use a new run id")

    def finish(self, result: RunResult) -> None:
        """Store the results and mark the run ``done``, whole or not at all, once.

        A run that was given up as abandoned and finishes after all is accepted. Raises
        :class:`RefusedError` where the run was never started, failed, or is done with other
        results; finishing twice with the same results does nothing.
        """
        run_id = str(result.run["run_id"])
        missing = sorted(set(RESULT_TABLES) - set(result.tables))
        if missing:
            raise DataError(f"The result of run {run_id} lacks the tables {', '.join(missing)}.")
        for name, table in result.tables.items():
            _only_of(run_id, name, table)
        stored = self._one(run_id)
        run = {**stored, **result.run, "status": "done", "error": None}
        run["ended_at"] = result.run.get("ended_at") or self._now()
        if stored["status"] == "done":
            self._refuse_other_results(stored, result)
            return
        writes = [
            Write(schemas.table("risk", name), result.tables[name], append=True)
            for name in RESULT_TABLES
        ]
        writes.append(Write(self._schema, table_of(self._schema, [run])))
        try:
            self._warehouse.write_all(writes, guard=self._guard(), parameters={"run_id": run_id})
        except DataError as error:
            if "may not finish" not in error.cause:
                raise
            stored = self._one(run_id)
            if stored["status"] == "done":  # our own commit, whose answer was lost
                self._refuse_other_results(stored, result)
                return
            raise RefusedError(
                f"Run {run_id} may not finish: it is {stored['status']} ({stored['error']}).",
                mend="start a new run",
            ) from error

    def finish_many(self, results: Sequence[RunResult]) -> None:
        """Store many runs by one transaction: all of them or none.

        The row of each says whether it is ``done`` or ``failed``; a run need not have been
        started. One that is done already stays as it is, so doing this twice adds nothing, and two
        that do it at once come out as one.
        """
        for result in results:
            for name, table in result.tables.items():
                _only_of(str(result.run["run_id"]), name, table)
        for _ in range(FINISH_TRIES):
            new = self._not_done(results)
            if not new:
                return
            try:
                self._finish_new(new)
                return
            except DataError as error:
                if "may not finish" not in error.cause:
                    raise
        raise NotReadyError(
            "Others keep finishing the same runs.", mend="run it again: what is stored stays"
        )

    def _not_done(self, results: Sequence[RunResult]) -> list[RunResult]:
        """Return the results of runs that are not done yet, each run once."""
        found = self._warehouse.query(
            f"SELECT `run_id` FROM {self._table} "
            "WHERE `run_id` IN UNNEST(@run_ids) AND `status` = 'done'",
            {"run_ids": [str(result.run["run_id"]) for result in results]},
        )
        done = {row["run_id"] for row in found}
        new = {str(r.run["run_id"]): r for r in results if r.run["run_id"] not in done}
        return list(new.values())

    def _finish_new(self, results: Sequence[RunResult]) -> None:
        """Claim the runs, then write them. The transaction changes the claimed rows, so of two
        that overlap BigQuery cancels one, and that one finds the runs done.
        """
        mine = {"host": this_process(), "deadline_at": self._now() + RUN_LIFE}
        rows = [{**mine, **result.run} for result in results]
        claim = {**mine, "status": "running", "error": None, "ended_at": None}
        claims = [{**row, **claim} for row in rows]
        self._warehouse.merge(
            self._schema,
            table_of(self._schema, claims),
            insert_only=True,
            patience_s=SWEEP_PATIENCE_S,
        )
        writes = [
            Write(
                schemas.table("risk", name),
                pa.concat_tables([result.tables[name] for result in results]),
                append=True,
            )
            for name in RESULT_TABLES
        ]
        writes.append(Write(self._schema, table_of(self._schema, rows)))
        guard = (
            f"ASSERT (SELECT COUNT(*) FROM {self._table} WHERE `run_id` IN UNNEST(@run_ids) "
            "AND `status` != 'done') = @runs AS 'these runs may not finish'"
        )
        run_ids = [str(row["run_id"]) for row in rows]
        self._warehouse.write_all(
            writes, guard, {"run_ids": run_ids, "runs": len(rows)}, patience_s=SWEEP_PATIENCE_S
        )

    def done(self, sweep_id: str) -> set[str]:
        """Return the run ids of a sweep's members that are done.

        Read, and not by a query: every task of a sweep does so, and BigQuery queues 1,000 of those.
        """
        where = {"parent_run_id": sweep_id, "status": "done"}
        found = self._warehouse.read(self._schema, where, columns=["run_id"])
        return set(found.column("run_id").to_pylist())

    def members(self, sweep_id: str) -> list[Mapping[str, Any]]:
        """Return the runs of a sweep, in order of their run ids."""
        self._resolve_abandoned()
        sql = f"SELECT * FROM {self._table} WHERE `parent_run_id` = @sweep_id ORDER BY `run_id`"
        return list(self._warehouse.query(sql, {"sweep_id": sweep_id}))

    def fail(self, run_id: str, error: str) -> None:
        """Mark the run ``failed`` with its reason; a run that is not running stays as it is."""
        self._fail_all([run_id], error)

    def _fail_all(self, run_ids: Sequence[str], error: str) -> None:
        self._warehouse.execute(
            f"UPDATE {self._table} SET `status` = 'failed', `error` = @error, `ended_at` = @now "
            "WHERE `run_id` IN UNNEST(@run_ids) AND `status` = 'running'",
            {"run_ids": list(run_ids), "error": error, "now": self._now()},
        )

    def runs(self, limit: int = 50) -> list[Mapping[str, Any]]:
        """Return the newest runs, without the members of sweeps.

        One still running past its deadline or process is failed.
        """
        self._resolve_abandoned()
        sql = (
            f"SELECT * FROM {self._table} WHERE `parent_run_id` IS NULL "
            f"ORDER BY `started_at` DESC, `run_id` LIMIT {int(limit)}"
        )
        return list(self._warehouse.query(sql))

    def performance(self, run_ids: Sequence[str]) -> pa.Table:
        """Return the rows of ``risk.performance`` of these runs, for lists and comparisons."""
        schema = schemas.table("risk", "performance")
        rows = self._warehouse.query(
            f"SELECT * FROM `{self._warehouse.target(schema)}` WHERE `run_id` IN UNNEST(@run_ids)",
            {"run_ids": list(run_ids)},
        )
        return table_of(schema, rows)

    def load(self, run_id: str) -> RunResult:
        """Return a run with its tables; ``run_id`` may be an unambiguous prefix.

        Raises :class:`DataError` that lists the candidates.
        """
        self._resolve_abandoned()
        run = self._one(run_id)
        tables = {}
        for name in RESULT_TABLES:
            schema = schemas.table("risk", name)
            tables[name] = self._warehouse.read(
                schema, {"run_id": run["run_id"]}, order_by=_reading_order(schema.columns)
            )
        return RunResult(run=run, tables=tables)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return the rows of ``risk.risk_event`` of a run, in order of time."""
        schema = schemas.table("risk", "risk_event")
        return plain_rows(
            schema, self._warehouse.read(schema, {"run_id": run_id}, order_by=["time", "event_id"])
        )

    def account_events(self, account: str, since: datetime) -> list[dict[str, Any]]:
        """Return the rows of ``risk.risk_event`` about orders of an account, whoever told them."""
        target = self._warehouse.target(schemas.table("risk", "risk_event"))
        return self._warehouse.query(
            f"SELECT * FROM `{target}` WHERE `time` >= @since AND `account` = @account "
            "AND `order_key` IS NOT NULL ORDER BY `time`, `event_id`",
            {"since": since, "account": account},
        )

    def account_rows(self, account: str, since: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of ``order_event`` and ``fill`` of a broker account, repeats and all.

        Events of an account have ids that begin with its name.
        """
        found = {}
        for name in ("order_event", "fill"):
            target = self._warehouse.target(schemas.table("risk", name))
            found[name] = self._warehouse.query(
                f"SELECT * FROM `{target}` WHERE `time` >= @since "
                "AND STARTS_WITH(`event_id`, @prefix) ORDER BY `time`, `event_id`",
                {"since": since, "prefix": f"{account}-"},
            )
        return found

    def sessions(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return the paper, practice and live runs that ran at any time in [since, until)."""
        return self._warehouse.query(
            f"SELECT * FROM {self._table} WHERE `kind` IN ('paper', 'practice', 'live') "
            "AND `started_at` < @until AND (`ended_at` IS NULL OR `ended_at` >= @since) "
            "ORDER BY `started_at`, `run_id`",
            {"since": since, "until": until},
        )

    def note(self, event: Mapping[str, Any]) -> bool:
        """Store one row of ``risk.risk_event``; False where its id is there already."""
        schema = schemas.table("risk", "risk_event")
        stored = self._warehouse.merge(schema, table_of(schema, [event]), insert_only=True)
        return bool(stored.inserted)

    def _one(self, prefix: str) -> dict[str, Any]:
        found = self._warehouse.query(
            f"SELECT * FROM {self._table} WHERE STARTS_WITH(`run_id`, @prefix) "
            f"ORDER BY `run_id` = @prefix DESC, `started_at` DESC LIMIT {CANDIDATES_SHOWN}",
            {"prefix": prefix},
        )
        if len(found) == 1 or (found and found[0]["run_id"] == prefix):
            return found[0]
        if found:
            raise DataError(
                f"{prefix!r} is the beginning of several runs.",
                tried=[_named(run) for run in found],
                mend="give more of the run id",
            )
        newest = self._warehouse.query(
            f"SELECT * FROM {self._table} ORDER BY `started_at` DESC LIMIT {CANDIDATES_SHOWN}"
        )
        raise DataError(
            f"There is no run {prefix!r}.",
            tried=[_named(run) for run in newest] or ["the store holds no runs"],
            mend="mbats runs list",
        )

    def _guard(self) -> str:
        return (
            f"ASSERT EXISTS (SELECT 1 FROM {self._table} WHERE `run_id` = @run_id AND "
            f"(`status` = 'running' OR STARTS_WITH(`error`, '{ABANDONED}'))) "
            "AS 'this run may not finish'"
        )

    def _refuse_other_results(self, stored: Mapping[str, Any], result: RunResult) -> None:
        same = all(
            self._count(name, str(stored["run_id"])) == result.tables[name].num_rows
            for name in RESULT_TABLES
        ) and stored["ending_value"] == result.run.get("ending_value")
        if not same:
            raise RefusedError(
                f"Run {stored['run_id']} is done with other results.", mend="use a new run id"
            )

    def _count(self, table: str, run_id: str) -> int:
        target = self._warehouse.target(schemas.table("risk", table))
        sql = f"SELECT COUNT(*) AS `rows` FROM `{target}` WHERE `run_id` = @run_id"
        return int(self._warehouse.query(sql, {"run_id": run_id})[0]["rows"])

    def _resolve_abandoned(self) -> None:
        running = self._warehouse.query(f"SELECT * FROM {self._table} WHERE `status` = 'running'")
        given_up: dict[str, list[str]] = {}
        for run in running:
            reason = abandoned(run, self._now())
            if reason:
                given_up.setdefault(reason, []).append(run["run_id"])
        for reason, run_ids in given_up.items():
            self._fail_all(run_ids, ABANDONED + reason)


def abandoned(run: Mapping[str, Any], now: datetime) -> str:
    """Return why a run that claims to be running is not, or an empty text.

    Its deadline has passed, or it ran on this host and its process is gone (or the number now
    belongs to a process that began after the run).
    """
    deadline = run["deadline_at"]
    if deadline is not None and deadline < now:
        return f"still running at its deadline {deadline.isoformat()}."
    host, _, number = (run["host"] or "").rpartition(":")
    if host in _ANONYMOUS_HOSTS or host != _host() or not number.isdigit():
        return ""
    try:
        began = datetime.fromtimestamp(psutil.Process(int(number)).create_time(), UTC)
    except psutil.NoSuchProcess:
        return f"its process {number} on {host} is gone."
    if began > run["started_at"] + CLOCK_SLACK:
        return f"its process {number} on {host} is gone."
    return ""


def this_process() -> str:
    """Return ``host:pid``; in a Cloud Run job the execution and task stand for the host."""
    return f"{_host()}:{os.getpid()}"


def _host() -> str:
    execution = os.environ.get("CLOUD_RUN_EXECUTION")
    if execution:
        return f"{execution}/{os.environ.get('CLOUD_RUN_TASK_INDEX', '0')}"
    return socket.gethostname()


def _only_of(run_id: str, name: str, table: pa.Table) -> None:
    others = set(table.column("run_id").unique().to_pylist()) - {run_id}
    if others:
        raise DataError(
            f"risk.{name}: the result of run {run_id} holds rows of {', '.join(map(str, others))}."
        )


def _reading_order(columns: Sequence[str]) -> list[str]:
    wanted = ("time", "exit_time", "trade_id", "instrument", "event_id")
    return [name for name in wanted if name in columns]


def _named(run: Mapping[str, Any]) -> str:
    return f"{run['run_id']} ({run['strategy']}, {run['status']}, {run['started_at']:%Y-%m-%d})"
