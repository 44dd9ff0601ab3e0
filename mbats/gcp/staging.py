"""Staging tables: where a batch waits, whole, until one statement takes it into its target."""

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa
from google.api_core import exceptions
from google.cloud import bigquery

from mbats.gcp.batch import Batch, stored_columns
from mbats.schemas import TableSchema

PREFIX = "staging_"
LIFE = timedelta(days=1)
AT_ONCE = 4


class Staging:
    """Loads batches into tables that are named after their content and expire."""

    def __init__(self, client: bigquery.Client, patience: float | None) -> None:
        """``patience`` is how many seconds a load may take; None is for ever."""
        self._client = client
        self._patience = patience

    def fill(self, batch: Batch, dataset: str) -> str:
        """Load the batch, unless a former try already has; return the staging table's full name.

        The table's name and the load's job id follow from the content. A load is whole or not at
        all, so a staging table with the batch's number of rows holds the batch.
        """
        schema = batch.schema
        table = bigquery.Table(
            f"{self._client.project}.{dataset}.{PREFIX}{schema.name}_{batch.digest}",
            schema=_fields(schema),
        )
        job_id = f"mbats_{dataset}_{schema.name}_{batch.digest}"
        if self._tried(job_id):
            if self._holds(table, batch.rows):
                return str(table.reference)
            job_id = f"{job_id}_{uuid.uuid4().hex[:12]}"  # a job id serves once
        table.expires = datetime.now(UTC) + LIFE
        self._client.create_table(table, exists_ok=True)
        self._load(batch, table, job_id)
        return str(table.reference)

    def fill_all(self, batches: Sequence[Batch], datasets: Sequence[str]) -> list[str]:
        """Fill several staging tables at once."""
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            return list(pool.map(self.fill, batches, datasets))

    def drop(self, names: Sequence[str]) -> None:
        """Delete staging tables whose rows have arrived."""
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            list(pool.map(partial(self._client.delete_table, not_found_ok=True), names))

    def _holds(self, table: bigquery.Table, rows: int) -> bool:
        try:
            return bool(self._client.get_table(table.reference).num_rows == rows)
        except exceptions.NotFound:
            return False

    def _tried(self, job_id: str) -> bool:
        """Return whether a load of this content was ever asked for.

        One still under way is not waited for: it may belong to an emulator that was killed and
        never end, and loading the same rows beside it changes nothing.
        """
        try:
            self._client.get_job(job_id, location=self._client.location)
        except exceptions.NotFound:
            return False
        return True

    def _load(self, batch: Batch, table: bigquery.Table, job_id: str) -> None:
        options = bigquery.ParquetOptions()
        options.enable_list_inference = True  # without it an Arrow list is no REPEATED column
        config = bigquery.LoadJobConfig(
            schema=table.schema,
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        )
        config.parquet_options = options
        try:
            job = self._client.load_table_from_file(
                pa.BufferReader(batch.parquet),
                table.reference,
                size=batch.parquet.size,
                job_id=job_id,
                job_config=config,
            )
        except exceptions.Conflict:  # asked a moment ago elsewhere, or our own answer was lost
            job = self._client.get_job(job_id, location=self._client.location)
        job.result(timeout=self._patience)


def _fields(schema: TableSchema) -> list[bigquery.SchemaField]:
    """Return the columns of a staging table: JSON as text, which is what Parquet can carry."""
    fields = {field["name"]: field for field in schema.fields}
    return [
        bigquery.SchemaField(
            name,
            "STRING" if fields[name]["type"] == "JSON" else fields[name]["type"],
            fields[name]["mode"],
        )
        for name in stored_columns(schema)
    ]
