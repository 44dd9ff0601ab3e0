"""With no costs the broker must fill exactly as backtrader's own: a later compiled executor and
the live parity report rest on its rules. Prices are compared bit for bit.
"""

from datetime import timedelta
from decimal import Decimal
from random import Random

import backtrader as bt
import pandas as pd
import pytest

from mbats.backtest.engine import BacktestSpec, prepare
from mbats.market.bars import Bars
from mbats.trading.conversion import Conversion
from tests.backtest.synthetic import FREE, eur_usd, loaded, walk

KINDS = (
    bt.Order.Market,
    bt.Order.Limit,
    bt.Order.Stop,
    bt.Order.StopLimit,
    bt.Order.StopTrail,
    bt.Order.StopTrailLimit,
    bt.Order.Close,
)


class Everything(bt.Strategy):
    """Sends orders of every kind at random, cancels some, and notes what it is told."""

    params = (("seed", 0),)

    def __init__(self):
        self.random = Random(self.p.seed)
        self.told, self.trades, self.sent = [], [], []
        self.first = None

    def notify_order(self, order):
        self.first = order.ref if self.first is None else self.first
        bits = [(b.size, b.price, b.pnl, b.dt) for b in order.executed.exbits]
        self.told.append((order.ref - self.first, order.getstatusname(), len(self), bits))

    def notify_trade(self, trade):
        if trade.isclosed:
            self.trades.append((trade.pnl, trade.baropen, trade.barclose, trade.price))

    def next(self):
        rng = self.random
        if self.sent and rng.random() < 0.05:
            self.cancel(rng.choice(self.sent))
        if rng.random() < 0.05:
            self.close()
        if rng.random() > 0.25:
            return
        price = self.data.close[0]
        near = price + rng.randint(-40, 40) / 1e5
        far = price + rng.randint(1, 30) / 1e5
        valid = rng.choice([None, None, timedelta(minutes=rng.randint(0, 20))])
        size = rng.randint(1, 5) * 1000
        choice = rng.random()
        if choice < 0.35:
            send = rng.choice([self.buy_bracket, self.sell_bracket])
            sign = 1 if send == self.buy_bracket else -1
            self.sent += send(
                size=size,
                exectype=rng.choice([bt.Order.Market, bt.Order.Limit, bt.Order.Stop]),
                price=rng.choice([near, price]),
                stopprice=price - sign * rng.randint(1, 40) / 1e5,
                limitprice=price + sign * rng.randint(1, 40) / 1e5,
                valid=valid,
            )
        elif choice < 0.45:
            first = self.buy(size=size, exectype=bt.Order.Stop, price=far)
            self.sent += [
                first,
                self.sell(size=size, exectype=bt.Order.Limit, price=far, oco=first),
            ]
        else:
            send = rng.choice([self.buy, self.sell])
            kind = rng.choice(KINDS)
            trail = {"trailamount": 20e-5} if kind in KINDS[4:6] else {}
            limit = (
                {"plimit": near} if kind in (bt.Order.StopLimit, bt.Order.StopTrailLimit) else {}
            )
            at = {} if trail else {"price": near}
            self.sent.append(send(size=size, exectype=kind, valid=valid, **at, **limit, **trail))


def stock(bars: Bars, seed: int) -> Everything:
    mid = bars.mid._asdict()
    frame = pd.DataFrame({**mid, "volume": 0.0, "openinterest": 0.0}, index=bars.end)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes))
    cerebro.broker.setcash(1e12)
    cerebro.addstrategy(Everything, seed=seed)
    return cerebro.run()[0]


def ours(bars: Bars, seed: int, **modes: bool) -> Everything:
    spec = BacktestSpec([loaded(Everything, seed=seed)], Decimal(10**12), costs=FREE)
    prepared = prepare(spec, [bars], {"EUR_USD": eur_usd()}, Conversion("USD", {}))
    return prepared.cerebro.run(stdstats=False, **modes)[0]


@pytest.mark.parametrize("seed", range(12))
def test_without_costs_every_order_ends_as_in_backtrader_bit_for_bit(seed):
    bars = walk(400, seed)
    expected, got = stock(bars, seed), ours(bars, seed)
    assert len(expected.told) > 200
    assert len(expected.trades) > 20
    assert got.told == expected.told
    assert got.trades == expected.trades


@pytest.mark.parametrize("modes", [{"runonce": False}, {"preload": False}, {"exactbars": 1}])
def test_every_mode_of_backtrader_gives_the_same_fills(modes):
    bars = walk(300, seed=5)
    expected, got = ours(bars, 5), ours(bars, 5, **modes)
    assert got.told == expected.told
    assert got.trades == expected.trades
