from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis.strategies import datetimes, sampled_from, text, timezones

from mbats.errors import DataError
from mbats.trading.order import (
    OrderIntent,
    OrderType,
    Role,
    Side,
    is_ours,
    leg_key,
    order_key,
    parent_key,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = text(min_size=1, max_size=20)


def make(**changes):
    values = {
        "key": "k",
        "account": "A",
        "strategy": "S",
        "instrument": "EUR_USD",
        "side": Side.SELL,
        "units": Decimal(1000),
        "decided_at": NOON,
    }
    return OrderIntent(**{**values, **changes})


def test_a_key_is_the_same_for_ever():
    assert order_key("A", "S", "EUR_USD", NOON) == "m1-6101abe0db063ee53408b785"


def test_a_key_does_not_depend_on_the_zone_the_time_is_written_in():
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert order_key("A", "S", "EUR_USD", tokyo) == order_key("A", "S", "EUR_USD", NOON)


@given(account=NAMES, strategy=NAMES, instrument=NAMES, moment=datetimes(timezones=timezones()))
def test_a_key_is_short_plain_and_known_as_ours(account, strategy, instrument, moment):
    key = order_key(account, strategy, instrument, moment.astimezone(UTC))
    assert is_ours(key)
    assert len(key) <= 64
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_every_part_of_a_decision_changes_the_key():
    keys = {
        order_key("A", "S", "EUR_USD", NOON),
        order_key("B", "S", "EUR_USD", NOON),
        order_key("A", "T", "EUR_USD", NOON),
        order_key("A", "S", "USD_JPY", NOON),
        order_key("A", "S", "EUR_USD", NOON + timedelta(microseconds=1)),
        order_key("A", "S", "EUR_USD", NOON, "exit"),
    }
    assert len(keys) == 6


@given(role=sampled_from([Role.STOP_LOSS, Role.TAKE_PROFIT, Role.TRAILING_STOP]))
def test_a_leg_knows_the_order_it_is_a_leg_of(role):
    key = order_key("A", "S", "EUR_USD", NOON)
    assert leg_key(key, role) != key
    assert parent_key(leg_key(key, role)) == parent_key(key) == key
    assert is_ours(leg_key(key, role))


@pytest.mark.parametrize("key", [None, "", "17", "m1-", "m2-ebefe7ff94ae41d78ac30b91", "m1-xyz-sl"])
def test_the_ids_of_others_are_not_ours(key):
    assert not is_ours(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"units": Decimal(0)},
        {"units": Decimal(-5)},
        {"units": Decimal("NaN")},
        {"units": Decimal("Infinity")},
        {"stop_loss": Decimal("NaN")},
        {"price_bound": Decimal(0)},
        {"type": OrderType.LIMIT},
        {"type": OrderType.STOP},
        {"decided_at": datetime(2026, 1, 1)},
    ],
)
def test_what_is_no_order_cannot_be_made(changes):
    with pytest.raises(DataError):
        make(**changes)


def test_units_take_the_sign_of_the_side():
    assert make().signed_units == -1000
    assert make(side=Side.BUY).signed_units == 1000
    assert Side.BUY.opposite is Side.SELL
