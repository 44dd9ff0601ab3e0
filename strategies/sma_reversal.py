import backtrader as bt


class SmaReversal(bt.Strategy):
    """Always in the market, on the side of the moving average that the price is on.

    For each instrument: a close above its simple moving average while not long goes long, a close
    below it while not short goes short. The old position is closed and the new one opened with
    market orders on the same bar. There are no stops.
    """

    params = (
        ("period", 10),  # bars of the moving average
    )

    def __init__(self):
        self.sma = {
            data: bt.indicators.SMA(data.close, period=self.p.period, plotname="SMA")
            for data in self.datas
        }
        self.in_flight = {}  # order number to name of its feed

    def notify_order(self, order):
        if order.alive():  # also one that an earlier life of this strategy sent
            self.in_flight[order.ref] = order.data._name
        else:
            self.in_flight.pop(order.ref, None)

    def next(self):
        for data in self.datas:
            if data._name in self.in_flight.values():
                continue
            held = self.getposition(data).size
            close, sma = data.close[0], self.sma[data][0]
            if close > sma and held <= 0:
                self.send(data, self.close(data), self.buy(data))
            elif close < sma and held >= 0:
                self.send(data, self.close(data), self.sell(data))

    def send(self, data, *orders):
        self.in_flight.update({o.ref: data._name for o in orders if o is not None})
