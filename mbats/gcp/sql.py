"""The SQL of the warehouse, as text: how a batch gets into its target, and literals. Pure.

Every name is quoted; a column may be called ``open`` or ``time``.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mbats.gcp.batch import WRITTEN_AT, Batch, stored_columns
from mbats.schemas import TableSchema


def merge_statement(
    batch: Batch, target: str, staging: str, prefix: str, *, insert_only: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return a MERGE of the table ``staging`` into ``target`` and its query parameters.

    Rows with a new key are inserted; rows whose values differ are updated, unless
    ``insert_only``; others stay as they are. ``prefix`` keeps the parameters of several
    statements of one script apart.
    """
    schema = batch.schema
    on, parameters = _match(batch, prefix)
    update = "" if insert_only else _when_matched(schema)
    statement = (
        f"MERGE `{target}` AS t\nUSING ({_source(schema, staging)}) AS s\nON {on}\n{update}"
        f"WHEN NOT MATCHED THEN INSERT ({_targets(schema)}) VALUES ({_values(schema)})"
    )
    return statement, parameters


def upsert_statements(
    batch: Batch, target: str, staging: str, prefix: str
) -> tuple[list[str], dict[str, Any]]:
    """Return an UPDATE and an INSERT that together do what the MERGE does, and their parameters.

    For use inside a transaction, where the local BigQuery knows no MERGE.
    """
    schema = batch.schema
    on, parameters = _match(batch, prefix)
    source = _source(schema, staging)
    statements = []
    if _compared(schema):
        statements.append(
            f"UPDATE `{target}` AS t SET {_changes(schema)}\nFROM ({source}) AS s\n"
            f"WHERE {on} AND ({_differs(schema)})"
        )
    statements.append(
        f"{insert_statement(schema, target, staging)}\n"
        f"WHERE NOT EXISTS (SELECT 1 FROM `{target}` AS t WHERE {on})"
    )
    return statements, parameters


def insert_statement(schema: TableSchema, target: str, staging: str) -> str:
    """Return an INSERT of every row of ``staging`` into ``target``."""
    return (
        f"INSERT INTO `{target}` ({_targets(schema)})\n"
        f"SELECT {_values(schema)} FROM ({_source(schema, staging)}) AS s"
    )


def restriction(where: Mapping[str, Any]) -> str:
    """Return a row restriction: each column equals its value, or lies in [first, end).

    A pair stands for such a range; either end may be None.
    """
    terms = []
    for name, value in where.items():
        if isinstance(value, tuple):
            first, end = value
            if first is not None:
                terms.append(f"`{name}` >= {literal(first)}")
            if end is not None:
                terms.append(f"`{name}` < {literal(end)}")
        elif value is None:
            terms.append(f"`{name}` IS NULL")
        else:
            terms.append(f"`{name}` = {literal(value)}")
    return " AND ".join(terms)


def literal(value: object) -> str:
    """Return ``value`` (text, number, boolean or aware time) as a GoogleSQL literal."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return f"TIMESTAMP '{value.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # GoogleSQL knows JSON's escapes
    return str(value)


def _source(schema: TableSchema, staging: str) -> str:
    # A Parquet load cannot fill a JSON column, so staging keeps JSON as text.
    kinds = {field["name"]: field["type"] for field in schema.fields}
    columns = (
        f"PARSE_JSON(`{name}`) AS `{name}`" if kinds[name] == "JSON" else f"`{name}`"
        for name in stored_columns(schema)
    )
    return f"SELECT {', '.join(columns)} FROM `{staging}`"


def _match(batch: Batch, prefix: str) -> tuple[str, dict[str, Any]]:
    """Return the condition that target t and source s have one key, narrowed by constants."""
    schema = batch.schema
    parameters: dict[str, Any] = {}
    conditions = [f"t.`{name}` = s.`{name}`" for name in schema.primary_key]
    for index, (name, value) in enumerate(batch.constants.items()):
        parameters[f"{prefix}_{index}"] = value
        conditions.append(f"t.`{name}` = @{prefix}_{index}")
    if batch.span and schema.time_partitioning:
        parameters[f"{prefix}_first"], parameters[f"{prefix}_last"] = batch.span
        field = schema.time_partitioning["field"]
        conditions.append(f"t.`{field}` BETWEEN @{prefix}_first AND @{prefix}_last")
    return " AND ".join(conditions), parameters


def _when_matched(schema: TableSchema) -> str:
    if not _compared(schema):
        return ""
    return f"WHEN MATCHED AND ({_differs(schema)}) THEN UPDATE SET {_changes(schema)}\n"


def _compared(schema: TableSchema) -> list[str]:
    return [name for name in stored_columns(schema) if name not in schema.primary_key]


def _changes(schema: TableSchema) -> str:
    changes = [f"`{name}` = s.`{name}`" for name in _compared(schema)]
    if WRITTEN_AT in schema.columns:
        changes.append(f"`{WRITTEN_AT}` = CURRENT_TIMESTAMP()")
    return ", ".join(changes)


def _differs(schema: TableSchema) -> str:
    fields = {field["name"]: field for field in schema.fields}
    return " OR ".join(_field_differs(fields[name]) for name in _compared(schema))


def _field_differs(field: Mapping[str, str]) -> str:
    old, new = f"t.`{field['name']}`", f"s.`{field['name']}`"
    if field["type"] == "JSON" or field["mode"] == "REPEATED":  # neither can be compared
        old, new = f"TO_JSON_STRING({old})", f"TO_JSON_STRING({new})"
    return f"{old} IS DISTINCT FROM {new}"


def _targets(schema: TableSchema) -> str:
    return ", ".join(f"`{name}`" for name in schema.columns)


def _values(schema: TableSchema) -> str:
    return ", ".join(
        "CURRENT_TIMESTAMP()" if name == WRITTEN_AT else f"s.`{name}`" for name in schema.columns
    )
