from datetime import timedelta

import backtrader as bt


class RsiStochastic(bt.Strategy):
    """Buys what is oversold and sells what is overbought, with a bracket sized by the range.

    For each instrument that is flat and has no order on its way: RSI below ``rsi_low`` and slow
    %K below ``k_low`` buys; RSI above ``rsi_high`` and slow %K above ``k_high`` sells. The stop is
    ``stop_ranges`` and the limit ``limit_ranges`` average true ranges of that instrument from the
    close. They lapse after ``limit_days`` days, and a position left without them is closed.
    """

    params = (
        ("rsi_period", 30),
        ("rsi_low", 40.0),
        ("rsi_high", 60.0),
        ("k_period", 20),
        ("k_slow", 3),  # bars that fast %K is averaged over
        ("k_low", 20.0),
        ("k_high", 80.0),
        ("range_period", 5),  # bars of the average true range
        ("stop_ranges", 1.0),
        ("limit_ranges", 2.0),
        ("limit_days", 200),
    )

    def __init__(self):
        p = self.p
        self.rsi, self.stochastic, self.atr = {}, {}, {}
        self.in_flight = {}  # order number to name of its feed
        for data in self.datas:
            self.rsi[data] = bt.indicators.RSI(
                data.close, period=p.rsi_period, safediv=True, plotname="RSI"
            )
            self.stochastic[data] = bt.indicators.Stochastic(
                data, period=p.k_period, period_dfast=p.k_slow, safediv=True, plotname="STOCHASTIC"
            )
            self.atr[data] = bt.indicators.ATR(data, period=p.range_period, plotname="ATR")

    def notify_order(self, order):
        if order.alive():  # also one that an earlier life of this strategy sent
            self.in_flight[order.ref] = order.data._name
        else:
            self.in_flight.pop(order.ref, None)

    def next(self):
        for data in self.datas:
            if data._name in self.in_flight.values():
                continue
            rsi, k = self.rsi[data][0], self.stochastic[data].percK[0]
            if self.getposition(data).size:
                self.send(data, [self.close(data)])
            elif rsi < self.p.rsi_low and k < self.p.k_low:
                self.enter(data, self.buy_bracket, 1)
            elif rsi > self.p.rsi_high and k > self.p.k_high:
                self.enter(data, self.sell_bracket, -1)

    def enter(self, data, bracket, direction):
        close, atr = data.close[0], self.atr[data][0]
        if not atr:  # a flat market has no stop to set
            return
        orders = bracket(
            data=data,
            exectype=bt.Order.Market,
            stopprice=close - direction * self.p.stop_ranges * atr,
            limitprice=close + direction * self.p.limit_ranges * atr,
            valid=timedelta(days=self.p.limit_days),
        )
        self.send(data, orders)

    def send(self, data, orders):
        self.in_flight.update({o.ref: data._name for o in orders if o is not None})
