"""An order from the strategy to the broker and back: what the strategy hears of it."""

from datetime import timedelta
from decimal import Decimal

import backtrader as bt
import pytest

from mbats.local.oanda_sim import orders
from tests.live.rig import MINUTE, START, Recording, Rig, ticks_at
from tests.live.trades import FLAT, bought, bracket

SECOND = timedelta(seconds=1)


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


def test_sizes_are_whole_steps_of_the_instrument():
    rig, strategy, sent = bought(size=1000.9)
    assert rig.broker.placed[0].units == 1000
    assert strategy.last(sent["entry"]).executed.size == 1000


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
