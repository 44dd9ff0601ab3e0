from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from candle_server import TOKEN, CandleServer
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from memory_store import MemoryStore

from mbats.config import Settings
from mbats.errors import DataError, NotReadyError
from mbats.market import catalogue
from mbats.market.granularity import Granularity
from mbats.market.history import VendorInfo
from mbats.market.newyork import NEW_YORK, instant
from mbats.market.numeric import from_float64
from mbats.vendors.download import BATCH_ROWS, EARLIEST, Request, download
from mbats.vendors.ecb import EcbVendor
from mbats.vendors.oanda import OandaVendor
from mbats.vendors.pages import bar_page

START = datetime(2024, 3, 4, tzinfo=UTC)
NOW = datetime(2024, 3, 4, 8, 0, 30, tzinfo=UTC)
MINUTES = Request("EUR_USD", "M1")


class Script:
    """A vendor that yields what a test wrote, and breaks where the test says so."""

    info = VendorInfo("script", "Script", "", "mid", "fx", "")

    def __init__(self, pages=None, names=("EUR_USD",)):
        self.pages = pages or {}
        self.names = names
        self.asked = []

    def instruments(self):
        return [catalogue.instrument(name) for name in self.names]

    def granularities(self):
        return ("M1",)

    def candles(self, instrument, granularity, start, end):
        self.asked.append((instrument, start, end))
        for page in self.pages.get(instrument, ()):
            if isinstance(page, Exception):
                raise page
            starts = page.column("start")
            keep = [start <= at < end for at in starts.to_pylist()]
            yield page.filter(pa.array(keep))


def minutes(first, count, price=1.1, name="EUR_USD", complete=None):
    at = START + timedelta(minutes=first)
    starts = Granularity.M1.starts(instant(at), instant(at + timedelta(minutes=count)))
    numeric = from_float64(np.full(count, price), 5)
    prices = {f"mid_{part}": numeric for part in ("open", "high", "low", "close")}
    flags = None if complete is None else pa.array(complete)
    return bar_page(
        name,
        "script",
        starts,
        Granularity.M1.bar_end(starts),
        prices,
        complete=flags,
        basis="quotes",
    )


def stored(store, name="EUR_USD", granularity="M1", vendor="script"):
    return store.bars(name, granularity, vendor).to_pylist()


def oanda(server):
    settings = Settings(oanda_endpoint=server.address, oanda_token=TOKEN)
    return OandaVendor(settings, sleep=lambda seconds: None)


def test_a_second_run_asks_from_the_last_stored_bar_and_adds_nothing(store):
    vendor = Script({"EUR_USD": [minutes(0, 100), minutes(100, 50)]})
    (first,) = download(vendor, store, [MINUTES], NOW)
    before = dict(store.stored)
    (second,) = download(vendor, store, [MINUTES], NOW)
    assert (first.inserted, first.updated) == (150, 0)
    assert (second.inserted, second.updated, second.failed) == (0, 0, False)
    assert store.stored == before
    assert len(store.pages) == 1  # not even a MERGE of what is there already
    assert vendor.asked[0][1] == EARLIEST
    assert vendor.asked[1][1] == START + timedelta(minutes=149)


@examples(max_examples=40, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30)), min_size=1, max_size=6),
    runs=st.integers(1, 3),
)
def test_pages_that_overlap_or_come_twice_double_nothing(spans, runs):
    store = MemoryStore()
    vendor = Script({"EUR_USD": [minutes(first, count) for first, count in spans]})
    for _ in range(runs):
        (report,) = download(vendor, store, [replace(MINUTES, again=True)], NOW)
        assert not report.failed
    covered = {first + i for first, count in spans for i in range(count)}
    found = [bar["start"] for bar in stored(store)]
    assert found == [START + timedelta(minutes=n) for n in sorted(covered)]
    for page in store.pages:
        starts = page.column("start").to_pylist()
        assert starts == sorted(set(starts))


def test_of_overlapping_pages_the_later_one_wins(store):
    vendor = Script({"EUR_USD": [minutes(0, 10, 1.1), minutes(5, 10, 1.2)]})
    download(vendor, store, [MINUTES], NOW)
    closes = [bar["mid_close"] for bar in stored(store)]
    assert closes == [Decimal("1.1")] * 5 + [Decimal("1.2")] * 10


def test_the_last_stored_bar_is_read_again_so_a_corrected_one_replaces_it(store):
    download(Script({"EUR_USD": [minutes(0, 10, 1.1)]}), store, [MINUTES], NOW)
    corrected = [minutes(0, 9, 1.1), minutes(9, 1, 1.3)]
    (report,) = download(Script({"EUR_USD": corrected}), store, [MINUTES], NOW)
    assert (report.inserted, report.updated) == (0, 1)
    assert stored(store)[-1]["mid_close"] == Decimal("1.3")


