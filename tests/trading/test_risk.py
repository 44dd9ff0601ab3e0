from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent, OrderType, Side
from mbats.trading.risk.context import Limits, Quote, RiskContext, Sent, TradingState
from mbats.trading.risk.exposure import gross, net_by_currency
from mbats.trading.risk.portfolio import ApprovalLedger, UnapprovedOrderError, breaches
from mbats.trading.risk.rules import RULES, check

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
D = Decimal
CALM = RiskContext(
    now=NOW,
    state=TradingState.ACTIVE,
    limits=Limits(daily_loss=D(500)),
    net_asset_value=D(10_000),
    margin_available=D(10_000),
    day_start_value=D(10_000),
    peak_value=D(10_000),
    instruments={
        "EUR_USD": Instrument("EUR_USD", -4, 5),
        "USD_JPY": Instrument("USD_JPY", -2, 3),
    },
    quotes={
        "EUR_USD": Quote(D("1.10000"), D("1.10010"), NOW),
        "USD_JPY": Quote(D("150.000"), D("150.010"), NOW),
    },
    rates={"USD": D(1), "EUR": D("1.1"), "JPY": D("0.0066")},
)
BUY = OrderIntent(
    key="k",
    account="A",
    strategy="S",
    instrument="EUR_USD",
    side=Side.BUY,
    units=D(1000),
    decided_at=NOW,
)


def quoted(**changes):
    quotes = {**CALM.quotes, "EUR_USD": replace(CALM.quotes["EUR_USD"], **changes)}
    return replace(CALM, quotes=quotes)


def limited(**limits):
    return replace(CALM, limits=replace(CALM.limits, **limits))


def sent(seconds_ago, units=1000, strategy="S"):
    return Sent(NOW - timedelta(seconds=seconds_ago), strategy, "EUR_USD", D(units))


LONG = {"EUR_USD": D(1000)}

CASES = [
    ("KILL_SWITCH", BUY, replace(CALM, state=TradingState.HALTED)),
    ("KILL_SWITCH", BUY, replace(CALM, state=TradingState.REDUCING)),
    ("KILL_SWITCH", BUY, replace(CALM, state=TradingState.REDUCING, positions=LONG)),
    ("UNKNOWN_INSTRUMENT", replace(BUY, instrument="EUR_XYZ"), CALM),
    ("SESSION_CLOSED", BUY, replace(CALM, session_open=False)),
    ("BAD_PRICE", BUY, quoted(bid=D("1.2"), ask=D("1.1"))),
    ("BAD_PRICE", BUY, quoted(bid=D("NaN"))),
    ("BAD_PRICE", BUY, quoted(bid=D(-1), ask=D(1))),
    ("STALE_PRICE", BUY, replace(CALM, quotes={})),
    ("STALE_PRICE", BUY, quoted(time=NOW - timedelta(seconds=11))),
    ("STALE_PRICE", BUY, quoted(time=NOW + timedelta(seconds=11))),
    ("STALE_PRICE", BUY, quoted(tradeable=False)),
    ("SPREAD_TOO_WIDE", BUY, quoted(ask=D("1.10201"))),
    ("PRICE_COLLAR", replace(BUY, price_bound=D("1.12")), CALM),
    ("PRICE_COLLAR", replace(BUY, type=OrderType.LIMIT, price=D("0.9")), CALM),
    ("WRONG_SIDE_LEG", replace(BUY, stop_loss=D("1.2")), CALM),
    ("WRONG_SIDE_LEG", replace(BUY, take_profit=D("1.0")), CALM),
    ("WRONG_SIDE_LEG", replace(BUY, side=Side.SELL, stop_loss=D("1.0")), CALM),
    ("UNITS_CAP", replace(BUY, units=D(1_000_001)), limited(notional=None)),
    ("UNITS_CAP", replace(BUY, units=D("0.5")), CALM),
    ("NOTIONAL_CAP", replace(BUY, units=D(950_000)), CALM),
    ("NOTIONAL_CAP", BUY, replace(CALM, rates={})),
    ("GROSS_EXPOSURE", BUY, replace(limited(gross_exposure=D(2000)), positions=LONG)),
    ("NET_CURRENCY_EXPOSURE", BUY, replace(limited(net_currency_exposure=D(2000)), positions=LONG)),
    ("OPEN_ORDERS", BUY, replace(CALM, waiting=50)),
    ("ORDER_RATE", BUY, replace(CALM, recent=tuple(sent(30, units=u) for u in range(1, 61)))),
    ("DUPLICATE", BUY, replace(CALM, recent=(sent(1),))),
    ("DAILY_LOSS", BUY, replace(CALM, net_asset_value=D(9500))),
    ("DRAWDOWN", BUY, replace(CALM, peak_value=D(20_000))),
    ("MARGIN", BUY, replace(CALM, margin_available=D(54))),
]


