"""What strategies share and see: starts, the end, instruments, account figures."""

from datetime import timedelta

import backtrader as bt
import pytest

from mbats.errors import RefusedError
from mbats.live.candles import Recent
from mbats.live.inbox import Stop
from mbats.live.session import Assignment
from mbats.market.aggregate import BarBuilder, aggregate
from mbats.market.granularity import Granularity
from tests.live.rig import MINUTE, START, Recording, Rig, columns, loaded, ticks_at
from tests.live.trades import FLAT, bought

SECOND = timedelta(seconds=1)


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


def test_a_strategy_decides_once_a_bar_of_its_own_whatever_others_trade():
    rig = Rig(("EUR_USD", "GBP_USD"))
    assignments = [
        Assignment("quick", loaded(Recording, plan={}), ["EUR_USD"], Granularity.M1),
        Assignment("slow", loaded(Recording, plan={}), ["GBP_USD"], Granularity.M2),
    ]
    quick, slow = rig.run(assignments, ticks_at(FLAT) + ticks_at(FLAT, "GBP_USD"))
    assert quick.seen == [START + n * MINUTE for n in range(1, 8)]
    assert slow.seen == [START + n * MINUTE for n in (2, 4, 6)]


def test_a_session_keeps_no_order_that_is_over():
    plan = {n: (lambda s: s.close()) if n % 2 else (lambda s: s.buy(size=10)) for n in range(2, 7)}
    rig = Rig()
    strategy = rig.only(Recording, ticks_at(FLAT), parameters={"plan": plan})
    assert len(rig.rows("fill")) > 3
    assert strategy._orders == []
    kept = [trades for by in strategy._trades.values() for trades in by.values()]
    assert {len(trades) for trades in kept} == {1}


def test_two_strategies_cannot_claim_one_instrument():
    assignments = [
        Assignment(name, loaded(Recording), ["EUR_USD"], Granularity.M1) for name in ("one", "two")
    ]
    with pytest.raises(RefusedError, match="Both one and two would trade EUR_USD"):
        Rig().run(assignments, ticks_at(FLAT))


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
