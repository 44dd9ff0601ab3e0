import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbats.errors import ConfigError, DataError
from mbats.vendors.files import FileVendor
from mbats.vendors.mapping import make_mapping, read_mapping, template
from mbats.vendors.rows import merged

ALWAYS = (datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
COLUMNS = {"start": "time", "open": "o", "high": "h", "low": "l", "close": "c"}
HEADER = "time,o,h,l,c\n"
# Beside the checkout, or beside the folder of its worktrees.
PLACES = [folder / "shared" / "data" for folder in Path(__file__).parents[3:5]]
REAL = next((place for place in PLACES if place.is_dir()), PLACES[0])


def mapping(**values):
    given = {"instrument": "USD_JPY", "side": "bid", "columns": COLUMNS} | values
    return make_mapping(**given)


def vendor_of(tmp_path, text, name="bars.csv", **values):
    path = tmp_path / name
    path.write_text(text)
    return FileVendor([path], mapping(**values))


def bars(vendor, instrument="USD_JPY", granularity="M1", span=ALWAYS):
    pages = list(vendor.candles(instrument, granularity, *span))
    return pa.concat_tables(pages).to_pylist() if pages else []


def minute_lines(
    count, first=datetime(2013, 2, 1), shift=Decimal(0), seed=1, form="%Y-%m-%d %H:%M"
):
    rng = random.Random(seed)
    for i in range(count):
        o, c = (Decimal(rng.randint(90_000, 92_000)) / 1000 + shift for _ in range(2))
        at = (first + timedelta(minutes=i)).strftime(form)
        yield f"{at},{o},{max(o, c)},{min(o, c)},{c}\n"


def test_a_bid_file_and_an_ask_file_become_bars_with_both_sides(tmp_path):
    for side, shift in (("bid", Decimal(0)), ("ask", Decimal("0.02"))):
        lines = minute_lines(300, shift=shift)
        (tmp_path / f"usdjpy-{side}.csv").write_text(HEADER + "".join(lines))
    both = [{"path": f"*-{side}.csv", "side": side} for side in ("bid", "ask")]
    vendor = FileVendor([tmp_path], mapping(files=both, side=None))
    found = bars(vendor)
    assert len(found) == 300
    assert vendor.info.sides == "bid+ask"
    for bar in found:
        assert bar["ask_close"] - bar["bid_close"] == Decimal("0.02")
        assert bar["mid_close"] is None
        assert bar["end_time"] - bar["start"] == timedelta(minutes=1)
    assert found[0]["start"] == datetime(2013, 2, 1, tzinfo=UTC)


def test_bid_and_ask_in_one_file(tmp_path):
    parts = ("open", "high", "low", "close")
    names = [f"{side}_{part}" for side in ("bid", "ask") for part in parts]
    text = ",".join(["t", *names]) + "\n2013-02-01,1,1,1,1,2,2,2,2\n"
    columns = {"start": "t", **{name: name for name in names}}
    (bar,) = bars(vendor_of(tmp_path, text, side=None, columns=columns))
    assert (bar["bid_close"], bar["ask_open"]) == (1, 2)


def test_prices_are_decimals_all_the_way_and_rounded_half_to_even(tmp_path):
    text = HEADER + "2013-02-01,0.10000000000000001,2.5,0.1,1.00005\n"
    (bar,) = bars(vendor_of(tmp_path, text, price_precision=4))
    assert bar["bid_open"] == Decimal("0.1")
    assert bar["bid_close"] == Decimal("1.0000")


def test_bad_rows_are_named_by_line_with_the_reason_and_the_good_ones_load(tmp_path):
    text = HEADER + (
        "2013-02-01 00:00,1,1,1,1\n"
        "2013-02-01 00:01,1,1,1,x\n"
        "\n"
        "2013-02-01 00:02,1,1,1\n"
        "2013-02-31 00:03,1,1,1,1\n"
        "2013-02-01 00:04,1,nan,1,1\n"
        "2013-02-01 00:05,-1,1,1,1\n"
        "2013-02-01 00:06,2,2,2,2\n"
        "2013-02-01 00:06,3,3,3,3\n"
        "2013-02-01 00:01,4,4,4,4\n"
        "2013-02-01 00:07,5,5,5,5\n"
    )
    vendor = vendor_of(tmp_path, text, max_bad_share=0.9)
    assert [bar["bid_open"] for bar in bars(vendor)] == [1, 2, 5]
    tally = vendor.rejected("USD_JPY")
    assert (tally.rows, tally.bad) == (10, 7)
    reasons = {bad.line: bad.reason for bad in tally.examples}
    assert sorted(reasons) == [3, 5, 6, 7, 8, 10, 11]
    assert reasons[3] == "c 'x' is not a price"
    assert reasons[5] == "4 cells where 5 are expected"
    assert "2013-02-31 00:03" in reasons[6]
    assert reasons[7] == "h 'nan' is not a price"
    assert reasons[8] == "o '-1' is not a price"
    assert "repeat" in reasons[10]
    assert "out of order" in reasons[11]
    assert {Path(bad.path).name for bad in tally.examples} == {"bars.csv"}


def test_line_numbers_hold_across_blocks_of_a_large_file(tmp_path):
    lines = list(minute_lines(60_000))  # about 2.5 blocks
    lines[30_000] = "broken\n"
    lines[55_000] = lines[55_000].replace("2013", "13!!")
    vendor = vendor_of(tmp_path, HEADER + "".join(lines))
    pages = vendor.candles("USD_JPY", "M1", *ALWAYS)
    assert sum(page.num_rows for page in pages) == 59_998
    assert [bad.line for bad in vendor.rejected("USD_JPY").examples] == [30_002, 55_002]


def test_more_bad_rows_than_allowed_refuse_the_file_with_examples(tmp_path):
    lines = list(minute_lines(100))
    lines[10] = lines[20] = "junk,1,1,1,1\n"
    vendor = vendor_of(tmp_path, HEADER + "".join(lines))
    with pytest.raises(DataError, match="2 of 100 rows are bad") as caught:
        bars(vendor)
    assert "bars.csv:12: 'junk' is not a time" in caught.value.tried[0]


def test_a_wrong_mapping_is_refused_before_anything_is_handed_on(tmp_path):
    lines = [line.replace(",", ",oops", 1) for line in minute_lines(40_000)]
    pages = vendor_of(tmp_path, HEADER + "".join(lines)).candles("USD_JPY", "M1", *ALWAYS)
    with pytest.raises(DataError, match="rows are bad"):
        next(pages)


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("UTC", "2013-07-01 12:00", datetime(2013, 7, 1, 12)),
        ("-05:00", "2013-07-01 12:00", datetime(2013, 7, 1, 17)),
        ("EST", "2013-07-01 12:00", datetime(2013, 7, 1, 17)),  # without daylight saving
        ("America/New_York", "2013-07-01 12:00", datetime(2013, 7, 1, 16)),
        ("America/New_York", "2013-01-01 12:00", datetime(2013, 1, 1, 17)),
        ("+05:30", "2013-07-01 12:00", datetime(2013, 7, 1, 6, 30)),
        ("-05:00", "2013-07-01 12:00+02:00", datetime(2013, 7, 1, 10)),
        ("-05:00", "2013-07-01T12:00:00Z", datetime(2013, 7, 1, 12)),
    ],
)
def test_local_times_become_utc(tmp_path, zone, local, utc):
    (bar,) = bars(vendor_of(tmp_path, HEADER + f"{local},1,1,1,1\n", time_zone=zone))
    assert bar["start"] == utc.replace(tzinfo=UTC)