def test_an_unfinished_candle_is_never_stored_and_comes_once_it_is_complete(store):
    with CandleServer() as server:
        (first,) = download(oanda(server), store, [MINUTES], server.now)
        going_on = server.all("EUR_USD", Granularity.M1)[-1][0]
        assert not first.failed
        assert going_on not in {bar["start"] for bar in stored(store, vendor="oanda")}
        server.now += timedelta(minutes=2)
        server._made.clear()
        (second,) = download(oanda(server), store, [MINUTES], server.now)
        finished = {at: c for at, c in server.all("EUR_USD", Granularity.M1) if c["complete"]}
        assert second.inserted == 2
        found = {bar["start"]: bar for bar in stored(store, vendor="oanda")}
        assert set(found) == set(finished)
        assert found[going_on]["mid_close"] == Decimal(finished[going_on]["mid"]["c"])


def test_a_bar_that_a_broken_vendor_calls_complete_too_early_waits_for_its_end(store):
    vendor = Script({"EUR_USD": [minutes(0, 481)]})  # the last ends at 08:01, it is 08:00:30
    (report,) = download(vendor, store, [MINUTES], NOW)
    assert (report.inserted, report.unfinished) == (480, 1)
    assert max(bar["end_time"] for bar in stored(store)) <= NOW
    (report,) = download(vendor, store, [MINUTES], NOW + timedelta(minutes=1))
    assert (report.inserted, report.unfinished) == (1, 0)


def test_a_page_with_a_bar_that_is_not_complete_is_refused_whole(store):
    pages = [minutes(0, 5), minutes(5, 3, complete=[True, False, True]), minutes(8, 5)]
    (report,) = download(Script({"EUR_USD": pages}), store, [MINUTES], NOW)
    assert "not complete" in report.error
    assert len(stored(store)) == 5


def other_vendor(page):
    return page.set_column(2, page.schema.field("vendor"), pa.array(["else"] * page.num_rows))


def float_prices(page):
    index = page.column_names.index("mid_open")
    return page.set_column(index, "mid_open", page.column("mid_open").cast(pa.float64()))


def endless(page):
    index = page.column_names.index("end_time")
    return page.set_column(index, page.schema.field("end_time"), page.column("start"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda page: page.take(pa.array([1, 0])), "do not ascend"),
        (lambda page: page.take(pa.array([0, 0])), "do not ascend"),
        (other_vendor, "another vendor"),
        (lambda page: minutes(0, 5, name="GBP_USD"), "another instrument"),
        (float_prices, "BAR_SCHEMA"),
        (endless, "ends before it starts"),
    ],
)
def test_a_page_that_breaks_the_contract_is_refused_and_says_how(store, spoil, said):
    (report,) = download(Script({"EUR_USD": [spoil(minutes(0, 5))]}), store, [MINUTES], NOW)
    assert said in report.error
    assert not stored(store)


def test_a_vendor_that_yields_bars_outside_the_asked_range_is_refused(store):
    vendor = Script({"EUR_USD": []})
    vendor.candles = lambda *asked: iter([minutes(0, 5)])
    request = Request("EUR_USD", "M1", earliest=START + timedelta(minutes=2))
    (report,) = download(vendor, store, [request], NOW)
    assert "outside" in report.error
    assert not stored(store)


@pytest.mark.parametrize(
    "fault",
    [
        DataError("EUR_USD is halted.", mend="wait"),
        NotReadyError("The line is dead."),
        KeyError("mid"),
    ],
)
def test_an_error_on_one_instrument_neither_stops_nor_hides_the_others(store, fault):
    names = ("AUD_USD", "EUR_USD", "GBP_USD")
    pages = {name: [minutes(0, 5, name=name), minutes(5, 5, name=name)] for name in names}
    pages["EUR_USD"].insert(1, fault)
    requests = [Request(name, "M1") for name in names]
    reports = {r.instrument: r for r in download(Script(pages, names), store, requests, NOW)}
    assert [reports[name].inserted for name in names] == [10, 5, 10]
    assert [reports[name].failed for name in names] == [False, True, False]
    assert str(fault.args[0]) in reports["EUR_USD"].error
    unforeseen = isinstance(fault, KeyError)
    assert ("fault of mbats" in reports["EUR_USD"].mend) is unforeseen
    (again,) = download(Script({"EUR_USD": pages["AUD_USD"][:0]}), store, [MINUTES], NOW)
    assert not again.failed  # what came before the error was kept and a rerun goes on from there


