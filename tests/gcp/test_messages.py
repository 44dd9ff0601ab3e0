import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats import schemas
from mbats.errors import DataError
from mbats.gcp import messages
from mbats.gcp.batch import table_of
from mbats.live.streams import Mark
from mbats.market.tick import Tick

NOW = datetime(2026, 11, 23, 10, 0, 1, 5, tzinfo=UTC)
PRICES = st.decimals("0.00001", "999999", places=5)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
TICKS = st.builds(
    Tick,
    st.sampled_from(["EUR_USD", "USD_JPY"]),
    TIMES,
    st.none() | PRICES,
    st.none() | PRICES,
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.booleans(),
)


@given(TICKS)
def test_a_tick_comes_back_as_it_went(tick):
    row = messages.decode_tick(messages.encode_tick(messages.tick_row(tick, "oanda", NOW)))
    assert messages.tick_of(row) == tick
    assert row["received_at"] == NOW
    assert row["mark"] is None


@given(TICKS)
def test_a_decoded_tick_is_a_row_of_its_table(tick):
    row = messages.decode_tick(messages.encode_tick(messages.tick_row(tick, "oanda", NOW)))
    schema = schemas.table("security_master", "tick")
    assert set(row) == set(schema.columns)
    assert table_of(schema, [row]).num_rows == 1


def test_the_schema_has_the_columns_of_the_table_in_order():
    names = [field["name"] for field in json.loads(messages.tick_schema())["fields"]]
    assert tuple(names) == schemas.table("security_master", "tick").columns


@given(TICKS, TICKS)
def test_the_event_id_tells_ticks_apart_and_knows_repeats(one, other):
    ids = [
        messages.tick_row(t, "oanda", NOW + timedelta(n))["event_id"]
        for n, t in enumerate((one, other))
    ]
    assert (ids[0] == ids[1]) == (one == other)


def test_a_mark_has_no_prices_and_is_not_tradeable():
    row = messages.decode_tick(
        messages.encode_tick(messages.mark_row("EUR_USD", Mark.LOST, "oanda", NOW))
    )
    assert (row["mark"], row["bid"], row["ask"], row["tradeable"]) == ("lost", None, None, False)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"7", b'{"time": "x"}', b'{"bid": {"string": "x"}}']
)
def test_what_is_no_tick_is_refused(data):
    with pytest.raises(DataError, match="no tick"):
        messages.decode_tick(data)


EVENT = {
    "event_id": "a-1-filled",
    "run_id": "r",
    "time": NOW,
    "order_key": "k",
    "strategy": "s",
    "instrument": "EUR_USD",
    "side": "buy",
    "units": Decimal(100),
    "price": Decimal("1.1"),
    "mid_price": None,
    "spread_cost": Decimal("0.01"),
    "slippage_cost": Decimal("0E-8"),
    "commission": Decimal(0),
    "realised_pnl": Decimal("-1.23"),
    "conversion_rate": Decimal("0.0066666666666"),
    "position_units": Decimal("1E+2"),
    "role": "entry",
    "broker_transaction_id": "1",
}


def test_an_event_comes_back_with_the_nine_decimals_that_are_stored():
    row = messages.decode_event("fill", messages.encode_event("fill", EVENT))
    expected = {k: v for k, v in EVENT.items() if v is not None}
    assert row == expected | {"conversion_rate": Decimal("0.006666667")}
    table_of(schemas.table("risk", "fill"), [row])


def test_amounts_are_plain_decimal_text():
    document = json.loads(messages.encode_event("fill", EVENT))
    assert document["position_units"] == "100"
    assert document["slippage_cost"] == "0"
    assert document["time"] == "2026-11-23T10:00:01.000005+00:00"


def test_json_columns_travel_as_text_and_come_back_as_values():
    row = {"source": "s", "time": NOW, "detail": {"ticks": 5}, "lag_seconds": 0.5, "fencing": 3}
    data = messages.encode_event("heartbeat", row)
    assert json.loads(data)["detail"] == '{"ticks": 5}'
    assert messages.decode_event("heartbeat", data) == row


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"units": None}, "units"),
        ({"units": 0.1}, "units"),
        ({"units": "many"}, "units"),
        ({"time": datetime(2026, 1, 1)}, "time"),
        ({"side": 7}, "side"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_event_is_refused_with_its_column(change, named):
    with pytest.raises(DataError, match=named):
        messages.encode_event("fill", EVENT | change)


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b'{"nothing": 1}', b'{"units": "x"}', b'{"time": 5}']
)
def test_what_is_no_row_is_refused(data):
    with pytest.raises(DataError, match=r"no row of risk\.fill"):
        messages.decode_event("fill", data)
