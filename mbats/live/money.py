"""What backtrader asks about an instrument's money, answered at the newest prices."""

import math
from typing import Protocol

from mbats.backtest.assumptions import Costs, terms_of
from mbats.backtest.commission import FxCommission, RateCursor
from mbats.live.trader import Trader
from mbats.market.instrument import Instrument


class HasTrader(Protocol):
    """Whoever knows the trader by the time it is asked."""

    trader: Trader


class NewestRate(RateCursor):
    """The rate of one currency as the newest prices have it; NaN while no price leads to it."""

    def __init__(self, currency: str, owner: HasTrader) -> None:
        self.constant = None  # it moves with the market
        self._currency = currency
        self._owner = owner

    def at(self, now: float) -> float:
        """Return account currency for one unit of the currency, whatever ``now`` is."""
        rate = self._owner.trader.rate(self._currency)
        return math.nan if rate is None else float(rate)


def live_commission(instrument: Instrument, owner: HasTrader) -> FxCommission:
    """Return the instrument's terms at newest prices; what a fill costs, the broker says."""
    terms = terms_of(instrument, Costs(enabled=False))
    return FxCommission(terms, NewestRate(instrument.quote, owner), lambda: 0.0)
