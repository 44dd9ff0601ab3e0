"""Rows of live sessions: the run itself, and the tables that no topic carries."""

import logging
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

log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""How many rows of one table wait at most for a warehouse that does not answer."""

Row = dict[str, Any]


class LiveRuns:
    """The row of a session in ``risk.run``; a :class:`mbats.live.bot.Runs`."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._store = RiskStore(warehouse)

    def start(self, row: Mapping[str, Any]) -> None:
        """Record that the session has begun. Raises :class:`RefusedError` for a taken run id."""
        self._store.start(row)

    def note(self, row: Mapping[str, Any]) -> None:
        """Record more about a session that is running."""
        self._merge({**row, "status": "running"})

    def end(self, row: Mapping[str, Any], error: str | None) -> None:
        """Record that it has ended, ``failed`` where there is an error."""
        self._merge({**row, "status": "done" if error is None else "failed", "error": error})

    def _merge(self, row: Mapping[str, Any]) -> None:
        schema = schemas.table("risk", "run")
        self._warehouse.merge(schema, table_of(schema, [row]))


class RowWriter(threading.Thread):
    """Merges rows into tables of ``risk`` in the background, in batches: the bot never waits.

    What cannot be written is kept and tried again; beyond :data:`MOST_WAITING` rows of a table the
    oldest are given up and told in the log: an equity curve with a hole is no reason to stop
    trading.
    """

    def __init__(self, warehouse: Warehouse, every_seconds: float = 30.0) -> None:
        super().__init__(name="rows", daemon=True)
        self._warehouse = warehouse
        self._every_seconds = every_seconds
        self._rows: queue.SimpleQueue[tuple[str, Row]] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._waiting: dict[str, list[Row]] = defaultdict(list)

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
        while not self._rows.empty():
            table, row = self._rows.get()
            self._waiting[table].append(row)
        for table, rows in self._waiting.items():
            if rows and self._written(table, rows):
                rows.clear()
            elif len(rows) > MOST_WAITING:
                log.error("%d rows of risk.%s are lost", len(rows) - MOST_WAITING, table)
                del rows[:-MOST_WAITING]

    def _written(self, table: str, rows: Sequence[Row]) -> bool:
        schema = schemas.table("risk", table)
        key = schema.primary_key
        newest = {tuple(row[name] for name in key): row for row in rows}
        try:
            self._warehouse.merge(schema, table_of(schema, list(newest.values())))
        except (MbatsError, OSError) as error:
            log.warning("%d rows of risk.%s are not written yet: %s", len(rows), table, error)
            return False
        return True