def test_an_error_of_the_store_on_one_instrument_is_told_and_the_others_go_on(store):
    class Torn(MemoryStore):
        def merge_bars(self, granularity, page):
            if page.column("instrument")[0].as_py() == "AUD_USD":
                raise DataError("The page does not fit.")
            return super().merge_bars(granularity, page)

    torn = Torn()
    names = ("AUD_USD", "EUR_USD")
    pages = {name: [minutes(0, 5, name=name)] for name in names}
    reports = download(Script(pages, names), torn, [Request(n, "M1") for n in names], NOW)
    assert [report.error for report in reports] == ["The page does not fit.", ""]
    assert len(stored(torn, "EUR_USD")) == 5


def test_a_vendor_that_cannot_be_reached_at_all_raises(store):
    vendor = Script()
    vendor.instruments = lambda: (_ for _ in ()).throw(NotReadyError("Nobody is there."))
    with pytest.raises(NotReadyError):
        download(vendor, store, [MINUTES], NOW)
    assert not store.tables


def test_bars_go_to_the_store_in_few_arrow_batches_never_row_by_row(store):
    start = datetime(2024, 3, 4, tzinfo=UTC)
    pages = [minutes(n * 1000, 1000) for n in range(45)]
    vendor = Script({"EUR_USD": pages})
    (report,) = download(vendor, store, [MINUTES], start + timedelta(days=60))
    assert [page.num_rows for page in store.pages] == [BATCH_ROWS, BATCH_ROWS, 5000]
    assert report.pages == 3
    assert report.inserted == 45_000


def test_pages_are_stored_while_later_ones_are_still_to_come(store):
    held = []

    def endless_pages(*asked):
        for n in range(60):
            held.append(n * 1000 - sum(page.num_rows for page in store.pages))
            yield minutes(n * 1000, 1000)

    vendor = Script()
    vendor.candles = endless_pages
    download(vendor, store, [MINUTES], START + timedelta(days=90))
    assert max(held) <= BATCH_ROWS


def test_what_was_loaded_is_checked_and_the_findings_are_kept(store):
    pages = [minutes(0, 100), minutes(300, 50)]
    (report,) = download(Script({"EUR_USD": pages}), store, [MINUTES], NOW)
    found = store.rows("data_quality")
    assert {row["check_name"] for row in found} >= {"gap", "unchanged"}
    (gap,) = [row for row in found if row["check_name"] == "gap"]
    assert gap["start"] == START + timedelta(minutes=100)
    assert report.errors == {"gap": 1}
    assert sum(report.warnings.values()) == len(found) - 1
    held = store.merged["data_quality"]
    download(Script({"EUR_USD": pages}), store, [replace(MINUTES, again=True)], NOW)
    assert store.merged["data_quality"] == held  # nothing new to say, nothing written


def test_vendor_and_asked_instruments_are_described(store):
    vendor = Script({"EUR_USD": [minutes(0, 5)]}, names=("EUR_USD", "USD_JPY"))
    download(vendor, store, [MINUTES], NOW)
    (info,) = store.rows("data_vendor")
    assert (info["vendor"], info["price_sides"], info["calendar"]) == ("script", "mid", "fx")
    (row,) = store.rows("instrument")
    assert (row["instrument"], row["base_currency"], row["quote_currency"]) == (
        "EUR_USD",
        "EUR",
        "USD",
    )


def test_a_naive_now_is_refused(store):
    with pytest.raises(DataError, match="no time zone"):
        download(Script(), store, [MINUTES], datetime(2024, 3, 4, 8))


def test_now_in_another_zone_means_the_same_instant(store):
    vendor = Script({"EUR_USD": [minutes(0, 481)]})
    download(vendor, store, [MINUTES], NOW.astimezone(NEW_YORK))
    assert len(stored(store)) == 480
    assert all(bar["start"].utcoffset() == timedelta(0) for bar in stored(store))


def test_daily_bars_are_named_by_17_in_new_york_in_summer_and_in_winter(store):
    with CandleServer(gap_share=0) as server:
        download(oanda(server), store, [Request("EUR_USD", "D")], server.now)
    found = [bar["start"] for bar in stored(store, granularity="D", vendor="oanda")]
    assert {at.hour for at in found} == {21, 22}
    assert {at.astimezone(NEW_YORK).hour for at in found} == {17}
    assert len({at.astimezone(NEW_YORK).date() for at in found}) == len(found)


def test_25_years_of_the_seven_seed_pairs_load_without_an_error_finding(store):
    now = datetime(2026, 10, 30, 18, tzinfo=UTC)
    requests = [Request(name, "D") for name in catalogue.SEED_SEVEN]
    reports = download(EcbVendor(), store, requests, now)
    assert [report.error for report in reports] == [""] * 7
    assert all(report.inserted > 7_000 for report in reports)
    assert not any(report.errors for report in reports)
    again = download(EcbVendor(), store, requests, now)
    assert sum(report.inserted + report.updated for report in again) == 0
