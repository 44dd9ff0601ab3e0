from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.config import Settings
from mbats.errors import ConfigError, DataError, MbatsError
from mbats.live.inbox import Logged, LogReached
from mbats.live.streams import Broken, Connected, Ended, Stream, Unreadable
from mbats.market.tick import Tick
from mbats.vendors.oanda_streams import Pace, PriceStream, TransactionStream, tick
from tests.vendors.stream_server import CUT, HOLD, refused, serving

HEARTBEAT = {"type": "HEARTBEAT", "time": "2026-11-23T10:00:05.000000000Z"}


def price(bid="1.10001", ask="1.10013", **changes):
    return {
        "type": "PRICE",
        "instrument": "EUR_USD",
        "time": "2026-11-23T10:00:00.123456789Z",
        "tradeable": True,
        "status": "tradeable",
        "bids": [{"price": bid, "liquidity": 1000000}],
        "asks": [{"price": ask, "liquidity": 2000000}],
        **changes,
    }


def order(number):
    return {
        "type": "MARKET_ORDER",
        "id": str(number),
        "time": "2026-11-23T10:00:00.123456789Z",
        "instrument": "EUR_USD",
        "units": "100",
    }


def heartbeat(last_id):
    return {**HEARTBEAT, "lastTransactionID": str(last_id)}


@contextmanager
def reading(kind, *scripts, silence_s=5.0):
    """Yield a function that takes the next item, the stream and the server."""
    items = SimpleQueue()
    waits = []
    with serving(*scripts) as server:
        settings = Settings(oanda_endpoint=server.url, oanda_account="101-001")
        options = {
            "pace": Pace(clock=lambda: 0.0),
            "seed": 7,
            "sleep": waits.append,
            "silence_s": silence_s,
        }
        if kind is PriceStream:
            stream = PriceStream(settings, ["EUR_USD", "USD_JPY"], items.put, **options)
        else:
            stream = TransactionStream(settings, items.put, **options)
        stream.waits = waits
        stream.start()
        try:
            yield lambda: items.get(timeout=30), stream, server
        finally:
            stream.stop()
            server.released.set()
            stream.join(30)
            assert not stream.is_alive()


def test_prices_become_ticks():
    with reading(PriceStream, [HEARTBEAT, price(), HOLD]) as (take, stream, server):
        assert take() == Connected(Stream.PRICES)
        assert take() == Tick(
            "EUR_USD",
            datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC),
            Decimal("1.10001"),
            Decimal("1.10013"),
            1_000_000,
            2_000_000,
        )
        assert "instruments=EUR_USD%2CUSD_JPY" in server.paths[0]
        assert stream.counts["heartbeats"] == 1


@pytest.mark.parametrize(
    "breaking", [[], [CUT], [b"not json\n"], [b"\xff\xfe\n"]], ids=["clean", "cut", "line", "bytes"]
)
def test_every_end_of_a_connection_is_told_and_a_new_one_opened(breaking):
    with reading(PriceStream, [price(), *breaking], [price("1.2", "1.3"), HOLD]) as (take, *_):
        assert take() == Connected(Stream.PRICES)
        assert take().bid == Decimal("1.10001")
        broken = take()
        assert isinstance(broken, Broken)
        assert broken.reason
        assert take() == Connected(Stream.PRICES)
        assert take().bid == Decimal("1.2")


def test_silence_breaks_the_connection():
    with reading(PriceStream, [price(), HOLD], [HEARTBEAT, HOLD], silence_s=0.2) as (take, *_):
        take(), take()
        assert "timed out" in take().reason
        assert take() == Connected(Stream.PRICES)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_refusal_is_repeated(status):
    script = refused(status, "<html>sorry</html>")
    with reading(PriceStream, script, [price(), HOLD]) as (take, *_):
        assert take() == Broken(Stream.PRICES, f"HTTP {status}")
        assert take() == Connected(Stream.PRICES)


@pytest.mark.parametrize(
    ("status", "error"), [(401, ConfigError), (403, ConfigError), (400, DataError)]
)
def test_a_lasting_refusal_ends_the_stream(status, error):
    body = '{"errorMessage": "Insufficient authorization to perform request."}'
    with reading(PriceStream, refused(status, body), [price(), HOLD]) as (take, stream, server):
        ended = take()
        assert isinstance(ended, Ended)
        assert type(ended.error) is error
        assert "Insufficient authorization" in ended.error.cause
        stream.join(30)
        assert not stream.is_alive()
        assert len(server.paths) == 1


