from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import ConfigError
from mbats.strategy.sizing import (
    BELOW_MINIMUM,
    NO_EQUITY,
    NO_STOP,
    FixedUnits,
    PercentOfEquity,
    RiskPerTrade,
    floored,
    parse_sizer,
)
from mbats.trading.costs import Terms


@dataclass
class Account:
    value: float

    def getvalue(self):
        return self.value


@dataclass
class Info:
    rate: float = 1.0
    terms: Terms = field(default_factory=lambda: Terms("USD_JPY"))


@dataclass
class Feed:
    close: tuple[float, ...] = (150.0,)


def size(sizer, value=10_000.0, info=None, stop=None):
    sizer.set(None, Account(value))
    sizer.stop_distance = stop
    return sizer._getsizing(info or Info(1 / 150), value, Feed(), True)


def test_a_share_of_equity_is_a_notional_in_account_currency():
    assert size(PercentOfEquity(percent=50)) == 5_000


def test_a_risk_per_trade_loses_that_share_at_the_stop():
    units = size(RiskPerTrade(percent=1), stop=0.5)
    assert units * 0.5 / 150 == pytest.approx(100.0)


def test_a_risk_per_trade_without_a_stop_is_refused_by_name():
    sizer = RiskPerTrade(percent=1)
    assert size(sizer) == 0
    assert sizer.refusal == NO_STOP


def test_sizes_are_rounded_down_and_a_size_below_the_smallest_trade_is_none():
    sizer = PercentOfEquity(percent=50)
    fine = Info(1 / 150, Terms("XAU_USD", units_precision=2, minimum_units=0.5))
    assert size(sizer, 1.237, fine) == 0.61
    assert size(sizer, 0.9, fine) == 0
    assert sizer.refusal == BELOW_MINIMUM


def test_a_size_is_capped_at_the_largest_order():
    assert size(FixedUnits(units=900), info=Info(1.0, Terms("X_Y", maximum_units=500))) == 500


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_an_account_without_equity_sends_nothing(value):
    sizer = FixedUnits()
    assert size(sizer, value) == 0
    assert sizer.refusal == NO_EQUITY


@given(st.floats(0, 1e9), st.integers(0, 4))
def test_rounding_down_never_rounds_up_by_more_than_float_noise(units, precision):
    down = floored(units, precision)
    assert down <= units * (1 + 1e-11)
    assert units - down < 10.0**-precision * 1.001 + units * 1e-11


@pytest.mark.parametrize(
    "text", ["", "units", "units:", "units:x", "risk:-1", "lots:3", "risk:nan"]
)
def test_a_sizer_that_is_none_lists_the_forms(text):
    with pytest.raises(ConfigError) as caught:
        parse_sizer(text)
    assert len(caught.value.tried) == 3


def test_a_sizer_is_named_with_its_number():
    assert parse_sizer("equity:12.5") == (PercentOfEquity, {"percent": 12.5})
