"""Synthetic sessions: seeded ticks, and a live session made of a replay's orders.

Each live fill is what an ideal broker gives at the moment of the backtest's, then worsened by
what a test plants.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import backtrader as bt
import numpy as np

from mbats.backtest.assumptions import Costs
from mbats.live.parity.replay import Session, replay
from mbats.market.granularity import Granularity
from mbats.market.instrument import Instrument
from mbats.market.tick import Ticks
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.conversion import Conversion

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ACCOUNT = "101-001-1000001-001"
EUR_USD = Instrument("EUR_USD", pip_location=-4, price_precision=5)


class Alternating(bt.Strategy):
    """Enters on every third bar by the bar's own direction, out on the next third bar."""

    def next(self):
        minute = bt.num2date(self.data.datetime[0]).minute
        if minute % 3:
            return
        if self.position.size:
            self.close()
        elif self.data.close[0] >= self.data.open[0]:
            self.buy()
        else:
            self.sell()


class Turning(bt.Strategy):
    """Turns its position round: one order that is two live."""

    def next(self):
        minute = bt.num2date(self.data.datetime[0]).minute
        if minute % 3 == 0:
            held = self.position.size
            (self.sell if held > 0 else self.buy)(size=2000 if held else 1000)


class Rising(bt.Strategy):
    """Buys on every third bar if that bar rose, and is out a bar later."""

    def next(self):
        if self.position.size:
            self.close()
            return
        minute = bt.num2date(self.data.datetime[0]).minute
        if minute % 3 == 0 and self.data.close[0] > self.data.open[0]:
            self.buy()


def random_columns(minutes=30, seed=1):
    """A random walk of EUR_USD in points, with a spread that breathes."""
    rng = np.random.default_rng(seed)
    times, bids, asks, mid = [], [], [], 110_000
    for minute in range(minutes):
        for second in sorted({1, *rng.integers(2, 60, 5).tolist()}):
            mid += int(rng.integers(-9, 10))
            half = int(rng.integers(1, 6))
            times.append(START + minute * MINUTE + timedelta(seconds=int(second)))
            bids.append((mid - half) / 1e5)
            asks.append((mid + half) / 1e5)
    naive = [time.replace(tzinfo=None) for time in times]
    return Ticks(
        "EUR_USD",
        np.array(naive, dtype="datetime64[us]"),
        np.round(bids, 5),
        np.round(asks, 5),
        np.ones(len(times), dtype=bool),
    )


def session(strategy=Alternating, ticks=None, sizer="units:1000", costs=None, **changes):
    """A session of one strategy in EUR_USD without a fill; ``changes`` are fields of Session."""
    run = {
        "run_id": "run-1",
        "account": ACCOUNT,
        "account_currency": "USD",
        "starting_cash": Decimal(100_000),
        "started_at": START - MINUTE,
        "ended_at": START + 60 * MINUTE,
        "vendor": "oanda",
    }
    made = Session(
        run=run,
        loaded=LoadedStrategy("S", strategy, dict(strategy.params._getitems())),
        granularity=Granularity.M1,
        sizer=sizer,
        instruments={"EUR_USD": EUR_USD},
        ticks={"EUR_USD": random_columns() if ticks is None else ticks},
        conversion=Conversion("USD", {}),
        costs=costs or Costs(slippage_pips=0.0),
    )
    return replace(made, **changes)


def instant_of(time):
    """A time of a column, aware."""
    return time.item().replace(tzinfo=UTC)


def quote_at(ticks, moment):
    """The last quote by ``moment``, exact."""
    at = np.datetime64(moment.replace(tzinfo=None), "us")
    index = int(np.searchsorted(ticks.time, at, side="right")) - 1
    return tuple(Decimal(repr(float(side[index]))) for side in (ticks.bid, ticks.ask))


def traded(made, bars=None, worsen=None, skip=(), asked=None):
    """Return ``made`` with the fills of its replay, a second after each decision.

    ``bars`` and ``asked`` are those of :func:`replay`.
    ``worsen`` maps the number of a fill to changes of its row (or a callable that makes them);
    ``skip`` are numbers of those that never happened.
    """
    fills, position = [], Decimal(0)
    for number, order in enumerate(e for e in replay(made, bars, asked) if e.price is not None):
        if number in skip:
            continue
        sign = 1 if order.side == "buy" else -1
        time = order.decided_at + timedelta(seconds=1)
        bid, ask = quote_at(made.ticks["EUR_USD"], time)
        row = {
            "event_id": f"f{number}",
            "order_key": order.key,
            "instrument": order.instrument,
            "time": time,
            "side": order.side,
            "units": order.units,
            "price": ask if sign > 0 else bid,
            "role": order.role,
            "conversion_rate": None,
        }
        change = (worsen or {}).get(number, {})
        row.update(change(row) if callable(change) else change)
        position += sign * row["units"]
        fills.append({**row, "position_units": position})
    return replace(made, fills=fills)
