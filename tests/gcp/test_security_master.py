from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from mbats.errors import DataError
from mbats.market.bars import BAR_SCHEMA, bars_from_table
from mbats.market.history import VendorInfo
from mbats.market.instrument import Instrument
from tests.gcp import samples

pytestmark = pytest.mark.emulators


def test_bars_come_back_ascending_exact_and_in_the_schema_of_bars(desk, instrument):
    store = desk.security_master
    page = samples.bars(["1.100000001", "1.2", "1.3"], instrument=instrument)
    store.merge_bars("M1", page.take([2, 0, 1]))
    found = store.bars(instrument, "M1", "test")
    assert found.schema == BAR_SCHEMA
    assert found.equals(page)
    assert bars_from_table(found, "M1").mid.close.tolist() == [1.100000001, 1.2, 1.3]


def test_a_range_includes_its_start_and_not_its_end(desk, instrument):
    store = desk.security_master
    store.merge_bars("D", samples.bars(["1", "2", "3", "4"], instrument=instrument))
    day = timedelta(days=1)
    found = store.bars(
        instrument, "D", "test", start=samples.BEGIN + day, end=samples.BEGIN + 3 * day
    )
    assert found.column("mid_close").to_pylist() == [Decimal(2), Decimal(3)]


def test_the_newest_bar_is_per_instrument_granularity_and_vendor(desk, instrument):
    store = desk.security_master
    store.merge_bars("D", samples.bars(["1", "2"], instrument=instrument))
    assert store.last_start(instrument, "D", "test") == samples.BEGIN + timedelta(days=1)
    assert store.last_start(instrument, "M1", "test") is None
    assert store.last_start(instrument, "D", "other") is None


def test_nothing_stored_is_an_empty_table_of_bars(desk):
    found = desk.security_master.bars("NIL_USD", "D", "test")
    assert found.num_rows == 0
    assert found.schema == BAR_SCHEMA


def test_a_bar_that_had_not_ended_is_refused(desk, instrument):
    page = samples.bars(["1"], instrument=instrument)
    page = page.set_column(
        page.column_names.index("complete"), BAR_SCHEMA.field("complete"), pa.array([False])
    )
    with pytest.raises(DataError, match="had not ended"):
        desk.security_master.merge_bars("D", page)


def test_a_granularity_without_a_table_is_named(desk):
    with pytest.raises(DataError, match="'H4'"):
        desk.security_master.bars("EUR_USD", "H4", "test")


def test_series_are_counted(desk, instrument):
    store = desk.security_master
    store.merge_bars("D", samples.bars(["1", "2"], instrument=instrument))
    store.merge_bars("M1", samples.bars(["1"], instrument=instrument))
    found = [r for r in store.series().to_pylist() if r["instrument"] == instrument]
    assert [(r["granularity"], r["bars"]) for r in found] == [("D", 2), ("M1", 1)]
    assert found[0]["first"] == samples.BEGIN
    assert found[0]["last"] == samples.BEGIN + timedelta(days=1)


def test_instruments_watchlist_and_vendors_are_read_as_they_were_stored(desk, instrument):
    store = desk.security_master
    store.merge(
        "instrument",
        [
            {
                "instrument": instrument,
                "vendor": instrument,
                "base_currency": instrument[:3],
                "quote_currency": "USD",
                "kind": "FX",
                "pip_location": -4,
                "price_precision": 5,
                "units_precision": 0,
                "margin_rate": Decimal("0.0333"),
            }
        ],
    )
    assert store.instruments(instrument) == [
        Instrument(instrument, -4, 5, margin_rate=Decimal("0.0333"))
    ]
    rows = [
        {"instrument": instrument, "granularity": "D", "active": True},
        {"instrument": instrument, "granularity": "M1", "active": False},
    ]
    store.merge("watchlist", rows)
    found = [r for r in store.watchlist() if r["instrument"] == instrument]
    assert [row["granularity"] for row in found] == ["D"]
    store.merge("data_vendor", [{"vendor": instrument, "price_sides": "mid", "calendar": "ecb"}])
    assert VendorInfo(instrument, instrument, "", "mid", "ecb", "") in store.vendors()


def test_an_unknown_table_is_named(desk):
    with pytest.raises(Exception, match=r"no table security_master\.nonsense"):
        desk.security_master.rows("nonsense")
