"""A batch of rows made ready to store: complete, of the right types, each key once. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mbats.errors import DataError
from mbats.schemas import TableSchema

WRITTEN_AT = "ingested_at"  # set by the warehouse when it writes, never compared
DIGEST_LENGTH = 20


@dataclass(frozen=True)
class Batch:
    """Rows of one table as a Parquet file without ``ingested_at``, and what is known of them.

    ``digest`` names the content. ``constants`` are key columns with one value in all rows;
    ``span`` is the smallest and largest value of the partitioning column where that is part of
    the key: both let BigQuery leave most of the target unread.
    """

    schema: TableSchema
    rows: int
    parquet: pa.Buffer
    digest: str
    constants: Mapping[str, str]
    span: tuple[Any, Any] | None


def stored_columns(schema: TableSchema) -> tuple[str, ...]:
    """Return the columns that a batch carries."""
    return tuple(name for name in schema.columns if name != WRITTEN_AT)


def table_of(schema: TableSchema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return ``rows`` (plain Python values, JSON columns too) as an Arrow table.

    Columns that no row has are left out. Raises :class:`DataError` naming table, column and row.
    """
    unknown = sorted({name for row in rows for name in row} - set(schema.columns))
    if unknown:
        raise _unknown(schema, unknown)
    arrays, fields = [], []
    for field, column in zip(schema.arrow, schema.fields, strict=True):
        if not any(field.name in row for row in rows):
            continue
        values = [row.get(field.name) for row in rows]
        if column["type"] == "JSON":
            values = [None if v is None else json.dumps(v, default=str) for v in values]
        arrays.append(_array(schema, field, values))
        fields.append(field.with_nullable(True))
    return pa.table(arrays, schema=pa.schema(fields))


def plain_rows(schema: TableSchema, table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of ``table`` as dictionaries, JSON columns parsed."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for name in (f["name"] for f in schema.fields if f["type"] == "JSON"):
        for row in rows:
            if row.get(name) is not None:
                row[name] = json.loads(row[name])
    return rows


def prepare(schema: TableSchema, rows: pa.Table) -> Batch:
    """Check ``rows`` against ``schema`` and make a batch of them.

    Nullable columns may be missing. Equal rows count once. Raises :class:`DataError` naming the
    table and the column, row or key: an unknown or missing column, a value that does not fit, a
    null where a value is required, text that is not JSON, two different rows with one key.
    """
    table = _once(schema, _conformed(schema, rows))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    parquet = sink.getvalue()
    return Batch(
        schema=schema,
        rows=table.num_rows,
        parquet=parquet,
        digest=hashlib.sha256(parquet).hexdigest()[:DIGEST_LENGTH],
        constants=_constants(schema, table),
        span=_span(schema, table),
    )


def _array(schema: TableSchema, field: pa.Field, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        for row, value in enumerate(values):
            try:
                pa.array([value], field.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{_name(schema)} row {row}: column {field.name} cannot hold {value!r}: {error}"
                ) from error
        raise


def _conformed(schema: TableSchema, rows: pa.Table) -> pa.Table:
    unknown = sorted(set(rows.column_names) - set(schema.columns))
    if unknown:
        raise _unknown(schema, unknown)
    target = pa.schema([schema.arrow.field(name) for name in stored_columns(schema)])
    kinds = {field["name"]: field for field in schema.fields}
    columns = [_column(schema, field, kinds[field.name], rows) for field in target]
    return pa.table(columns, schema=target)


def _column(
    schema: TableSchema, field: pa.Field, column: Mapping[str, str], rows: pa.Table
) -> pa.Array | pa.ChunkedArray:
    if field.name not in rows.column_names:
        if column["mode"] == "REQUIRED":
            raise DataError(f"{_name(schema)}: column {field.name} is required and missing.")
        if column["mode"] == "REPEATED":
            return pa.array([[]] * rows.num_rows, field.type)
        return pa.nulls(rows.num_rows, field.type)
    values = rows.column(field.name)
    if pa.types.is_decimal(field.type) and pa.types.is_floating(values.type):
        raise DataError(
            f"{_name(schema)}: column {field.name} is NUMERIC and was given floats.",
            mend="give decimals (mbats.market.numeric.from_float64)",
        )
    try:
        values = values.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(f"{_name(schema)}: column {field.name} does not fit: {error}") from error
    if column["mode"] == "REQUIRED" and values.null_count:
        row = values.is_null().index(True).as_py()
        raise DataError(
            f"{_name(schema)} row {row}: column {field.name} is required and null.",
            tried=[f"the row: {_shown(rows.slice(row, 1).to_pylist()[0])}"],
        )
    if column["type"] == "JSON":
        return _canonical_json(schema, field, values)
    return values


def _canonical_json(schema: TableSchema, field: pa.Field, values: pa.ChunkedArray) -> pa.Array:
    """Return the texts in one spelling, so that equal values compare equal in every BigQuery."""
    texts = []
    for row, text in enumerate(values.to_pylist()):
        try:
            value = None if text is None else json.loads(text)
            texts.append(
                None
                if text is None
                else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
            )
        except ValueError as error:
            raise DataError(
                f"{_name(schema)} row {row}: column {field.name} is not JSON: {error}"
            ) from error
    return pa.array(texts, field.type)


def _once(schema: TableSchema, table: pa.Table) -> pa.Table:
    """Return ``table`` with each key once; differing rows of one key are an error."""
    key = list(schema.primary_key)
    counts = table.select(key).group_by(key).aggregate([([], "count_all")])
    if counts.num_rows == table.num_rows:
        return table
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    keep = []
    for index, row in enumerate(table.to_pylist()):
        name = tuple(row[column] for column in key)
        if name not in seen:
            seen[name] = row
            keep.append(index)
            continue
        differing = [c for c, value in row.items() if not _same(value, seen[name][c])]
        if differing:
            named = ", ".join(f"{c}={v}" for c, v in zip(key, name, strict=True))
            raise DataError(
                f"{_name(schema)}: two rows of one batch have the key {named} and differ in "
                f"{', '.join(differing)}.",
                tried=[f"row {index}", "the earlier row of that key"],
                mend="send each key once",
            )
    return table.take(keep)


def _same(left: object, right: object) -> bool:
    return left == right or (left != left and right != right)  # NaN is NaN


def _constants(schema: TableSchema, table: pa.Table) -> dict[str, str]:
    kinds = {field["name"]: field["type"] for field in schema.fields}
    found = {}
    for name in schema.primary_key:
        if kinds[name] == "STRING" and table.num_rows:
            bounds = pc.min_max(table.column(name)).as_py()
            if bounds["min"] == bounds["max"]:
                found[name] = bounds["min"]
    return found


def _span(schema: TableSchema, table: pa.Table) -> tuple[Any, Any] | None:
    partitioning = schema.time_partitioning
    if not table.num_rows or not partitioning or partitioning["field"] not in schema.primary_key:
        return None
    bounds = pc.min_max(table.column(partitioning["field"])).as_py()
    return bounds["min"], bounds["max"]


def _unknown(schema: TableSchema, names: Sequence[str]) -> DataError:
    return DataError(
        f"{_name(schema)} has no column {', '.join(names)}.", tried=list(schema.columns)
    )


def _name(schema: TableSchema) -> str:
    return f"{schema.dataset}.{schema.name}"


def _shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)[:200]