@pytest.mark.parametrize(("code", "intent", "context"), CASES)
def test_each_rule_denies_with_its_own_code_and_figures(code, intent, context):
    denial = check(intent, context)
    assert denial is not None
    assert denial.code == code
    assert denial.detail


def test_every_rule_has_a_case_a_code_of_its_own_and_a_description():
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert {code for code, *_ in CASES} == set(codes)
    assert all(rule.description.endswith(".") for rule in RULES)


def test_an_ordinary_order_passes():
    bracket = replace(BUY, stop_loss=D("1.09"), take_profit=D("1.12"), price_bound=D("1.1009"))
    assert check(bracket, CALM) is None


@pytest.mark.parametrize(
    ("intent", "context"),
    [
        (BUY, quoted(ask=D("1.10200"))),
        (BUY, quoted(time=NOW - timedelta(seconds=10))),
        (BUY, replace(CALM, margin_available=D(55))),
        (BUY, replace(CALM, recent=(sent(2),))),
        (BUY, replace(CALM, recent=(sent(1, units=-1000),))),
        (BUY, replace(CALM, recent=(sent(1, strategy="T"),))),
        (BUY, replace(CALM, net_asset_value=D("9500.01"))),
        (BUY, replace(CALM, waiting=49)),
    ],
)
def test_a_limit_is_not_broken_by_reaching_its_edge(intent, context):
    assert check(intent, context) is None


def test_closing_stays_possible_when_limits_are_broken():
    broken = replace(
        CALM,
        state=TradingState.REDUCING,
        positions=LONG,
        net_asset_value=D(1000),
        margin_available=D(0),
        waiting=99,
        quotes={"EUR_USD": Quote(D("1.0"), D("1.1"), NOW)},
    )
    close = replace(BUY, side=Side.SELL)
    assert check(close, broken) is None
    assert check(replace(close, units=D(1001)), broken).code == "KILL_SWITCH"


def test_exposure_nets_by_currency():
    positions = {"EUR_USD": D(1000), "USD_JPY": D(-1100)}
    assert gross(CALM, positions) == D(2200)
    assert net_by_currency(CALM, positions) == {"EUR": D(1100), "USD": D(-2200), "JPY": D(1100)}
    assert gross(CALM, {"XAU_CHF": D(1)}) is None


def test_a_breach_names_every_limit_that_broke():
    assert breaches(CALM) == []
    broken = replace(
        limited(gross_exposure=D(1000), net_currency_exposure=D(1000)),
        net_asset_value=D(5000),
        positions=LONG,
    )
    codes = [breach.code for breach in breaches(broken)]
    assert codes == ["DAILY_LOSS", "DRAWDOWN", "GROSS_EXPOSURE", "NET_CURRENCY_EXPOSURE"]


def test_a_position_that_cannot_be_valued_is_a_breach():
    assert breaches(replace(CALM, rates={}, positions=LONG))


def test_every_order_out_needs_its_own_approval():
    ledger = ApprovalLedger()
    ledger.approve("a")
    ledger.send("a")
    with pytest.raises(UnapprovedOrderError):
        ledger.send("a")
    with pytest.raises(UnapprovedOrderError):
        ledger.send("b")


def test_an_exit_and_an_entry_of_equal_units_are_a_reversal_not_a_duplicate():
    exit_sent = replace(sent(0.1), reduce_only=True)
    assert check(BUY, replace(CALM, recent=(exit_sent,))) is None
    assert check(BUY, replace(CALM, recent=(sent(0.1),))).code == "DUPLICATE"
