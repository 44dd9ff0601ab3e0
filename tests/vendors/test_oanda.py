from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from candle_server import ACCOUNT, TOKEN, CandleServer
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mbats.config import Settings
from mbats.errors import ConfigError, DataError, NotReadyError
from mbats.market.granularity import Granularity
from mbats.market.newyork import NEW_YORK
from mbats.vendors.oanda import OandaVendor
from mbats.vendors.oanda_client import REQUESTS_PER_SECOND, Backoff

START = datetime(2024, 3, 4, tzinfo=UTC)


class Clock:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def vendor_of(server, clock, token=TOKEN, **more):
    settings = Settings(oanda_endpoint=server.address, oanda_token=token, **more)
    return OandaVendor(settings, sleep=clock.sleep, clock=clock)


def starts(pages):
    return [at for page in pages for at in page.column("start").to_pylist()]


def complete(server, name, granularity, start, end):
    held = server.all(name, Granularity(granularity))
    return [at for at, candle in held if candle["complete"] and start <= at < end]


def test_all_complete_minutes_come_past_the_cap_and_the_unfinished_one_does_not(clock):
    with CandleServer() as server:
        pages = list(vendor_of(server, clock).candles("EUR_USD", "M1", START, server.now))
        expected = complete(server, "EUR_USD", "M1", START, server.now)
        assert starts(pages) == expected
        assert len(expected) > 3 * 5000
        assert max(page.num_rows for page in pages) <= 5000
        assert server.all("EUR_USD", Granularity.M1)[-1][0] not in expected


def test_no_request_mixes_a_count_with_a_range_or_names_an_end(clock):
    with CandleServer() as server:
        list(vendor_of(server, clock).candles("EUR_USD", "M1", START, server.now))
        assert not any("to" in query for query in server.requests)
        for query in server.requests:
            assert query["price"] == "MBA"
            assert query["count"] == "5000"
            assert query["dailyAlignment"] == "17"
            assert query["alignmentTimezone"] == "America/New_York"


@pytest.mark.parametrize("by_interval", [False, True])
def test_a_closure_longer_than_a_page_does_not_end_the_series(clock, by_interval):
    closed = (START + timedelta(days=1), START + timedelta(days=8))
    with CandleServer(closed=closed, by_interval=by_interval) as server:
        found = starts(vendor_of(server, clock).candles("EUR_USD", "M1", START, server.now))
        assert found == complete(server, "EUR_USD", "M1", START, server.now)
        assert found[-1] > closed[1]


@examples(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    gap_share=st.sampled_from([0.0, 0.3, 0.95]),
    by_interval=st.booleans(),
    start=st.integers(0, 16_000),
    length=st.integers(0, 16_000),
)
def test_any_range_yields_exactly_its_complete_candles_in_order(
    seed, gap_share, by_interval, start, length
):
    low = START + timedelta(minutes=start)
    with CandleServer(seed=seed, gap_share=gap_share, by_interval=by_interval) as server:
        high = min(low + timedelta(minutes=length), server.now)
        found = starts(vendor_of(server, Clock()).candles("USD_JPY", "M1", low, high))
        assert found == complete(server, "USD_JPY", "M1", low, high)


def test_prices_are_the_very_decimals_of_the_answer_on_all_three_sides(clock):
    with CandleServer() as server:
        page = next(vendor_of(server, clock).candles("USD_JPY", "M1", START, server.now))
        raw = [c for _, c in server.all("USD_JPY", Granularity.M1)]
        row, candle = page.slice(10, 1).to_pylist()[0], raw[10]
        for side in ("bid", "ask", "mid"):
            for part in ("open", "high", "low", "close"):
                assert row[f"{side}_{part}"] == Decimal(candle[side][part[0]])
        assert row["volume"] == candle["volume"]
        assert row["end_time"] - row["start"] == timedelta(minutes=1)


def test_days_start_at_17_in_new_york_on_both_sides_of_the_clock_change(clock):
    with CandleServer(gap_share=0) as server:
        page = pa.concat_tables(vendor_of(server, clock).candles("EUR_USD", "D", START, server.now))
        bars = page.to_pylist()
        assert {bar["start"].hour for bar in bars} == {21, 22}
        for bar in bars:
            assert bar["start"].astimezone(NEW_YORK).hour == 17
            assert bar["end_time"].astimezone(NEW_YORK).hour == 17
        assert bars[-1]["end_time"] == datetime(2024, 3, 14, 21, tzinfo=UTC)


