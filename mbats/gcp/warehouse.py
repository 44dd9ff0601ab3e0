"""BigQuery as the desk uses it: idempotent writes, fast reads, no way to store a row twice.

A batch is loaded into a staging table that is named after the batch's content and expires, then
merged into its target on the natural key by one statement. Wherever a process or a service dies,
the same call made again completes the work: the load is atomic, the staging table tells whether
it happened, and merging twice changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types

from mbats.config import Settings
from mbats.gcp import connection
from mbats.gcp.batch import Batch, prepare
from mbats.gcp.connection import LOCAL_SECONDS, speaking
from mbats.gcp.contention import PATIENCE_S, Contention
from mbats.gcp.sql import insert_statement, merge_statement, restriction, upsert_statements
from mbats.gcp.staging import PREFIX, Staging
from mbats.market.history import MergeCount
from mbats.schemas import TableSchema

READ_STREAMS = 4
STAGING_TRIES = 3

# The tasks of a sweep begin together and each asks for its bars: more than Google lets a project
# ask for in a minute, and who is refused asks again.
READ_RETRY = Retry(
    if_exception_type(
        exceptions.ResourceExhausted, exceptions.ServiceUnavailable, exceptions.DeadlineExceeded
    ),
    initial=1.0,
    maximum=60.0,
    timeout=1800.0,
)

Result = TypeVar("Result")

_SQL_TYPES: Mapping[type, str] = {str: "STRING", bool: "BOOL", int: "INT64", datetime: "TIMESTAMP"}


@dataclass(frozen=True)
class Write:
    """Rows for one table. ``append`` skips the comparison with what is stored: for keys that the
    guard of :meth:`Warehouse.write_all` proves to be new.
    """

    schema: TableSchema
    rows: pa.Table
    append: bool = False


class Warehouse:
    """The security master's and the risk store's tables in BigQuery or its emulator."""

    def __init__(
        self,
        settings: Settings,
        client: bigquery.Client,
        reader: BigQueryReadClient,
        contention: Contention | None = None,
    ) -> None:
        self.settings = settings
        self.client = client
        self._reader = reader
        self._local = bool(settings.bigquery_endpoint)
        self._longest = LOCAL_SECONDS if self._local else None
        self._staging = Staging(client, self._longest)
        self._contention = contention or Contention()

    @classmethod
    def open(cls, settings: Settings) -> "Warehouse":
        """Connect. Raises :class:`~mbats.errors.NotReadyError` where nothing answers."""
        return cls(settings, connection.bigquery_client(settings), connection.read_client(settings))

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._reader.transport.close()

    def dataset(self, schema: TableSchema) -> str:
        """Return the dataset that holds the table, as the settings name it."""
        return str(getattr(self.settings, schema.dataset))

    def target(self, schema: TableSchema) -> str:
        """Return the table's full name."""
        return f"{self.settings.project}.{self.dataset(schema)}.{schema.name}"

    def staging(self, schema: TableSchema) -> str:
        """Return the dataset in which the table's batches wait: who may write to it and to a
        table needs no right to make or drop tables beside that one.
        """
        return self.settings.staging_dataset or self.dataset(schema)

    def merge(
        self,
        schema: TableSchema,
        rows: pa.Table,
        *,
        insert_only: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> MergeCount:
        """Store ``rows`` on the natural key: new keys are inserted, differing rows replaced.

        With ``insert_only`` rows whose key is there stay as they are. Other writers of the table
        are waited for, up to ``patience_s`` seconds.

        A column ``ingested_at`` is set by this call and never compared. Raises
        :class:`~mbats.errors.DataError` for rows that do not fit (see
        :func:`mbats.gcp.batch.prepare`); nothing is stored then.
        """
        if not rows.num_rows:
            return MergeCount(0, 0)
        batch = prepare(schema, rows)
        with speaking(f"Store {batch.rows} rows in {self.target(schema)}"):
            return _with_staging(lambda: self._merge(batch, insert_only, patience_s))

    def write_all(
        self,
        writes: Sequence[Write],
        guard: str = "",
        parameters: Mapping[str, Any] | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Store the rows of several tables in one transaction: all of them or none.

        ``guard`` is SQL that runs first inside the transaction, for example an ASSERT. Other
        writers of the tables are waited for, up to ``patience_s`` seconds.
        """
        full = [
            (prepare(write.schema, write.rows), write.append)
            for write in writes
            if write.rows.num_rows
        ]
        tables = ", ".join(self.target(batch.schema) for batch, _ in full)
        with speaking(f"Store in {tables}"):
            _with_staging(lambda: self._commit(full, guard, dict(parameters or {}), patience_s))

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run ``sql`` and return its rows: for small answers; bars are read by :meth:`read`."""
        config = _parameters(parameters or {})
        with speaking("Query"):
            found = self._contention.outlast(
                lambda: self.client.query_and_wait(sql, job_config=config)
            )
            return [dict(row.items()) for row in found]

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run one DML statement and return the number of rows it changed."""
        with speaking("Change"):
            return self._run(sql, parameters or {}).num_dml_affected_rows or 0

    def read(
        self,
        schema: TableSchema,
        where: Mapping[str, Any],
        columns: Sequence[str] | None = None,
        order_by: Sequence[str] = (),
    ) -> pa.Table:
        """Read rows over the Storage Read API: columns in the schema's order and Arrow types.

        ``where`` is as in :func:`mbats.gcp.sql.restriction`.
        """
        chosen = [n for n in schema.columns if columns is None or n in columns]
        target = pa.schema([schema.arrow.field(name) for name in chosen])
        with speaking(f"Read {self.target(schema)}"):
            session = self._reader.create_read_session(
                parent=f"projects/{self.settings.project}",
                read_session=types.ReadSession(
                    table=f"projects/{self.settings.project}/datasets/{self.dataset(schema)}"
                    f"/tables/{schema.name}",
                    data_format=types.DataFormat.ARROW,
                    read_options=types.ReadSession.TableReadOptions(
                        selected_fields=chosen, row_restriction=restriction(where)
                    ),
                ),
                max_stream_count=READ_STREAMS,
                **(self._patience() or {"retry": READ_RETRY}),
            )
            parts = self._streams(session)
        found = [part.select(chosen).cast(target) for part in parts if part.num_rows]
        table = pa.concat_tables(found) if found else target.empty_table()
        return table.sort_by([(name, "ascending") for name in order_by]) if order_by else table

    def _streams(self, session: types.ReadSession) -> list[pa.Table]:
        def one(name: str) -> pa.Table:
            return self._reader.read_rows(name, **self._patience()).rows(session).to_arrow()

        with ThreadPoolExecutor(max_workers=max(1, len(session.streams))) as pool:
            return list(pool.map(one, [stream.name for stream in session.streams]))

    def _patience(self) -> dict[str, Any]:
        """Google's own retries in the cloud; none against an emulator, which is up or down."""
        return {"retry": None, "timeout": LOCAL_SECONDS} if self._local else {}

    def _merge(self, batch: Batch, insert_only: bool, patience_s: float) -> MergeCount:
        staging = self._staging.fill(batch, self.staging(batch.schema))
        sql, parameters = merge_statement(
            batch, self.target(batch.schema), staging, "p", insert_only=insert_only
        )
        stats = self._run(sql, parameters, patience_s).dml_stats
        self._staging.drop([staging])
        return MergeCount(inserted=stats.inserted_row_count, updated=stats.updated_row_count)

    def _commit(
        self,
        batches: Sequence[tuple[Batch, bool]],
        guard: str,
        parameters: Mapping[str, Any],
        patience_s: float,
    ) -> None:
        values = dict(parameters)
        statements = [guard] if guard else []
        staged = self._staging.fill_all(
            [batch for batch, _ in batches], [self.staging(batch.schema) for batch, _ in batches]
        )
        for index, ((batch, append), staging) in enumerate(zip(batches, staged, strict=True)):
            target = self.target(batch.schema)
            if append:
                statements.append(insert_statement(batch.schema, target, staging))
                continue
            upsert, more = upsert_statements(batch, target, staging, f"p{index}")
            statements += upsert
            values |= more
        script = ";\n".join(["BEGIN TRANSACTION", *statements, "COMMIT TRANSACTION"]) + ";"
        self._run(script, values, patience_s)
        self._staging.drop(staged)

    def _run(
        self, sql: str, parameters: Mapping[str, Any], patience_s: float = PATIENCE_S
    ) -> bigquery.QueryJob:
        def once() -> bigquery.QueryJob:
            job = self.client.query(sql, job_config=_parameters(parameters))
            job.result(timeout=self._longest)
            return job

        return self._contention.outlast(once, patience_s)


def _with_staging(work: Callable[[], Result]) -> Result:
    """Do ``work`` again where another process, loading the same rows, dropped the staging table."""
    for _ in range(STAGING_TRIES - 1):
        try:
            return work()
        except exceptions.NotFound as error:
            if PREFIX not in str(error):
                raise
    return work()


def _parameters(values: Mapping[str, Any]) -> bigquery.QueryJobConfig:
    return bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ArrayQueryParameter(name, "STRING", value)
            if isinstance(value, list)
            else bigquery.ScalarQueryParameter(name, _SQL_TYPES[type(value)], value)
            for name, value in values.items()
        ]
    )
