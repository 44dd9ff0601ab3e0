"""Plans that send one order on the second bar: what most tests of live orders begin with."""

from functools import partial

import backtrader as bt

from tests.live.rig import Recording, Rig, ticks_at

FLAT = ["1.1"] * 8


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


def bracket(strategy, **changes):
    values = {"size": 1000, "exectype": bt.Order.Market, "stopprice": 1.09, "limitprice": 1.11}
    return strategy.buy_bracket(**{**values, **changes})