def test_nothing_after_an_unfinished_candle_is_taken_even_in_the_middle(clock):
    def stub(candles):
        return [c | {"complete": c["complete"] and i != 100} for i, c in enumerate(candles)]

    with CandleServer(edit=stub) as server:
        found = starts(vendor_of(server, clock).candles("EUR_USD", "M1", START, server.now))
        assert found == complete(server, "EUR_USD", "M1", START, server.now)[:100]


def test_a_range_that_begins_at_its_end_asks_nothing(clock):
    with CandleServer() as server:
        assert not list(vendor_of(server, clock).candles("EUR_USD", "M1", server.now, server.now))
        assert not server.requests


@pytest.mark.parametrize(
    "fault",
    [
        (429, '{"errorMessage": "slow down"}'),
        (503, "<html><body>maintenance</body></html>"),
        (200, "<html>a proxy speaks</html>"),
    ],
)
def test_what_may_pass_is_tried_again_with_growing_waits(clock, fault):
    with CandleServer(faults=[fault] * 3) as server:
        found = starts(vendor_of(server, clock).candles("EUR_USD", "D", START, server.now))
        assert found == complete(server, "EUR_USD", "D", START, server.now)
        waits = [s for s in clock.slept if s >= 0.5]
        assert waits == [0.5, 1.0, 2.0]


def test_after_the_last_attempt_the_error_lists_what_was_answered(clock):
    with CandleServer(faults=[(502, "<html>bad gateway</html>")] * 50) as server:
        with pytest.raises(NotReadyError, match="candles of EUR_USD") as caught:
            list(vendor_of(server, clock).candles("EUR_USD", "D", START, server.now))
        assert len(caught.value.tried) == Backoff().attempts
        assert "HTTP 502: <html>bad gateway</html>" in caught.value.tried


def test_nobody_at_the_address_is_not_ready(clock):
    with CandleServer() as server:
        gone = vendor_of(server, clock)
    with pytest.raises(NotReadyError, match="did not give"):
        gone.instruments()


def test_a_refused_token_says_which_setting_to_mend(clock):
    with CandleServer() as server, pytest.raises(ConfigError) as caught:
        vendor_of(server, clock, token="expired").instruments()
    assert "MBATS_OANDA_TOKEN" in caught.value.mend
    assert not [s for s in clock.slept if s >= 0.5]


def test_an_unknown_instrument_is_refused_at_once_and_named(clock):
    with CandleServer() as server, pytest.raises(DataError, match=r"XAU_XAG.*'instrument'"):
        list(vendor_of(server, clock).candles("XAU_XAG", "D", START, server.now))


def test_requests_keep_to_a_hundred_a_second(clock):
    with CandleServer(faults=[]) as server:
        list(vendor_of(server, clock).candles("EUR_USD", "M1", START, server.now))
        assert clock.now == pytest.approx((len(server.requests) - 1) / REQUESTS_PER_SECOND)


@pytest.mark.parametrize("account", [None, ACCOUNT])
def test_instruments_carry_what_the_broker_says_of_them(clock, account):
    with CandleServer() as server:
        found = {i.name: i for i in vendor_of(server, clock, oanda_account=account).instruments()}
    yen = found["USD_JPY"]
    assert (yen.pip_location, yen.price_precision, yen.kind) == (-2, 3, "FX")
    assert yen.margin_rate == Decimal("0.05")
    assert yen.financing_long_rate == Decimal("-0.0323")


def test_a_candle_without_a_side_is_refused(clock):
    def one_sided(candles):
        return [{k: v for k, v in c.items() if k != "bid"} for c in candles]

    with CandleServer(edit=one_sided) as server, pytest.raises(DataError, match="cannot be read"):
        list(vendor_of(server, clock).candles("EUR_USD", "D", START, server.now))


def test_without_a_simulator_or_a_token_the_mend_is_named():
    with pytest.raises(ConfigError, match="no OANDA simulator"):
        OandaVendor(Settings()).instruments()
    with pytest.raises(ConfigError, match="access token"):
        OandaVendor(Settings(oanda_environment="practice")).instruments()