def test_a_local_time_that_a_clock_change_skips_or_repeats_is_a_bad_row(tmp_path):
    text = HEADER + "".join(
        f"{at},1,1,1,1\n" for at in ("2021-03-14 02:30", "2021-11-07 01:30", "2021-11-07 03:30")
    )
    vendor = vendor_of(tmp_path, text, time_zone="America/New_York", max_bad_share=1)
    assert [bar["start"] for bar in bars(vendor)] == [datetime(2021, 11, 7, 8, 30, tzinfo=UTC)]
    assert [bad.line for bad in vendor.rejected("USD_JPY").examples] == [2, 3]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%Y%m%d %H%M%S", "20130201 170000"),
        ("%d.%m.%Y %H:%M", "01.02.2013 17:00"),
        ("epoch_s", "1359738000"),
        ("epoch_ms", "1359738000000"),
        ("iso", "2013-02-01T17:00:00.000000"),
    ],
)
def test_time_formats(tmp_path, form, text):
    (bar,) = bars(vendor_of(tmp_path, HEADER + f"{text},1,1,1,1\n", time_format=form))
    assert bar["start"] == datetime(2013, 2, 1, 17, tzinfo=UTC)


def test_a_file_without_a_header_with_another_separator_and_decimal_comma(tmp_path):
    text = "2013.02.01;17:05;1,5;2,5;0,5;1,25;7\n"
    columns = {**COLUMNS, "start": ["d", "t"], "volume": "v"}
    names = ("d", "t", "o", "h", "l", "c", "v")
    vendor = vendor_of(
        tmp_path,
        text,
        columns=columns,
        column_names=names,
        separator=";",
        decimal_point=",",
        time_format="%Y.%m.%d %H:%M",
    )
    (bar,) = bars(vendor)
    assert bar["start"] == datetime(2013, 2, 1, 17, 5, tzinfo=UTC)
    assert (bar["bid_close"], bar["volume"]) == (Decimal("1.25"), 7)


