"""A bot that starts again takes up what its account holds."""

import backtrader as bt
import pytest

from mbats.errors import RefusedError
from mbats.live.candles import Recent
from mbats.live.session import Assignment
from mbats.market.aggregate import aggregate
from mbats.market.granularity import Granularity
from mbats.strategy.loading import load_strategy
from tests.live.rig import MINUTE, START, Recording, Rig, columns, loaded, random_ticks, ticks_at
from tests.live.trades import FLAT, bought, bracket


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
