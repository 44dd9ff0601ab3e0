"""The tables of the security master and the risk store, read from the files that Terraform reads.

One JSON file a table, in ``terraform/modules/warehouse/schemas/<dataset>/<table>.json``; a wheel
carries a copy. Nothing else in the library writes down a column's type.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from mbats.errors import ConfigError

DATASETS = ("security_master", "risk")

_PACKAGED = Path(__file__).parent / "_schemas"
_IN_TREE = Path(__file__).parent.parent / "terraform" / "modules" / "warehouse" / "schemas"

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "STRING": pa.string(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
    "JSON": pa.string(),  # JSON text; the warehouse adapter tells BigQuery that it is JSON
}


@dataclass(frozen=True)
class TableSchema:
    """One table: its columns in BigQuery's spelling, natural key, partitioning, clustering."""

    dataset: str
    name: str
    description: str
    primary_key: tuple[str, ...]
    fields: tuple[Mapping[str, str], ...]
    time_partitioning: Mapping[str, str] | None
    require_partition_filter: bool
    clustering: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(field["name"] for field in self.fields)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema of the table's rows."""
        return pa.schema([_arrow_field(field) for field in self.fields])


def _arrow_field(field: Mapping[str, str]) -> pa.Field:
    kind = ARROW_TYPES[field["type"]]
    if field["mode"] == "REPEATED":
        return pa.field(field["name"], pa.list_(kind))
    return pa.field(field["name"], kind, nullable=field["mode"] != "REQUIRED")


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return the folder of the schema files."""
    for place in (_PACKAGED, _IN_TREE):
        if place.is_dir():
            return place
    raise ConfigError(
        "The table schemas are not where the library looks.",
        tried=[str(_PACKAGED), str(_IN_TREE)],
        mend="install mbats from its wheel, or run it from a checkout",
    )


@lru_cache(maxsize=1)
def all_tables() -> Mapping[tuple[str, str], TableSchema]:
    """Return every table by (dataset, table)."""
    return {
        (dataset, file.stem): _read(dataset, file)
        for dataset in DATASETS
        for file in sorted((folder() / dataset).glob("*.json"))
    }


def table(dataset: str, name: str) -> TableSchema:
    """Return one table's schema. Raises :class:`ConfigError` that lists the tables there are."""
    tables = all_tables()
    if (dataset, name) not in tables:
        raise ConfigError(
            f"There is no table {dataset}.{name}.", tried=[".".join(key) for key in tables]
        )
    return tables[dataset, name]


def _read(dataset: str, file: Path) -> TableSchema:
    document: dict[str, Any] = json.loads(file.read_text())
    return TableSchema(
        dataset=dataset,
        name=file.stem,
        description=document["description"],
        primary_key=tuple(document["primary_key"]),
        fields=tuple(document["fields"]),
        time_partitioning=document.get("time_partitioning"),
        require_partition_filter=document.get("require_partition_filter", False),
        clustering=tuple(document.get("clustering", ())),
    )