def test_bars_named_by_their_end_start_one_bar_earlier(tmp_path):
    (bar,) = bars(vendor_of(tmp_path, HEADER + "2013-02-01 00:01,1,1,1,1\n", named_by="end"))
    assert bar["start"] == datetime(2013, 2, 1, tzinfo=UTC)


def test_dates_of_new_york_closes_become_days_from_17_to_17_across_the_clock_change(tmp_path):
    text = HEADER + "2024-03-08,1,1,1,1\n2024-03-11,2,2,2,2\n"
    found = bars(
        vendor_of(
            tmp_path,
            text,
            granularity="D",
            time_zone="America/New_York",
            time_of_day="17:00",
            named_by="end",
        ),
        granularity="D",
    )
    assert [(bar["start"], bar["end_time"]) for bar in found] == [
        (datetime(2024, 3, 7, 22, tzinfo=UTC), datetime(2024, 3, 8, 22, tzinfo=UTC)),
        (datetime(2024, 3, 10, 21, tzinfo=UTC), datetime(2024, 3, 11, 21, tzinfo=UTC)),
    ]


@pytest.mark.parametrize("kind", ["text", "decimal", "float", "dictionary"])
def test_parquet_columns_of_any_type_give_the_same_bars(tmp_path, kind):
    texts = pa.array(["91.717", "0.1", "91.7"])
    typed = {
        "text": texts,
        "decimal": texts.cast(pa.decimal128(10, 3)),
        "float": texts.cast(pa.float64()),
        "dictionary": texts.dictionary_encode(),
    }[kind]
    at = pa.array([datetime(2013, 2, 1, 0, i) for i in range(3)], pa.timestamp("ns"))
    table = pa.table({"time": at, **dict.fromkeys("ohlc", typed)})
    path = tmp_path / "bars.parquet"
    pa.parquet.write_table(table, path, row_group_size=2)
    found = bars(FileVendor([path], mapping()))
    assert [bar["bid_close"] for bar in found] == [Decimal(t) for t in texts.to_pylist()]
    assert found[0]["start"] == datetime(2013, 2, 1, tzinfo=UTC)


def test_bad_cells_of_parquet_are_named_by_row(tmp_path):
    prices = pa.array([1.5, float("nan"), None, 2.5])
    at = pa.array([datetime(2013, 2, 1, 0, i) for i in range(4)], pa.timestamp("us"))
    path = tmp_path / "bars.parquet"
    pa.parquet.write_table(pa.table({"time": at, **dict.fromkeys("ohlc", prices)}), path)
    vendor = FileVendor([path], mapping(max_bad_share=1))
    assert [bar["bid_close"] for bar in bars(vendor)] == [Decimal("1.5"), Decimal("2.5")]
    assert [bad.line for bad in vendor.rejected("USD_JPY").examples] == [2, 3]


def test_rows_without_their_other_side_are_left_out_and_named(tmp_path):
    bid, ask = list(minute_lines(10)), list(minute_lines(10))
    del ask[3], bid[7]
    (tmp_path / "bid.csv").write_text(HEADER + "".join(bid))
    (tmp_path / "ask.csv").write_text(HEADER + "".join(ask))
    both = [{"path": f"{side}.csv", "side": side} for side in ("bid", "ask")]
    vendor = FileVendor([tmp_path], mapping(files=both, side=None, max_bad_share=0.5))
    assert [bar["start"].minute for bar in bars(vendor)] == [0, 1, 2, 4, 5, 6, 8, 9]
    alone = {(Path(bad.path).name, bad.line) for bad in vendor.rejected("USD_JPY").examples}
    assert alone == {("bid.csv", 5), ("ask.csv", 8)}


def minutes(numbers, column):
    epoch = datetime(2020, 1, 1, tzinfo=UTC)
    at = [epoch + timedelta(minutes=n) for n in numbers]
    start = pa.array(at, pa.timestamp("us", tz="UTC"))
    place = {"source": pa.array(["f"] * len(at)), "line": pa.array(range(len(at)), pa.int64())}
    return pa.table({"start": start, column: pa.array(numbers, pa.int64()), **place})


