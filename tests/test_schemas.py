from mbats import schemas
from mbats.market.bars import BAR_SCHEMA


def test_bars_are_stored_with_exactly_the_columns_that_vendors_yield():
    for name in ("bar_daily", "bar_minute"):
        arrow = schemas.table("security_master", name).arrow
        stored = [field for field in arrow if field.name != "ingested_at"]
        assert stored == list(BAR_SCHEMA)


def test_every_table_has_a_required_natural_key_and_described_columns():
    for table in schemas.all_tables().values():
        required = {f["name"] for f in table.fields if f["mode"] == "REQUIRED"}
        assert table.primary_key
        assert set(table.primary_key) <= required
        assert all(f["description"] for f in table.fields)
