"""`mbats init`: makes the datasets and tables what the schema files say, or says why it will not.

Adds what is missing, updates descriptions, clustering and keys, and refuses whatever BigQuery
could only do by dropping data: nothing is touched then, in any table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

from google.api_core import exceptions
from google.cloud import bigquery
from google.cloud.bigquery.table import PrimaryKey, TableConstraints

from mbats.errors import RefusedError
from mbats.gcp.connection import speaking
from mbats.gcp.staging import LIFE
from mbats.gcp.warehouse import Warehouse
from mbats.schemas import TableSchema

AT_ONCE = 4

Action = Literal["created", "changed", "unchanged"]
Item = TypeVar("Item")
Result = TypeVar("Result")

DATASET_DESCRIPTIONS = {
    "security_master": "What is traded and how its prices were: instruments, bars, ticks, quality.",
    "risk": "What the strategies did: runs, orders, fills, trades, equity, performance.",
    "staging_dataset": "Batches on their way into a table; what is a day old goes by itself.",
}

# BigQuery answers with the legacy name or with the SQL name of a type, depending on who asks.
_ALIASES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "DECIMAL": "NUMERIC"}


@dataclass(frozen=True)
class Change:
    """What was done, or would be done, to one dataset, table or view."""

    name: str
    action: Action
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    change: Change
    table: bigquery.Table | None = None
    properties: tuple[str, ...] = ()


def apply_tables(
    warehouse: Warehouse, schemas: Iterable[TableSchema], dry_run: bool = False
) -> list[Change]:
    """Bring every table to its schema and return what changed, one :class:`Change` a table.

    With ``dry_run`` nothing is written. Raises :class:`RefusedError` that names every table and
    column of a destructive change; nothing at all was changed then.
    """
    client = warehouse.client
    wanted = list(schemas)
    with speaking("Apply the table schemas"):
        logical = [*dict.fromkeys(schema.dataset for schema in wanted)]
        if warehouse.settings.staging_dataset:
            logical.append("staging_dataset")
        changes = [_dataset(warehouse, name, dry_run) for name in logical]
        found = _each(lambda schema: find_table(client, warehouse.target(schema)), wanted)
        plans: list[_Plan] = []
        refusals: list[str] = []
        for schema, table in zip(wanted, found, strict=True):
            name = warehouse.target(schema)
            if table is None:
                plans.append(_Plan(Change(name, "created"), _new(warehouse, schema)))
                continue
            refusals += _destructive(schema, table, name)
            plans.append(_update(schema, table, name))
        if refusals:
            raise RefusedError(
                "The tables differ from their schemas in ways that would destroy data.",
                tried=refusals,
                mend="restore the schema file, or copy the data to a new table yourself",
            )
        if not dry_run:
            _each(lambda plan: _carry_out(client, plan), plans)
    return [*changes, *(plan.change for plan in plans)]


def find_table(client: bigquery.Client, name: str) -> bigquery.Table | None:
    """Return the table or view as it is, or None."""
    try:
        return client.get_table(name)
    except exceptions.NotFound:
        return None


def _each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(work, items))


def _dataset(warehouse: Warehouse, logical: str, dry_run: bool) -> Change:
    settings = warehouse.settings
    name = f"{settings.project}.{getattr(settings, logical)}"
    try:
        found = warehouse.client.get_dataset(name)
    except exceptions.NotFound:
        wanted = bigquery.Dataset(name)
        wanted.location = settings.location
        wanted.description = DATASET_DESCRIPTIONS[logical]
        if logical == "staging_dataset":
            wanted.default_table_expiration_ms = LIFE // timedelta(milliseconds=1)
        if not dry_run:
            warehouse.client.create_dataset(wanted, exists_ok=True)
        return Change(name, "created")
    if (found.location or settings.location).upper() != settings.location.upper():
        raise RefusedError(
            f"Dataset {name} lies in {found.location}, the settings say {settings.location}.",
            mend=f"MBATS_LOCATION={found.location}, or another dataset name",
        )
    return Change(name, "unchanged")


def _new(warehouse: Warehouse, schema: TableSchema) -> bigquery.Table:
    table = bigquery.Table(
        warehouse.target(schema), schema=[_field(column) for column in schema.fields]
    )
    table.description = schema.description
    if schema.time_partitioning:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=schema.time_partitioning["type"], field=schema.time_partitioning["field"]
        )
        table.require_partition_filter = schema.require_partition_filter
    if schema.clustering:
        table.clustering_fields = list(schema.clustering)
    table.table_constraints = _key(schema)
    return table


def _update(schema: TableSchema, found: bigquery.Table, name: str) -> _Plan:
    """Return what must change in ``found``, already changed in the returned table object."""
    fields, details = _merged_fields(schema, found)
    properties = ["schema"] if details else []
    if details:
        found.schema = fields
    if (found.description or "") != schema.description:
        found.description = schema.description
        properties.append("description")
    if tuple(found.clustering_fields or ()) != schema.clustering:
        found.clustering_fields = list(schema.clustering) or None
        properties.append("clustering_fields")
    if bool(found.require_partition_filter) != schema.require_partition_filter:
        found.require_partition_filter = schema.require_partition_filter
        properties.append("require_partition_filter")
    if _key_columns(found) != schema.primary_key:
        found.table_constraints = _key(schema)
        properties.append("table_constraints")
    details += [_READABLE[name] for name in properties if name in _READABLE]
    action: Action = "changed" if properties else "unchanged"
    return _Plan(Change(name, action, tuple(details)), found, tuple(properties))


_READABLE = {
    "description": "description",
    "clustering_fields": "clustering",
    "require_partition_filter": "partition filter",
    "table_constraints": "primary key",
}


def _merged_fields(
    schema: TableSchema, found: bigquery.Table
) -> tuple[list[bigquery.SchemaField], list[str]]:
    """Return the table's columns with additions, relaxations and new descriptions in place."""
    wanted = {column["name"]: column for column in schema.fields}
    fields, details = [], []
    for field in found.schema:
        column = wanted.pop(field.name, None)
        if column is None or _same_field(field, column):
            fields.append(field)
            continue
        relaxed = field.mode != column["mode"]
        details.append(f"{'relaxed' if relaxed else 'described'} {field.name}")
        resource = field.to_api_repr() | {
            "mode": column["mode"],
            "description": column["description"],
        }
        fields.append(bigquery.SchemaField.from_api_repr(resource))
    for column in wanted.values():
        details.append(f"added {column['name']}")
        fields.append(_field(column))
    return fields, details


