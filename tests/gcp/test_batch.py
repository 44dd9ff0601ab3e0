import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mbats import schemas
from mbats.errors import DataError
from mbats.gcp.batch import plain_rows, prepare, table_of
from tests.gcp import samples

DAILY = schemas.table("security_master", "bar_daily")
WATCHLIST = schemas.table("security_master", "watchlist")
ALTERNATIVE = schemas.table("security_master", "alternative_data")
RUN = schemas.table("risk", "run")


def watchlist(*rows):
    return table_of(WATCHLIST, [{"granularity": "D", "active": True, **row} for row in rows])


def test_the_digest_names_the_content_and_not_the_time_of_writing():
    one = prepare(DAILY, samples.bars(["1.1"]))
    stamped = samples.bars(["1.1"]).append_column(
        "ingested_at", pa.array([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    )
    assert prepare(DAILY, stamped).digest == one.digest
    assert prepare(DAILY, samples.bars(["1.2"])).digest != one.digest


def test_one_instrument_and_the_span_of_its_bars_are_known():
    batch = prepare(DAILY, samples.bars(["1.1", "1.2"]))
    assert batch.constants == {"instrument": "EUR_USD", "vendor": "test"}
    assert batch.span == (samples.BEGIN, samples.BEGIN.replace(day=2))


def test_several_instruments_are_no_constant():
    both = pa.concat_tables([samples.bars(["1"]), samples.bars(["2"], instrument="GBP_USD")])
    assert prepare(DAILY, both).constants == {"vendor": "test"}


def test_a_partition_outside_the_key_gives_no_span():
    assert prepare(RUN, table_of(RUN, [{**samples.run("r"), "status": "running"}])).span is None


def test_equal_rows_count_once():
    assert prepare(DAILY, pa.concat_tables([samples.bars(["1.1", "1.2"])] * 3)).rows == 2


def test_differing_rows_of_one_key_are_named():
    with pytest.raises(DataError) as caught:
        prepare(DAILY, pa.concat_tables([samples.bars(["1.1"]), samples.bars(["1.2"])]))
    assert "security_master.bar_daily" in caught.value.cause
    assert "EUR_USD" in caught.value.cause
    assert "mid_close" in caught.value.cause


def test_an_unknown_column_is_named():
    with pytest.raises(DataError, match="no column colour"):
        prepare(DAILY, samples.bars(["1"]).append_column("colour", pa.array(["red"])))
    with pytest.raises(DataError, match="no column colour"):
        watchlist({"instrument": "EUR_USD", "colour": "red"})


def test_a_missing_required_column_is_named():
    with pytest.raises(DataError, match=r"bar_daily: column complete is required and missing"):
        prepare(DAILY, samples.bars(["1"]).drop_columns(["complete"]))


def test_a_null_in_a_required_column_is_named_with_its_row():
    rows = watchlist({"instrument": "EUR_USD"}, {"instrument": None})
    with pytest.raises(DataError, match=r"watchlist row 1: column instrument is required and null"):
        prepare(WATCHLIST, rows)


def test_a_value_of_the_wrong_type_is_named_with_its_row():
    with pytest.raises(DataError, match=r"watchlist row 1: column source_row cannot hold 'x'"):
        watchlist(
            {"instrument": "EUR_USD", "source_row": 1}, {"instrument": "A_USD", "source_row": "x"}
        )


def test_a_float_is_no_price():
    column = DAILY.columns.index("bid_open")
    rows = samples.bars(["1.1"]).set_column(column, "bid_open", pa.array([1.1]))
    with pytest.raises(DataError, match="bid_open is NUMERIC and was given floats"):
        prepare(DAILY, rows)
    with pytest.raises(DataError, match=r"starting_cash cannot hold 0\.1"):
        table_of(RUN, [samples.run("r", starting_cash=0.1)])


def test_a_price_with_more_than_nine_decimals_is_refused_and_not_rounded():
    column = DAILY.columns.index("bid_open")
    fine = pa.array([Decimal("1.12345678901")], pa.decimal128(38, 11))
    with pytest.raises(DataError, match="bid_open does not fit"):
        prepare(DAILY, samples.bars(["1.1"]).set_column(column, "bid_open", fine))


def test_json_text_is_stored_in_one_spelling():
    rows = [
        {"series": "s", "entity": name, "time": samples.BEGIN, "value": {"b": 1, "a": [1.5, "ü"]}}
        for name in "xy"
    ]
    table = table_of(ALTERNATIVE, rows)
    column = table.column_names.index("value")
    spaced = pa.array(['{"b": 1, "a": [1.5, "ü"]}', '{ "a":[1.50,"\\u00fc"],"b":1}'])
    batch = prepare(ALTERNATIVE, table.set_column(column, "value", spaced))
    first, second = pq.read_table(pa.BufferReader(batch.parquet)).column("value").to_pylist()
    assert first == second
    assert json.loads(first) == {"a": [1.5, "ü"], "b": 1}


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": Infinity}'])
def test_what_is_not_json_is_named_with_its_row(text):
    table = table_of(
        ALTERNATIVE, [{"series": "s", "entity": "e", "time": samples.BEGIN, "value": 1}]
    )
    column = table.column_names.index("value")
    with pytest.raises(DataError, match=r"alternative_data row 0: column value is not JSON"):
        prepare(ALTERNATIVE, table.set_column(column, "value", pa.array([text])))


def test_rows_come_back_as_they_went_in():
    row = {"series": "s", "entity": "e", "time": samples.BEGIN, "value": {"a": [1, None]}}
    assert plain_rows(ALTERNATIVE, table_of(ALTERNATIVE, [row])) == [row]
