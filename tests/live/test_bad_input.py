"""Input that is bad, as one table: a named denial or a clear stop, and never an order."""

import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import backtrader as bt
import pytest

from mbats.errors import ConfigError, DataError, MbatsError
from mbats.live.inbox import Control
from mbats.live.streams import Ended, Stream
from tests.live.house import Bracket, House, at
from tests.live.rig import START, ticks_at

CLOSES = ["1.1"] * 6
LAST = timedelta(seconds=59)  # of the first bar: what is decided on it sees this price


def newest(**changes):
    """A calm minute whose last price is a bad one."""
    bad = replace(ticks_at(["1.1"])[0], **{"time": START + LAST, **changes})
    return [*ticks_at(["1.1"]), at(59, lambda: bad), at(65, lambda: None)]


def jump(seconds):
    """The clock jumps just as the tick comes that completes the first bar."""
    (first,) = ticks_at(["1.1"])
    prices = [replace(first, time=START + timedelta(seconds=s)) for s in range(1, 60, 2)]
    completing = replace(first, time=START + timedelta(seconds=60.1))

    def script(house):
        def leap():
            house.clock.time += timedelta(seconds=seconds)
            return completing

        return [*prices, at(60.1, leap), at(65 + max(seconds, 0), lambda: None)]

    return script


class Signal(bt.Strategy):
    """Sends what a broken signal would."""

    params = (("order", None),)

    def next(self):
        self.buy(**self.p.order)


def limit(price):
    return {"size": 1000, "exectype": bt.Order.Limit, "price": price}


def expired_token():
    ended = Control(Ended(Stream.TRANSACTIONS, ConfigError("OANDA refused the token.")))
    return [at(30, ended), *ticks_at(CLOSES)]


PRICES = {
    "a negative spread": (newest(bid=Decimal("1.2"), ask=Decimal("1.1")), "BAD_PRICE"),
    "not to be traded": (newest(tradeable=False), "STALE_PRICE"),
    "without a bid": (newest(bid=None), "STALE_PRICE"),
    "without an ask": (newest(ask=None), "STALE_PRICE"),
    "of tomorrow": (newest(time=START + timedelta(days=1)), "STALE_PRICE"),
    "a huge spread": (newest(ask=Decimal("1.2")), "SPREAD"),
}
SIGNALS = {
    "size NaN": ({"size": math.nan}, "BAD_SIZE"),
    "size infinite": ({"size": math.inf}, "BAD_SIZE"),
    "size below a unit": ({"size": 0.4}, "BAD_SIZE"),
    "size of a typing error": ({"size": 10**9}, "UNITS_CAP"),
    "size beyond any number": ({"size": 1e30}, "BAD_SIZE"),
    "price NaN": (limit(math.nan), "BAD_ORDER_PRICE"),
    "price infinite": (limit(math.inf), "BAD_ORDER_PRICE"),
    "price below zero": (limit(-1.1), "BAD_ORDER_PRICE"),
    "price of another instrument": (limit(150.0), "PRICE_COLLAR"),
}
CLOCKS = {
    "forward by an hour": (jump(3600), "STALLED"),
    "back by an hour": (jump(-3600), "STALE_PRICE"),
}


@pytest.mark.parametrize("price", ["0", "-1.1", "NaN", "Infinity"])
def test_a_malformed_price_never_becomes_a_tick(price):
    with pytest.raises(DataError, match="EUR_USD"):
        newest(bid=Decimal(price))


@pytest.mark.parametrize("case", PRICES)
def test_a_bad_price_is_denied_by_name(case):
    entries, code = PRICES[case]
    house = House()
    house.limits = replace(house.limits, spread_pips=Decimal(20))
    house.run(entries)
    assert house.broker.placed == []
    assert any(code in found for found in house.sink.codes()), house.sink.codes()


@pytest.mark.parametrize("case", SIGNALS)
def test_a_bad_signal_is_denied_by_name(case):
    order, code = SIGNALS[case]
    house = House()
    house.run(ticks_at(CLOSES), strategy=Signal, order=order)
    assert house.broker.placed == []
    assert code in house.sink.codes()


@pytest.mark.parametrize("case", CLOCKS)
def test_a_clock_that_jumps_is_named_and_sends_nothing_on_what_it_made_old(case):
    script, code = CLOCKS[case]
    house = House()
    house.limits = replace(house.limits, price_age=timedelta(seconds=10))
    house.run(script(house))
    assert house.broker.placed == []
    assert code in house.sink.codes()


@pytest.mark.parametrize(
    ("entries", "strategy", "parameters"),
    [
        (lambda house: newest(), Bracket, {}),
        (jump(0), Bracket, {}),
        (lambda house: ticks_at(CLOSES), Signal, {"order": {"size": 1000}}),
        (lambda house: ticks_at(CLOSES), Signal, {"order": limit(1.0999)}),
    ],
)
def test_the_very_same_input_without_its_fault_is_an_order(entries, strategy, parameters):
    house = House()
    age = timedelta(seconds=10 if strategy is Bracket else 600)  # as the tests above have it
    house.limits = replace(house.limits, spread_pips=Decimal(20), price_age=age)
    house.run(entries(house), strategy=strategy, **parameters)
    assert house.broker.placed


def test_an_expired_token_is_a_clear_stop():
    house = House()
    with pytest.raises(ConfigError, match="refused the token"):
        house.run(expired_token(), strategy=Bracket)
    assert house.broker.placed == []
    assert house.runs.ended[0][1] == "OANDA refused the token."


def test_an_instrument_that_the_account_does_not_have_is_refused_before_anything_starts():
    from mbats.config import Settings
    from mbats.desk.bot import _instruments
    from mbats.local.oanda_sim import SimConfig, serve, spec_of

    with serve(SimConfig(speed=0, start=START, specs=(spec_of("EUR_USD"),))) as running:
        settings = Settings(
            oanda_environment="sim", oanda_endpoint=running.url, oanda_account=running.account_id
        )
        assert list(_instruments(settings, ["EUR_USD"])) == ["EUR_USD"]
        with pytest.raises(MbatsError, match="no instrument XAU_EUR"):
            _instruments(settings, ["EUR_USD", "XAU_EUR"])
