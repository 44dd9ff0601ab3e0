"""A bot in process against the simulator's engine: what a strategy does and hears, end to end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import backtrader as bt
import pytest

from mbats.backtest.assumptions import Costs
from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
from mbats.errors import RefusedError
from mbats.live.candles import Recent
from mbats.live.inbox import Stop
from mbats.live.session import Assignment
from mbats.local.oanda_sim import orders
from mbats.market.aggregate import BarBuilder, aggregate
from mbats.market.granularity import Granularity
from mbats.strategy.loading import load_strategy
from mbats.trading.conversion import Conversion
from mbats.trading.risk.context import TradingState
from tests.live.rig import MINUTE, START, Recording, Rig, columns, loaded, random_ticks, ticks_at

FLAT = ["1.1"] * 8
SECOND = timedelta(seconds=1)


def _with(sent, do, strategy):
    do(strategy, sent)


def bought(plan=None, closes=FLAT, size=1000, entry=None, rig=None, **options):
    """Run a plan whose second bar sends ``entry``; return the rig, the strategy, the orders."""
    sent = {}

    def enter(strategy):
        sent["entry"] = (entry or (lambda s: s.buy(size=size)))(strategy)

    rig = rig or Rig()
    steps = {2: enter, **{bar: partial(_with, sent, do) for bar, do in (plan or {}).items()}}
    strategy = rig.only(Recording, ticks_at(closes), parameters={"plan": steps}, **options)
    return rig, strategy, sent


def test_a_market_order_is_submitted_accepted_completed_and_its_trade_is_in_account_currency():
    plan = {5: lambda s, sent: sent.update(exit=s.close())}
    rig, strategy, sent = bought(plan, closes=["1.1"] * 4 + ["1.2"] * 4)
    assert strategy.life(sent["entry"]) == ["Submitted", "Accepted", "Completed"]
    assert strategy.life(sent["exit"]) == ["Submitted", "Accepted", "Completed"]
    opened, closed = strategy.trades
    assert opened.justopened
    assert closed.isclosed
    assert closed.pnl == pytest.approx(99.9)
    assert [(i.reduce_only, i.units) for i in rig.broker.placed] == [(False, 1000), (True, 1000)]
    assert rig.position() == 0
    assert strategy.broker.getcash() == float(rig.broker.state().balance)


def test_profit_in_another_currency_is_what_the_broker_realised():
    rig = Rig(("USD_JPY",))
    plan = {5: lambda s: s.close(), 2: lambda s: s.buy(size=1000)}
    ticks = ticks_at(["150.000"] * 4 + ["151.000"] * 4, "USD_JPY", "0.010")
    strategy = rig.only(Recording, ticks, parameters={"plan": plan})
    trade = strategy.trades[-1]
    earned = float(rig.broker.state().balance) - 100_000
    assert trade.isclosed
    assert trade.pnl == pytest.approx(earned)
    assert 6.4 < trade.pnl < 6.6  # 990 yen, less the broker's one per cent


def bracket(strategy, **changes):
    values = {"size": 1000, "exectype": bt.Order.Market, "stopprice": 1.09, "limitprice": 1.11}
    return strategy.buy_bracket(**{**values, **changes})


@pytest.mark.parametrize(
    ("then", "stop_end", "limit_end"),
    [("1.12", "Canceled", "Completed"), ("1.08", "Completed", "Canceled")],
)
def test_one_leg_of_a_bracket_fills_and_the_other_is_cancelled(then, stop_end, limit_end):
    rig, strategy, sent = bought(closes=["1.1"] * 5 + [then] * 2, entry=bracket)
    entry, stop, limit = sent["entry"]
    assert strategy.life(entry) == ["Submitted", "Accepted", "Completed"]
    assert strategy.life(stop) == ["Submitted", "Accepted", stop_end]
    assert strategy.life(limit) == ["Submitted", "Accepted", limit_end]
    assert rig.position() == 0
    assert len(rig.broker.placed) == 1
    assert strategy.trades[-1].isclosed


@pytest.mark.parametrize(
    ("suppressed", "legs"),
    [("stopexec", (None, Decimal("1.11"))), ("limitexec", (Decimal("1.09"), None))],
)
def test_a_bracket_may_have_one_leg_only(suppressed, legs):
    rig, _, _ = bought(entry=lambda s: bracket(s, **{suppressed: None}))
    (sent,) = rig.broker.placed
    assert (sent.stop_loss, sent.take_profit) == legs


def test_a_trailing_leg_follows_the_price_and_fills():
    def entry(s):
        return bracket(s, stopexec=bt.Order.StopTrail, stopargs={"trailamount": 0.002})

    closes = ["1.1"] * 3 + ["1.105", "1.1029", "1.1029"]
    rig, strategy, sent = bought(closes=closes, entry=entry)
    stop = sent["entry"][1]
    assert rig.broker.placed[0].trailing_distance == Decimal("0.002")
    assert strategy.life(stop)[-1] == "Completed"
    assert strategy.last(stop).executed.price == pytest.approx(1.1029)


def test_a_reversing_order_is_an_exit_then_an_entry_and_one_order_to_the_strategy():
    plan = {4: lambda s, sent: sent.update(turn=s.sell(size=3000))}
    rig, strategy, sent = bought(plan)
    turn = sent["turn"]
    assert strategy.life(turn) == ["Submitted", "Accepted", "Partial", "Completed"]
    exit_, entry = rig.broker.placed[1:]
    assert (exit_.reduce_only, exit_.units, exit_.role) == (True, 1000, "exit")
    assert (entry.reduce_only, entry.units, entry.role) == (False, 2000, "entry")
    assert exit_.key != entry.key
    assert exit_.decided_at == entry.decided_at == START + 4 * MINUTE
    assert rig.position() == strategy.getposition(strategy.data).size == -2000
    closed, opened = strategy.trades[-2:]
    assert closed.isclosed
    assert opened.justopened
    assert opened.size == -2000


def test_a_waiting_order_is_accepted_and_cancelled_on_request():
    def entry(s):
        return s.buy(size=1000, exectype=bt.Order.Limit, price=1.095)

    plan = {4: lambda s, sent: s.cancel(sent["entry"])}
    rig, strategy, sent = bought(plan, entry=entry)
    assert strategy.life(sent["entry"]) == ["Submitted", "Accepted", "Canceled"]
    assert rig.broker.state().orders == ()


def test_cancelling_a_leg_cancels_its_bracket_as_in_a_backtest():
    plan = {4: lambda s, sent: s.cancel(sent["entry"][1])}
    rig, strategy, sent = bought(plan, entry=bracket)
    assert [strategy.life(o)[-1] for o in sent["entry"]] == ["Completed", "Canceled", "Canceled"]
    assert rig.position() == 1000
    assert rig.broker.state().orders == ()


def test_cancelling_an_entry_that_waits_ends_its_legs():
    def entry(s):
        return bracket(s, exectype=bt.Order.Limit, price=1.095, stopprice=1.09)

    plan = {4: lambda s, sent: s.cancel(sent["entry"][0])}
    _, strategy, sent = bought(plan, entry=entry)
    assert [strategy.life(o) for o in sent["entry"]] == [
        ["Submitted", "Accepted", "Canceled"],
        ["Submitted", "Canceled"],
        ["Submitted", "Canceled"],
    ]


def test_a_leg_cancelled_before_it_exists_is_cancelled_with_its_entry():
    def entry(s):
        return bracket(s, exectype=bt.Order.Limit, price=1.095, stopprice=1.09)

    plan = {3: lambda s, sent: s.cancel(sent["entry"][2])}
    rig, strategy, sent = bought(plan, closes=["1.1"] * 5 + ["1.094"] * 3, entry=entry)
    assert [strategy.life(o)[-1] for o in sent["entry"]] == ["Canceled"] * 3
    assert rig.position() == 0


def test_an_order_that_is_valid_for_a_time_expires():
    def entry(s):
        return s.buy(size=1000, exectype=bt.Order.Limit, price=1.095, valid=timedelta(minutes=2))

    rig, strategy, sent = bought(entry=entry)
    assert rig.broker.placed[0].expires_at == START + 4 * MINUTE
    assert strategy.life(sent["entry"]) == ["Submitted", "Accepted", "Expired"]


def test_legs_lapse_when_their_time_is_over():
    rig, strategy, sent = bought(entry=lambda s: bracket(s, valid=timedelta(minutes=2)))
    assert rig.broker.placed[0].legs_expire_at == START + 4 * MINUTE
    assert [strategy.life(o)[-1] for o in sent["entry"]] == ["Completed", "Expired", "Expired"]
    assert rig.position() == 1000


def test_a_waiting_order_is_replaced_and_stays_the_same_order():
    def entry(s):
        return bracket(s, exectype=bt.Order.Limit, price=1.095, stopprice=1.08)

    plan = {4: lambda s, sent: sent.update(moved=s.broker.replace(sent["entry"][0], 1.0975))}
    closes = ["1.1"] * 5 + ["1.0970"] * 3
    rig, strategy, sent = bought(plan, closes=closes, entry=entry)
    assert sent["moved"]
    assert strategy.life(sent["entry"][0]) == ["Submitted", "Accepted", "Completed"]
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Accepted", "Accepted"]
    before, after = rig.broker.placed
    assert before.key != after.key
    assert rig.position() == 1000


REFUSED = {
    "close": (lambda s: s.buy(size=1, exectype=bt.Order.Close), "UNSUPPORTED_ORDER"),
    "stop limit": (
        lambda s: s.buy(size=1, exectype=bt.Order.StopLimit, price=1.2, plimit=1.2),
        "UNSUPPORTED_ORDER",
    ),
    "trailing alone": (
        lambda s: s.sell(size=1, exectype=bt.Order.StopTrail, trailamount=0.01),
        "UNSUPPORTED_ORDER",
    ),
    "not a number": (lambda s: s.buy(size=float("nan")), "BAD_SIZE"),
    "infinite": (lambda s: s.buy(size=float("inf")), "BAD_SIZE"),
    "huge": (lambda s: s.buy(size=1e30), "BAD_SIZE"),
    "below a unit": (lambda s: s.buy(size=0.4), "BAD_SIZE"),
    "large": (lambda s: s.buy(size=5_000_000), "UNITS_CAP"),
    "price not a number": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=float("nan")),
        "BAD_ORDER_PRICE",
    ),
    "negative price": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=-1.0),
        "BAD_ORDER_PRICE",
    ),
    "far away": (
        lambda s: s.buy(size=1, exectype=bt.Order.Limit, price=0.5),
        "PRICE_COLLAR",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_sent_exactly_is_rejected_with_its_reason_and_never_sent(case):
    entry, code = REFUSED[case]
    rig, strategy, sent = bought(entry=entry)
    assert strategy.life(sent["entry"]) == ["Submitted", "Rejected"]
    assert strategy.last(sent["entry"]).info.reason == code
    assert code in rig.codes()
    assert rig.broker.placed == []


def test_one_cancels_other_outside_a_bracket_is_rejected():
    def entry(s):
        first = s.buy(size=1, exectype=bt.Order.Limit, price=1.095)
        return s.buy(size=1, exectype=bt.Order.Stop, price=1.105, oco=first)

    rig, strategy, sent = bought(entry=entry)
    assert strategy.last(sent["entry"]).info.reason == "UNSUPPORTED_ORDER"
    assert len(rig.broker.placed) == 1


def test_a_bracket_with_an_impossible_leg_is_rejected_whole():
    rig, strategy, sent = bought(entry=lambda s: bracket(s, stopexec=bt.Order.StopLimit))
    assert [strategy.life(o) for o in sent["entry"]] == [["Submitted", "Rejected"]] * 3
    assert rig.broker.placed == []


def test_sizes_are_whole_steps_of_the_instrument():
    rig, strategy, sent = bought(size=1000.9)
    assert rig.broker.placed[0].units == 1000
    assert strategy.last(sent["entry"]).executed.size == 1000


def test_the_kill_switch_rejects_and_lack_of_margin_is_margin():
    def halt(live):
        live.trader.state = TradingState.HALTED

    _, strategy, sent = bought(setup=halt)
    assert strategy.last(sent["entry"]).info.reason == "KILL_SWITCH"
    rig = Rig(balance=Decimal(100))
    _, strategy, sent = bought(size=100_000, rig=rig)
    assert strategy.life(sent["entry"]) == ["Submitted", "Margin"]


def test_a_lost_order_stays_submitted_until_it_is_surely_not_there():
    rig = Rig()
    rig.broker.faults.append("lost")
    plan = {3: lambda s, sent: sent.update(again=s.buy(size=1000))}
    _, strategy, sent = bought(plan, rig=rig)
    assert strategy.life(sent["entry"]) == ["Submitted", "Rejected"]
    assert strategy.last(sent["entry"]).info.reason == "NOT_PLACED"
    rejected_at = next(r["time"] for r in rig.rows("risk_event") if r["code"] == "not_placed")
    assert rejected_at >= START + 2 * MINUTE + timedelta(seconds=30)
    assert strategy.life(sent["again"])[-1] == "Completed"
    assert rig.position() == 1000


def test_an_order_whose_answer_was_lost_is_found_in_the_log():
    rig = Rig()
    rig.broker.faults.append("dropped")

    def mute(live):
        rig.script.mute_stream()

    _, strategy, sent = bought(rig=rig, entry=bracket, setup=mute)
    assert strategy.life(sent["entry"][0]) == ["Submitted", "Accepted", "Completed"]
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Accepted", "Accepted"]
    assert rig.position() == 1000


def test_a_reversal_whose_exit_is_unknown_sends_no_entry():
    rig = Rig()
    plan = {
        3: lambda s, sent: rig.broker.faults.append("dropped"),
        4: lambda s, sent: sent.update(turn=s.sell(size=3000)),
    }
    _, strategy, sent = bought(plan, rig=rig)
    assert strategy.life(sent["turn"])[-1] == "Canceled"
    assert strategy.last(sent["turn"]).executed.size == -1000
    assert rig.position() == strategy.getposition(strategy.data).size == 0


def test_a_log_that_cannot_be_read_for_a_while_loses_nothing():
    rig = Rig()
    plan = {1: lambda s, sent: setattr(rig.broker, "unreadable", 4)}
    _, strategy, sent = bought(plan, rig=rig, entry=bracket)
    assert strategy.life(sent["entry"][0])[-1] == "Completed"
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Accepted", "Accepted"]


class Restarted(Recording):
    """Cancels whatever bracket it finds at its fourth bar."""


def test_open_brackets_are_taken_up_after_a_restart():
    rig, _first, _ = bought(entry=bracket)
    assert rig.position() == 1000
    ticks = ticks_at(["1.1"] * 4 + ["1.12"] * 3)
    later = [type(t)(t.instrument, t.time + 10 * MINUTE, t.bid, t.ask) for t in ticks]
    second = rig.only(Recording, later)
    adopted = {o.exectype: o for _, status, o in second.orders if status == "Accepted"}
    assert set(adopted) == {bt.Order.Stop, bt.Order.Limit}
    assert all(o.info.adopted for o in adopted.values())
    assert second.life(adopted[bt.Order.Limit]) == ["Accepted", "Completed"]
    assert second.life(adopted[bt.Order.Stop]) == ["Accepted", "Canceled"]
    (trade,) = second.trades
    assert trade.isclosed
    assert trade.pnl > 9
    assert rig.position() == second.getposition(second.data).size == 0
    assert len(rig.broker.placed) == 1


def test_an_adopted_leg_can_be_cancelled_and_the_position_closed():
    rig, _, _ = bought(entry=bracket)
    later = [
        type(t)(t.instrument, t.time + 10 * MINUTE, t.bid, t.ask) for t in ticks_at(["1.1"] * 8)
    ]

    def cancel(s):
        s.cancel(s.orders[0][2])

    seen = []
    plan = {2: cancel, 4: lambda s: seen.append(s.getposition(s.data).size), 5: lambda s: s.close()}
    second = rig.only(Recording, later, parameters={"plan": plan})
    assert seen == [1000]
    assert rig.position() == 0
    assert rig.broker.state().orders == ()
    assert second.trades[-1].isclosed


def backtest(loaded, ticks, sizer="units:1000"):
    bars = aggregate(columns(ticks), "M1", "test")
    instruments = Rig().broker.instruments
    spec = BacktestSpec([loaded], Decimal(100_000), costs=Costs(slippage_pips=0.0), sizer=sizer)
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    what = (spec, [bars], instruments, Conversion("USD", {}))
    run = run_row(*what, Identity("run-1", begun))
    return run_backtest(*what, run, now=lambda: begun)


def fills_of(rows):
    return [(r["side"], r["units"], r["price"], r["position_units"]) for r in rows]


@pytest.mark.parametrize("seed", range(4))
def test_a_reversal_strategy_fills_as_its_backtest_does(seed):
    """Market orders fill at the first tick of the next bar, which is its open in the backtest."""
    strategy, ticks = load_strategy("sma_reversal"), random_ticks(minutes=90, seed=seed)
    rig = Rig()
    rig.only(strategy, ticks, patience=59)
    expected = fills_of(backtest(strategy, ticks).tables["fill"].to_pylist())
    live = fills_of(rig.rows("fill"))
    assert len(expected) > 10
    assert live == [(side, units, price, at) for side, units, price, at in expected]


@pytest.mark.parametrize("seed", range(4))
def test_a_bracket_strategy_enters_as_its_backtest_does(seed):
    strategy = load_strategy(
        "rsi_stochastic", {"rsi_period": "5", "k_period": "5", "stop_ranges": "3"}
    )
    ticks = random_ticks(minutes=120, seed=seed)
    rig = Rig()
    rig.only(strategy, ticks, patience=59)
    expected = list(backtest(strategy, ticks).tables["fill"].to_pylist())
    live = rig.rows("fill")
    assert len(live) > 4
    assert fills_of(live)[0] == fills_of(expected)[0]
    assert {r["role"] for r in live} <= {"entry", "stop_loss", "take_profit"}
    positions = [r["position_units"] for r in live]
    assert set(positions) <= {Decimal(-1000), Decimal(0), Decimal(1000)}
    assert rig.position() == positions[-1]


def test_a_restart_in_the_middle_goes_on_with_the_same_orders():
    strategy, ticks = load_strategy("sma_reversal"), random_ticks(minutes=90, seed=5)
    whole = Rig()
    whole.only(strategy, ticks, patience=59)
    cut = Rig()
    middle = START + 45 * MINUTE
    cut.only(strategy, [t for t in ticks if t.time < middle], patience=59)
    held = cut.position()
    cut.clock.time = middle
    past = aggregate(columns(ticks), "M1", "test", until=middle)
    cut.past.recents["EUR_USD"] = lambda after: Recent(past, cut.clock.now(), empty=True)
    second = cut.only(strategy, [t for t in ticks if t.time >= middle], patience=59)
    assert held != 0
    assert second.getposition(second.data).size == float(cut.position())
    assert [i.key for i in cut.broker.placed] == [i.key for i in whole.broker.placed]


def test_stop_ends_the_run_and_what_came_before_it_is_dealt_with():
    rig = Rig()
    ticks = ticks_at(FLAT)
    strategy = rig.only(
        Recording, [*ticks, (ticks[4].time, Stop("enough"))], parameters={"plan": {}}
    )
    assert strategy.seen == [START + (i + 1) * MINUTE for i in range(4)]


def test_two_strategies_keep_apart_what_is_theirs():
    rig = Rig(("EUR_USD", "GBP_USD"))
    plan = {2: lambda s: s.buy(size=1000)}
    assignments = [
        Assignment("one", loaded(Recording, plan=plan), ["EUR_USD"], Granularity.M1),
        Assignment("two", loaded(Recording, plan={}), ["GBP_USD"], Granularity.M1),
    ]
    ticks = ticks_at(FLAT) + ticks_at(FLAT, "GBP_USD")
    one, two = rig.run(assignments, ticks)
    assert [d.instrument for d in one.datas] == ["EUR_USD"]
    assert [d.instrument for d in two.datas] == ["GBP_USD"]
    assert one.orders
    assert not two.orders
    assert {r["strategy"] for r in rig.rows("fill")} == {"one"}


def test_a_bracket_strategy_leaves_its_position_to_its_legs_after_a_restart():
    strategy = load_strategy(
        "rsi_stochastic", {"rsi_period": "5", "k_period": "5", "stop_ranges": "30"}
    )
    ticks, middle = random_ticks(minutes=60, seed=3), START + 30 * MINUTE
    rig = Rig()
    rig.only(strategy, [t for t in ticks if t.time < middle], patience=59)
    held, sent = rig.position(), len(rig.broker.placed)
    past = aggregate(columns(ticks), "M1", "test", until=middle)
    rig.clock.time = middle
    rig.past.recents["EUR_USD"] = lambda after: Recent(past, rig.clock.now(), empty=True)
    rig.only(strategy, [t for t in ticks if t.time >= middle], patience=59)
    assert held != 0
    assert "exit" not in [i.role for i in rig.broker.placed[sent:]]


def test_two_strategies_cannot_claim_one_instrument():
    assignments = [
        Assignment(name, loaded(Recording), ["EUR_USD"], Granularity.M1) for name in ("one", "two")
    ]
    with pytest.raises(RefusedError, match="Both one and two would trade EUR_USD"):
        Rig().run(assignments, ticks_at(FLAT))


def test_what_no_strategy_trades_stops_the_bot_before_it_trades():
    rig = Rig(("EUR_USD", "GBP_USD"))
    plan = {2: lambda s: s.buy(data=s.datas[1], size=1000)}
    rig.only(Recording, ticks_at(FLAT) + ticks_at(FLAT, "GBP_USD"), parameters={"plan": plan})
    assert rig.position("GBP_USD") == 1000
    later = [
        type(t)(t.instrument, t.time + 10 * MINUTE, t.bid, t.ask) for t in ticks_at(["1.1"] * 8)
    ]
    one = Assignment("S", loaded(Recording), ["EUR_USD"], Granularity.M1)
    with pytest.raises(RefusedError, match="GBP_USD"):
        rig.run([one], later)


def test_somebody_else_s_order_reaches_the_strategy_whose_instrument_it_is():
    """The kill switch, or a margin close-out: the strategy learns that it is flat."""
    rig = Rig()

    def flatten():
        body = {
            "order": {
                "type": "MARKET", "instrument": "EUR_USD", "units": "-1000", "timeInForce": "FOK",
            }
        }  # fmt: skip
        orders.create(rig.broker.account, rig.broker.engine.now_ns, body)

    sent = {}
    plan = {2: lambda s: sent.update(entry=bracket(s))}
    entries = [*ticks_at(FLAT), (START + 4 * MINUTE + 5 * SECOND, flatten)]
    strategy = rig.only(Recording, entries, parameters={"plan": plan})
    strange = [o for _, status, o in strategy.orders if o.info.adopted and status == "Completed"]
    assert [o.executed.size for o in strange] == [-1000]
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Canceled", "Canceled"]
    assert strategy.trades[-1].isclosed
    assert strategy.getposition(strategy.data).size == 0


class Starts(bt.Strategy):
    params = (("period", 3), ("calls", None))

    def __init__(self):
        bt.indicators.SMA(self.data.close, period=self.p.period)

    def prenext(self):
        self.p.calls.append("prenext")

    def nextstart(self):
        self.p.calls.append("nextstart")

    def next(self):
        self.p.calls.append("next")


@pytest.mark.parametrize(
    ("warm", "expected"),
    [
        (0, ["prenext", "prenext", "nextstart", "next", "next", "next", "next"]),
        (2, ["nextstart", "next", "next", "next", "next"]),
        (4, ["nextstart", "next", "next"]),
    ],
)
def test_a_strategy_starts_once_whenever_the_past_ends(warm, expected):
    ticks = ticks_at(FLAT)
    rig, calls = Rig(), []
    rig.clock.time = START + warm * MINUTE + 20 * SECOND
    past = aggregate(columns(ticks), "M1", "test", until=rig.clock.time)
    begin = [t for t in ticks if t.time > rig.clock.time]
    forming = BarBuilder("EUR_USD", "M1")
    forming.add(ticks[warm])
    rig.past.recents["EUR_USD"] = Recent(past if warm else None, rig.clock.time, forming.forming)
    rig.only(Starts, begin, parameters={"calls": calls})
    assert calls == expected


def test_account_figures_never_wait_for_the_broker():
    rig, strategy, _ = bought()
    broker = strategy.broker
    state = rig.broker.state()
    assert broker.getvalue() == broker.get_value() == pytest.approx(float(state.net_asset_value))
    assert broker.getcash() == broker.get_cash() == float(state.balance)
    assert broker.startingcash == 100_000
    assert broker.fundvalue == broker.getvalue()
    assert broker.getvalue([strategy.data]) == pytest.approx(1000 * strategy.data.close[0])