def paged(numbers, sizes, column):
    at = 0
    for size in sizes:
        if numbers[at : at + size]:
            yield minutes(numbers[at : at + size], column)
        at += size
    if numbers[at:]:
        yield minutes(numbers[at:], column)


@settings(max_examples=150, deadline=None)
@given(
    left=st.sets(st.integers(0, 60)),
    right=st.sets(st.integers(0, 60)),
    left_pages=st.lists(st.integers(1, 9), max_size=9),
    right_pages=st.lists(st.integers(1, 9), max_size=9),
)
def test_joining_sides_finds_every_common_bar_however_the_pages_fall(
    left, right, left_pages, right_pages
):
    class Counter:
        bad = 0

        def leave_out(self, *_):
            self.bad += 1

    tally = Counter()
    pages = merged(
        paged(sorted(left), left_pages, "a"), paged(sorted(right), right_pages, "b"), tally
    )
    found = [row for page in pages for row in page.select(["a", "b"]).to_pylist()]
    assert found == [{"a": n, "b": n} for n in sorted(left & right)]
    assert tally.bad == len(left ^ right)


def test_only_asked_starts_are_given(tmp_path):
    vendor = vendor_of(tmp_path, HEADER + "".join(minute_lines(60)))
    span = (datetime(2013, 2, 1, 0, 10, tzinfo=UTC), datetime(2013, 2, 1, 0, 20, tzinfo=UTC))
    assert [bar["start"].minute for bar in bars(vendor, span=span)] == list(range(10, 20))


def test_a_large_file_is_never_whole_in_memory(tmp_path):
    rows = 400_000
    path = tmp_path / "bars.csv"
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(
            f"{1_359_676_800 + 60 * i},91.717,91.717,91.655,91.655\n" for i in range(rows)
        )
    before = pa.total_allocated_bytes()
    peak = seen = 0
    vendor = FileVendor([path], mapping(time_format="epoch_s"))
    for page in vendor.candles("USD_JPY", "M1", *ALWAYS):
        assert page.num_rows <= 40_000
        seen += page.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert seen == rows
    one_bar = 12 * 16 + 3 * 8 + 40  # decimals, times and names, in bytes
    assert peak < rows * one_bar / 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"time_zone": "Mars/Phobos"}, "IANA time zone"),
        ({"granularity": "M3"}, "not a granularity"),
        ({"granularity": "W"}, "made from days"),
        ({"columns": {"start": "t", "open": "o"}}, "lack high, low, close"),
        ({"columns": {"open": "o"}}, "which column holds the time"),
        ({"columns": {**COLUMNS, "clsoe": "c"}}, "'clsoe' is none of"),
        ({"side": None}, "no side"),
        ({"price_precision": 12}, "less than or equal to 9"),
        ({"instrument": "cow"}, "not an instrument name"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_a_wrong_mapping_names_what_is_wrong(values, said):
    with pytest.raises(ConfigError, match=said):
        mapping(**values)


def test_missing_files_columns_and_instruments_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no file"):
        FileVendor([tmp_path / "none.csv"], mapping())
    with pytest.raises(ConfigError, match="Which instrument"):
        vendor_of(tmp_path, HEADER, instrument=None)
    with pytest.raises(DataError, match="cannot be read"):
        bars(vendor_of(tmp_path, "a,b\n1,2\n"))
    with pytest.raises(DataError, match="no M1 bars of EUR_USD"):
        bars(vendor_of(tmp_path, HEADER), instrument="EUR_USD")
    with pytest.raises(ConfigError, match="folder"):
        FileVendor([tmp_path], mapping())


def test_a_file_with_only_a_header_has_no_bars(tmp_path):
    assert bars(vendor_of(tmp_path, HEADER)) == []


def test_the_printed_mapping_is_one_that_works(tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_text(template())
    read = read_mapping(path)
    assert (read.instrument, read.granularity, len(read.files)) == ("USD_JPY", "M1", 2)
    assert read_mapping(path, instrument="EUR_USD").instrument == "EUR_USD"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"NO REAL MINUTE BARS TESTED: there is no {REAL}")
def test_real_minute_bars_load_with_both_sides(tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_text(template())
    vendor = FileVendor([REAL], read_mapping(path))
    found = bars(vendor)
    assert len(found) == 28_761
    assert not vendor.rejected("USD_JPY").bad
    assert found[0]["bid_open"] == Decimal("91.715")
    assert found[0]["ask_open"] == Decimal("91.717")
    assert found[-1]["start"] > datetime(2013, 2, 28, tzinfo=UTC)
