from dataclasses import replace

import pytest

from mbats import schemas
from mbats.errors import RefusedError
from mbats.gcp.tables import apply_tables

pytestmark = pytest.mark.emulators

WATCHLIST = schemas.table("security_master", "watchlist")
DAILY = schemas.table("security_master", "bar_daily")


def column(schema, name, **changes):
    """``schema`` with one column changed, or left out where ``changes`` is empty."""
    fields = [
        {**f, **changes} if f["name"] == name else f
        for f in schema.fields
        if changes or f["name"] != name
    ]
    return replace(schema, fields=tuple(fields))


def actions(changes):
    return {change.name.rpartition(".")[2]: change.action for change in changes}


def test_a_second_run_changes_nothing(desk):
    wanted = schemas.all_tables().values()
    changes = apply_tables(desk.warehouse, wanted)
    assert len(changes) == len(wanted) + len(schemas.DATASETS) + 1  # and what batches wait in
    assert {change.action for change in changes} == {"unchanged"}


def test_a_table_is_made_as_its_file_says(bare_desk):
    apply_tables(bare_desk.warehouse, [DAILY])
    table = bare_desk.warehouse.client.get_table(bare_desk.warehouse.target(DAILY))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("YEAR", "start")
    assert table.clustering_fields == list(DAILY.clustering)
    assert tuple(table.table_constraints.primary_key.columns) == DAILY.primary_key
    assert table.description == DAILY.description
    found = [(f.name, f.field_type, f.mode, f.description) for f in table.schema]
    assert found == [(f["name"], f["type"], f["mode"], f["description"]) for f in DAILY.fields]


def test_a_dry_run_says_what_would_change_and_writes_nothing(bare_desk):
    for _ in range(2):
        changes = apply_tables(bare_desk.warehouse, [WATCHLIST], dry_run=True)
        assert {change.action for change in changes} == {"created"}


def test_new_columns_descriptions_clustering_and_key_are_applied_and_rows_stay(bare_desk):
    warehouse = bare_desk.warehouse
    apply_tables(warehouse, [column(WATCHLIST, "source")])
    row = {"instrument": "EUR_USD", "granularity": "D", "active": True}
    bare_desk.security_master.merge("watchlist", [])
    warehouse.execute(
        f"INSERT INTO `{warehouse.target(WATCHLIST)}` "
        "(instrument, granularity, active, ingested_at) "
        "VALUES ('EUR_USD', 'D', TRUE, CURRENT_TIMESTAMP())"
    )
    wanted = replace(
        column(WATCHLIST, "active", description="New words"),
        description="Newer words",
        clustering=("instrument",),
        primary_key=("instrument",),
    )
    changes = apply_tables(warehouse, [wanted])
    assert changes[-1].action == "changed"
    assert changes[-1].details == (
        "described active",
        "added source",
        "description",
        "clustering",
        "primary key",
    )
    assert apply_tables(warehouse, [wanted])[-1].action == "unchanged"
    (stored,) = bare_desk.security_master.rows("watchlist")
    assert stored.items() >= row.items()
    assert stored["source"] is None


def test_a_required_column_may_become_nullable(bare_desk):
    apply_tables(bare_desk.warehouse, [WATCHLIST])
    wanted = column(WATCHLIST, "active", mode="NULLABLE")
    assert apply_tables(bare_desk.warehouse, [wanted])[-1].details == ("relaxed active",)
    assert apply_tables(bare_desk.warehouse, [wanted])[-1].action == "unchanged"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (column(WATCHLIST, "source"), "column source is stored but gone from the schema"),
        (
            column(WATCHLIST, "source_row", type="STRING"),
            "column source_row is INTEGER, the schema says STRING",
        ),
        (
            column(WATCHLIST, "source", mode="REQUIRED"),
            "column source is NULLABLE, the schema says REQUIRED",
        ),
        (
            replace(
                WATCHLIST,
                fields=(
                    *WATCHLIST.fields,
                    {"name": "late", "type": "STRING", "mode": "REQUIRED", "description": "x"},
                ),
            ),
            "column late is new and REQUIRED",
        ),
        (
            replace(WATCHLIST, time_partitioning={"type": "DAY", "field": "ingested_at"}),
            "partitioned by None",
        ),
    ],
)
def test_a_destructive_change_is_refused_and_nothing_else_is_touched(bare_desk, wanted, reason):
    warehouse = bare_desk.warehouse
    apply_tables(warehouse, [WATCHLIST])
    before = warehouse.client.get_table(warehouse.target(WATCHLIST)).to_api_repr()["schema"]
    with pytest.raises(RefusedError) as caught:
        apply_tables(warehouse, [wanted, DAILY])
    assert any(reason in line and "watchlist" in line for line in caught.value.tried)
    assert warehouse.client.get_table(warehouse.target(WATCHLIST)).to_api_repr()["schema"] == before
    assert actions(apply_tables(warehouse, [DAILY], dry_run=True))["bar_daily"] == "created"


def test_a_dataset_in_another_place_is_refused(bare_desk):
    apply_tables(bare_desk.warehouse, [WATCHLIST])
    bare_desk.warehouse.settings = bare_desk.settings.model_copy(update={"location": "US"})
    with pytest.raises(RefusedError, match="lies in EU"):
        apply_tables(bare_desk.warehouse, [WATCHLIST])