def test_the_waits_grow_and_shrink_again_never_beyond_the_longest():
    scripts = [refused(500)] * 9
    with reading(PriceStream, *scripts, [price(), HOLD]) as (take, stream, _):
        while take() != Connected(Stream.PRICES):
            pass
        waits = stream.waits[1:]
    assert len(waits) == 9
    limits = [min(2.0**n, 60.0) for n in range(9)]
    assert all(
        limit / 2 <= wait <= max(limit, 5.0) for wait, limit in zip(waits, limits, strict=True)
    )
    assert len(set(waits)) == 9


@given(st.lists(st.floats(0, 3), min_size=1, max_size=30))
def test_no_second_sees_more_than_two_new_connections(steps):
    now = 100.0
    pace = Pace(clock=lambda: now)
    opened = []
    for step in steps:
        now += step
        opened.append(now + pace.wait_s())
    for index, first in enumerate(opened):
        assert len([t for t in opened[index:] if t < first + 1 - 1e-6]) <= 2


@pytest.mark.parametrize(
    "bad",
    [
        price(bid="abc"),
        price(bid="NaN"),
        price(bid="-1.1"),
        price(bid="0"),
        price(bid="1.2", ask="1.1"),
        price(time="yesterday"),
        {"type": "PRICE"},
        {"type": "SURPRISE"},
        {"no": "type"},
        [1, 2],
        7,
        price(bids=[{}]),
        price(bids=5),
    ],
)
def test_a_bad_price_is_told_and_the_stream_goes_on(bad):
    with reading(PriceStream, [bad, price(), HOLD]) as (take, stream, _):
        assert take() == Connected(Stream.PRICES)
        told = take()
        assert isinstance(told, Unreadable)
        assert told.reason
        assert take().bid == Decimal("1.10001")
        assert stream.counts["unreadable"] == 1
        assert stream.counts["breaks"] == 0


@pytest.mark.parametrize("empty", [{"bids": []}, {"asks": []}, {"bids": [], "asks": []}])
def test_an_empty_book_is_a_tick_without_that_price_and_counted(empty):
    with reading(PriceStream, [price(**empty), HOLD]) as (take, stream, _):
        take()
        made = take()
        assert (made.bid is None) == ("bids" in empty)
        assert (made.ask is None) == ("asks" in empty)
        assert not made.has_prices
        stream.stop()
        assert stream.counts["empty_books"] == 1


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["instrument", "time", "bids", "asks", "tradeable"]), _ANYTHING)
)
def test_no_price_whatever_it_holds_becomes_a_wrong_tick(changes):
    try:
        made = tick(price(**changes))
    except (MbatsError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return
    assert made.bid is None or made.bid > 0
    assert made.ask is None or made.ask > 0
    assert not made.has_prices or made.bid <= made.ask


def test_transactions_are_put_as_they_come():
    with reading(TransactionStream, [heartbeat(998), order(999), order(1000), HOLD]) as (take, *_):
        assert take() == Connected(Stream.TRANSACTIONS)
        assert take() == LogReached(998)
        assert [t.id for t in take().transactions] == [999]
        assert [t.id for t in take().transactions] == [1000]


def test_a_heartbeat_beyond_the_newest_transaction_asks_for_the_rest():
    script = [order(999), heartbeat(999), heartbeat(1000), order(1001), HOLD]
    with reading(TransactionStream, script) as (take, *_):
        take(), take()
        assert take() == LogReached(1000)
        assert isinstance(take(), Logged)


def test_an_unreadable_transaction_is_told_and_the_log_asked_for():
    bad = {"type": "ORDER_FILL", "id": "5", "time": "2026-11-23T10:00:00Z"}
    with reading(TransactionStream, [order(4), bad, heartbeat(5), HOLD]) as (take, *_):
        take(), take()
        assert isinstance(take(), Unreadable)
        assert take() == LogReached(5)


def test_a_transaction_of_an_unknown_type_passes():
    strange = {"type": "NEWS", "id": "5", "time": "2026-11-23T10:00:00Z"}
    with reading(TransactionStream, [strange, HOLD]) as (take, *_):
        take()
        assert take().transactions[0].type == "NEWS"


def test_a_stream_without_account_is_refused_before_it_starts():
    with pytest.raises(ConfigError, match="needs an OANDA account"):
        PriceStream(Settings(oanda_endpoint="http://127.0.0.1:1"), ["EUR_USD"], print)