def _destructive(schema: TableSchema, found: bigquery.Table, name: str) -> list[str]:
    """Return what would have to be destroyed in ``found``, one sentence each."""
    wanted = {column["name"]: column for column in schema.fields}
    there = {field.name: field for field in found.schema}
    reasons = []
    if found.table_type != "TABLE":
        reasons.append(f"{name}: is a {found.table_type}, not a table")
    for field in found.schema:
        column = wanted.get(field.name)
        if column is None:
            reasons.append(f"{name}: column {field.name} is stored but gone from the schema")
        elif _type(field.field_type) != column["type"]:
            reasons.append(
                f"{name}: column {field.name} is {_type(field.field_type)}, "
                f"the schema says {column['type']}"
            )
        elif not _mode_allowed(field.mode, column["mode"]):
            reasons.append(
                f"{name}: column {field.name} is {field.mode}, the schema says {column['mode']}"
            )
    reasons += [
        f"{name}: column {column['name']} is new and REQUIRED; stored rows have no value for it"
        for column in schema.fields
        if column["name"] not in there and column["mode"] == "REQUIRED"
    ]
    if _partitioning(found) != (dict(schema.time_partitioning or {}) or None):
        reasons.append(
            f"{name}: partitioned by {_partitioning(found)}, the schema says "
            f"{dict(schema.time_partitioning or {}) or None}"
        )
    return reasons


def _carry_out(client: bigquery.Client, plan: _Plan) -> None:
    if plan.table is None or plan.change.action == "unchanged":
        return
    if plan.change.action == "created":
        client.create_table(plan.table, exists_ok=True)
    else:
        client.update_table(plan.table, list(plan.properties))


def _field(column: Mapping[str, str]) -> bigquery.SchemaField:
    return bigquery.SchemaField.from_api_repr(dict(column))


def _same_field(field: bigquery.SchemaField, column: Mapping[str, str]) -> bool:
    return (str(field.mode), field.description or "") == (column["mode"], column["description"])


def _mode_allowed(stored: str, wanted: str) -> bool:
    return stored == wanted or (stored, wanted) == ("REQUIRED", "NULLABLE")


def _type(name: str) -> str:
    return _ALIASES.get(name, name)


def _key(schema: TableSchema) -> TableConstraints:
    return TableConstraints(
        primary_key=PrimaryKey(columns=list(schema.primary_key)), foreign_keys=[]
    )


def _key_columns(table: bigquery.Table) -> tuple[str, ...]:
    constraints = table.table_constraints
    if constraints is None or constraints.primary_key is None:
        return ()
    return tuple(constraints.primary_key.columns)


def _partitioning(table: bigquery.Table) -> dict[str, str | None] | None:
    if table.range_partitioning is not None:
        return {"type": "RANGE", "field": table.range_partitioning.field}
    found = table.time_partitioning
    return None if found is None else {"type": found.type_, "field": found.field}
