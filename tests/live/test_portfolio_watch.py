"""The watch over an account's limits: the same picture whatever the order of its events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from mbats.errors import ConfigError, DataError
from mbats.live.portfolio_watch import (
    Held,
    Pull,
    Watched,
    account_of,
    breaches,
    limits_of,
    resumed,
    take,
)

ACCOUNT = "101-001-1234567-001"
NOON = datetime(2026, 9, 23, 12, tzinfo=UTC)  # a Wednesday


def beat(seconds, value, cursor=1, **positions):
    return "heartbeat", {
        "source": f"bot-{ACCOUNT}",
        "time": NOON + timedelta(seconds=seconds),
        "transaction_id": str(cursor),
        "detail": {
            "positions": {name: str(units) for name, units in positions.items()},
            "worth": {
                "currency": "USD",
                "net_asset_value": str(value),
                "rates": {"USD": "1", "EUR": "1.1"} if positions else {},
            },
        },
    }


def fill(seconds, transaction, units, instrument="EUR_USD", price="1.1", rate="1"):
    return "fill", {
        "event_id": f"{ACCOUNT}-{transaction}-fill",
        "time": NOON + timedelta(seconds=seconds),
        "instrument": instrument,
        "price": Decimal(price),
        "position_units": Decimal(units),
        "conversion_rate": rate and Decimal(rate),
        "broker_transaction_id": str(transaction),
    }


def after(*events, watched=None):
    watched = watched or Watched(ACCOUNT)
    for table, row in events:
        watched = take(watched, table, row)
    return watched


def codes(watched, text=""):
    return [denied.code for denied in breaches(watched, limits_of(ACCOUNT, text))]


def test_every_order_of_the_same_events_ends_in_the_same_picture():
    events = [
        beat(0, 10_000, 1),
        fill(1, 2, 50_000),
        beat(10, 9_900, 2, EUR_USD=50_000),
        fill(11, 3, -20_000),
        beat(20, 10_100, 3, EUR_USD=-20_000),
    ]

    pictures = [after(*order) for order in permutations(events)]

    assert len({repr(sorted(vars(p).items(), key=lambda kv: kv[0])) for p in pictures}) == 1
    assert pictures[0].positions["EUR_USD"] == Held(Decimal(-20_000), 3)
    assert (pictures[0].value, pictures[0].start, pictures[0].peak) == (10_100, 10_000, 10_100)


def test_an_event_that_comes_again_changes_nothing():
    events = [beat(0, 10_000), fill(1, 2, 50_000), beat(10, 9_000, 2, EUR_USD=50_000)]

    assert after(*events, *events) == after(*events)


def test_the_picture_survives_a_round_through_its_record():
    watched = after(beat(0, "10000.5"), fill(1, 2, 50_000))
    pulled = Watched(**{**vars(watched), "pull": Pull("e", "DRAWDOWN", "why", NOON, True, 3)})

    assert Watched.from_record(watched.to_record()) == watched
    assert Watched.from_record(pulled.to_record()) == pulled


def test_drawdown_and_daily_loss_are_measured_from_peak_and_from_1700_new_york():
    watched = after(beat(0, 10_000), beat(10, 12_000), beat(20, 9_500))

    assert codes(watched) == []
    assert codes(watched, "drawdown=0.2") == ["DRAWDOWN"]
    assert codes(watched, "daily_loss=500") == ["DAILY_LOSS"]
    assert codes(watched, "daily_loss=501") == []
    tomorrow = after(beat(10 * 3600, 9_500), watched=watched)  # 22:00 UTC: past 17:00 there
    assert codes(tomorrow, "daily_loss=500") == []
    assert codes(tomorrow, "drawdown=0.2") == ["DRAWDOWN"]


def test_exposure_is_counted_in_all_and_by_currency_from_fills_alone():
    long = fill(1, 2, 50_000)
    against = fill(2, 3, 50_000, "USD_JPY", "150", "0.00666667")

    assert codes(after(long, against), "gross_exposure=104000") == ["GROSS_EXPOSURE"]
    assert codes(after(long, against), "net_currency_exposure=54000") == ["NET_CURRENCY_EXPOSURE"]
    assert codes(after(long, against), "net_currency_exposure=55001,gross_exposure=106000") == []


def test_a_position_that_nobody_can_value_yet_pulls_no_switch():
    assert codes(after(fill(1, 2, 50_000, rate=None)), "gross_exposure=1") == []


def test_before_the_first_value_nothing_is_lost():
    assert codes(after(fill(1, 2, 10)), "daily_loss=0,drawdown=0") == []


def test_a_heartbeat_closes_what_it_no_longer_holds_but_not_what_came_after_it():
    watched = after(fill(1, 2, 50_000), fill(2, 3, 10_000, "GBP_USD"))

    told = after(beat(10, 10_000, 2), watched=watched)

    assert told.positions["EUR_USD"].units == 0
    assert told.positions["GBP_USD"].units == 10_000


def test_a_resume_by_a_person_begins_loss_and_drawdown_anew():
    watched = after(beat(0, 10_000), beat(10, 5_000))
    assert codes(watched) == ["DRAWDOWN"]

    again = resumed(watched, NOON + timedelta(seconds=15))

    assert again.pull is None
    assert codes(again) == []
    late = after(beat(5, 10_000), watched=again)
    assert codes(late) == []
    assert codes(after(beat(20, 3_000), watched=late)) == ["DRAWDOWN"]


def test_limits_for_one_account_beat_those_for_all():
    text = f"daily_loss=100, drawdown=off, {ACCOUNT}:daily_loss=50, 000-1:daily_loss=7"

    assert limits_of(ACCOUNT, text).daily_loss == 50
    assert limits_of("001-001-1-001", text).daily_loss == 100
    assert limits_of(ACCOUNT, text).drawdown is None
    with pytest.raises(ConfigError, match="no limit"):
        limits_of(ACCOUNT, "dayly_loss=5")


def test_the_account_is_read_from_a_heartbeats_source_and_a_fills_id():
    assert account_of(*beat(0, 1)) == ACCOUNT
    assert account_of(*fill(0, 7, 1)) == ACCOUNT
    assert account_of("heartbeat", {"source": "streamer"}) is None
    assert account_of("order_event", {"event_id": "x"}) is None
    with pytest.raises(DataError, match="does not name its account"):
        account_of("fill", {"event_id": "nonsense"})


@pytest.mark.parametrize(
    "detail",
    [
        {"positions": {}, "worth": {}},
        {"positions": {}, "worth": {"currency": "USD", "net_asset_value": "x", "rates": {}}},
        {"worth": {"currency": "USD", "net_asset_value": "1", "rates": {}}},
        {"positions": [], "worth": {"currency": "USD", "net_asset_value": "1", "rates": {}}},
    ],
)
def test_a_malformed_heartbeat_is_a_data_error(detail):
    _, row = beat(0, 1)

    with pytest.raises(DataError, match="malformed"):
        take(Watched(ACCOUNT), "heartbeat", {**row, "detail": detail})


def test_a_heartbeat_of_a_bot_that_tells_no_worth_changes_nothing():
    _, row = beat(0, 1)

    assert take(Watched(ACCOUNT), "heartbeat", {**row, "detail": {}}) == Watched(ACCOUNT)
