"""A strategy that trades all the time, in every way: brackets, reversals, waiting orders, cancels.

What it decides depends only on the seed and the bar, so that a bot that comes back and sees the
same bar again decides the same again.
"""

import random

import backtrader as bt


class Restless(bt.Strategy):
    params = (("seed", 0), ("size", 1000), ("pip", 0.0001))

    def __init__(self):
        self.alive = {}

    def notify_order(self, order):
        if order.alive():
            self.alive[order.ref] = order
        else:
            self.alive.pop(order.ref, None)

    def next(self):
        for data in self.datas:
            self.decide(data)

    def decide(self, data):
        dice = random.Random(f"{self.p.seed}/{data._name}/{data.datetime[0]}")
        roll, up = dice.random(), dice.random() < 0.5
        close, pip = data.close[0], self.p.pip
        size = self.p.size + dice.randrange(500)
        held = self.getposition(data).size
        mine = [o for o in self.alive.values() if o.data is data and o.parent is None]
        if len(mine) > 4:
            self.cancel(dice.choice(sorted(mine, key=lambda o: o.ref)))
        elif roll < 0.30:
            sign = 1 if up else -1
            make = self.buy_bracket if up else self.sell_bracket
            make(
                data=data, size=size, exectype=bt.Order.Market,
                stopprice=close - sign * pip * dice.randint(4, 12),
                limitprice=close + sign * pip * dice.randint(4, 12),
            )  # fmt: skip
        elif roll < 0.45:
            away = pip * dice.randint(1, 6)
            make = self.buy if up else self.sell
            make(
                data=data, size=size, exectype=bt.Order.Limit, price=close + (-away if up else away)
            )
        elif roll < 0.55:
            away = pip * dice.randint(2, 6)
            make = self.buy if up else self.sell
            make(
                data=data, size=size, exectype=bt.Order.Stop, price=close + (away if up else -away)
            )
        elif roll < 0.70 and held:
            (self.sell if held > 0 else self.buy)(data=data, size=abs(held) + size)
        elif roll < 0.80 and held:
            self.close(data=data)
        elif roll < 0.90 and mine:
            self.cancel(dice.choice(sorted(mine, key=lambda o: o.ref)))
