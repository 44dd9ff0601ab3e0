"""Rows of live sessions: the run itself, and the tables that no topic carries."""

import queue
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mbats import schemas
from mbats.errors import MbatsError
from mbats.gcp.batch import table_of
from mbats.gcp.risk_store import RiskStore
from mbats.gcp.warehouse import Warehouse

Row = dict[str, Any]


class LiveRuns:
    """The row of a session in ``risk.run``; a :class:`mbats.live.bot.Runs`."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._store = RiskStore(warehouse)

    def start(self, row: Mapping[str, Any]) -> None:
        """Record that the session has begun. Raises :class:`RefusedError` for a taken run id."""
        self._store.start(row)

    def end(self, row: Mapping[str, Any], error: str | None) -> None:
        """Record that it has ended, ``failed`` where there is an error."""
        if error is not None:
            self._store.fail(str(row["run_id"]), error)
            return
        schema = schemas.table("risk", "run")
        done = {**row, "status": "done", "error": None}
        self._warehouse.merge(schema, table_of(schema, [done]))


class RowWriter(threading.Thread):
    """Merges rows into tables of ``risk`` in the background, in batches: the bot never waits.

    ``problems`` are the batches that could not be written, told in the log of the caller; an
    equity curve with a hole is no reason to stop trading.
    """

    def __init__(self, warehouse: Warehouse, every_seconds: float = 30.0) -> None:
        super().__init__(name="rows", daemon=True)
        self._warehouse = warehouse
        self._every_seconds = every_seconds
        self._rows: queue.SimpleQueue[tuple[str, Row]] = queue.SimpleQueue()
        self._ending = threading.Event()
        self.problems: list[str] = []

    def __call__(self, table: str, rows: Sequence[Row]) -> None:
        """Take rows of a table; from any thread."""
        for row in rows:
            self._rows.put((table, row))

    def run(self) -> None:
        """Write what has come, now and then, and once more at the end."""
        while not self._ending.wait(self._every_seconds):
            self._write()
        self._write()

    def close(self) -> None:
        """Write the rest and end."""
        self._ending.set()
        self.join()

    def _write(self) -> None:
        batches: dict[str, list[Row]] = defaultdict(list)
        while not self._rows.empty():
            table, row = self._rows.get()
            batches[table].append(row)
        for table, rows in batches.items():
            schema = schemas.table("risk", table)
            try:
                self._warehouse.merge(schema, table_of(schema, rows))
            except MbatsError as error:
                self.problems.append(f"{len(rows)} rows of {table}: {error.cause}")
