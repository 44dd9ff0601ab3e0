from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbats import schemas
from mbats.errors import DataError, NotReadyError
from mbats.gcp.batch import plain_rows, table_of
from mbats.gcp.warehouse import Write
from mbats.market.history import MergeCount
from tests.gcp import samples

pytestmark = pytest.mark.emulators

DAILY = schemas.table("security_master", "bar_daily")
SCHEDULE = schemas.table("risk", "strategy_schedule")

# A batch is {day: price}; a history is the batches in the order they arrived.
HISTORIES = st.lists(
    st.dictionaries(st.integers(0, 5), st.sampled_from(["1.1", "1.2"]), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)


def stored(desk, instrument):
    table = desk.security_master.bars(instrument, "D", "test")
    days = [(start - samples.BEGIN).days for start in table.column("start").to_pylist()]
    return list(zip(days, table.column("mid_close").to_pylist(), strict=True))


def staging_tables(desk):
    return [
        f"{dataset}.{table.table_id}"
        for dataset in (desk.settings.security_master, desk.settings.staging_dataset)
        for table in desk.warehouse.client.list_tables(dataset)
        if table.table_id.startswith("staging_")
    ]


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=HISTORIES, repeat=st.booleans())
def test_any_batches_in_any_order_leave_the_last_value_of_each_key(
    desk, instrument, history, repeat
):
    name = f"{instrument[:3]}{abs(hash(repr((history, repeat)))) % 10**6}_USD"
    expected = dict(stored(desk, name))
    for batch in history + history[-1:] * repeat:
        new = {day: Decimal(price) for day, price in batch.items()}
        count = desk.security_master.merge_bars("D", samples.bars(batch, instrument=name))
        assert count.inserted == len(new.keys() - expected.keys())
        assert count.updated == sum(
            1 for day, price in new.items() if expected.get(day, price) != price
        )
        expected |= new
    assert stored(desk, name) == sorted(expected.items())


def test_running_twice_adds_nothing_and_leaves_no_staging_table(desk, instrument):
    batch = samples.bars(["1.1", "1.2"], instrument=instrument)
    before = staging_tables(desk)
    counts = [desk.security_master.merge_bars("D", batch) for _ in range(3)]
    assert counts == [MergeCount(2, 0), MergeCount(0, 0), MergeCount(0, 0)]
    assert len(stored(desk, instrument)) == 2
    assert staging_tables(desk) == before


def test_a_corrected_bar_replaces_the_old_and_only_it_is_written_anew(desk, instrument):
    store = desk.security_master
    store.merge_bars("D", samples.bars(["1.1", "1.2"], instrument=instrument))
    stamps = {
        r["start"]: r["ingested_at"] for r in store.rows("bar_daily", {"instrument": instrument})
    }
    count = store.merge_bars("D", samples.bars(["1.1", "1.3"], instrument=instrument))
    assert count == MergeCount(0, 1)
    assert stored(desk, instrument) == [(0, Decimal("1.1")), (1, Decimal("1.3"))]
    rows = store.rows("bar_daily", {"instrument": instrument})
    assert [row["ingested_at"] > stamps[row["start"]] for row in rows] == [False, True]


def test_going_back_to_an_earlier_value_is_stored_too(desk, instrument):
    for price in ("1.1", "1.2", "1.1"):
        desk.security_master.merge_bars("D", samples.bars([price], instrument=instrument))
        assert stored(desk, instrument) == [(0, Decimal(price))]


def test_a_bad_batch_stores_nothing_and_the_next_one_is_not_harmed(desk, instrument):
    good = samples.bars(["1.1"], instrument=instrument)
    bad = pa.concat_tables([good, samples.bars(["1.2"], instrument=instrument)])
    with pytest.raises(DataError, match=instrument):
        desk.security_master.merge_bars("D", bad)
    assert stored(desk, instrument) == []
    assert desk.security_master.merge_bars("D", good) == MergeCount(1, 0)


def test_json_and_repeated_columns_keep_their_values_and_are_compared_by_value(desk, instrument):
    row = {
        "schedule_id": instrument,
        "strategy": "s",
        "mode": "paper",
        "instruments": ["EUR_USD", "GBP_USD"],
        "parameters": {"b": [1, 2.5, None], "a": {"quote": 'ü"\\\n'}},
        "active": True,
    }
    merge = desk.warehouse.merge
    assert merge(SCHEDULE, table_of(SCHEDULE, [row])) == MergeCount(1, 0)
    reordered = row | {"parameters": dict(reversed(row["parameters"].items()))}
    assert merge(SCHEDULE, table_of(SCHEDULE, [reordered])) == MergeCount(0, 0)
    changed = row | {"instruments": ["EUR_USD"]}
    assert merge(SCHEDULE, table_of(SCHEDULE, [changed])) == MergeCount(0, 1)
    (found,) = plain_rows(SCHEDULE, desk.warehouse.read(SCHEDULE, {"schedule_id": instrument}))
    assert found.items() >= changed.items()


def test_several_tables_are_stored_together_or_not_at_all(desk, instrument):
    bars = samples.bars(["1.1", "1.2"], instrument=instrument)
    writes = [
        Write(DAILY, bars),
        Write(schemas.table("security_master", "bar_minute"), bars, append=True),
    ]
    with pytest.raises(DataError, match="not today"):
        desk.warehouse.write_all(writes, guard="ASSERT FALSE AS 'not today'")
    broken = [*writes, Write(replace(DAILY, name="nowhere"), bars)]
    with pytest.raises(NotReadyError):
        desk.warehouse.write_all(broken)
    assert stored(desk, instrument) == []
    desk.warehouse.write_all(writes)
    desk.warehouse.write_all([Write(DAILY, samples.bars({1: "1.9"}, instrument=instrument))])
    assert stored(desk, instrument) == [(0, Decimal("1.1")), (1, Decimal("1.9"))]
    assert desk.security_master.bars(instrument, "M1", "test").num_rows == 2


def test_a_missing_table_says_how_it_is_made(bare_desk):
    with pytest.raises(NotReadyError, match="bar_daily") as caught:
        bare_desk.security_master.bars("EUR_USD", "D", "test")
    assert "mbats init" in caught.value.mend
    with pytest.raises(NotReadyError, match="bar_daily") as caught:
        bare_desk.security_master.merge_bars("D", samples.bars(["1"]))
    assert "mbats init" in caught.value.mend


def test_a_batch_waits_in_the_staging_dataset_where_one_is_set(desk, instrument):
    made = set()
    client = desk.warehouse.client
    watched = client.create_table
    client.create_table = lambda table, **more: (made.add(table.dataset_id), watched(table, **more))
    try:
        desk.security_master.merge_bars("D", samples.bars(["1.1"], instrument=instrument))
    finally:
        client.create_table = watched
    assert made == {"staging_shared"}
    assert [bar for _, bar in stored(desk, instrument)] == [Decimal("1.1")]


def test_without_a_staging_dataset_a_batch_waits_beside_its_table(bare_desk):
    schema = schemas.table("risk", "run")
    assert bare_desk.warehouse.staging(schema) == bare_desk.settings.risk
    assert bare_desk.warehouse.dataset(schema) == bare_desk.settings.risk


def test_what_waits_in_the_staging_dataset_goes_by_itself(desk):
    dataset = desk.warehouse.client.get_dataset("staging_shared")
    assert dataset.default_table_expiration_ms == 24 * 60 * 60 * 1000
