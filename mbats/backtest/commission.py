"""What backtrader asks about an instrument's money, answered in account currency.

backtrader recomputes a trade's profit through this hook, so ``Trade.pnl`` comes out in account
currency too (``facts``: it ignores what the broker reports).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

import backtrader as bt

from mbats.errors import DataError
from mbats.trading.costs import Terms

_ALWAYS = 1.0  # backtrader's float day of the year 1: a rate known since then is the currency's own


class RateCursor:
    """A step function read in time order: ``at(now)`` never looks ahead of ``now``."""

    def __init__(self, known_at: Sequence[float], values: Sequence[float], name: str) -> None:
        self._known_at = known_at
        self._values = values
        self._name = name
        self._next = 0
        self.constant = values[0] if len(values) == 1 and known_at[0] <= _ALWAYS else None

    def at(self, now: float) -> float:
        """Return the last value known at ``now`` (backtrader's float days)."""
        known_at = self._known_at
        if self._next and now < known_at[self._next - 1]:
            self._next = bisect_right(known_at, now)
        while self._next < len(known_at) and known_at[self._next] <= now:
            self._next += 1
        if not self._next:
            raise DataError(
                f"No rate of {self._name} is known yet when the run first needs it.",
                mend="load older daily bars, or start the run later",
            )
        return self._values[self._next - 1]


class FxCommission(bt.CommInfoBase):  # type: ignore[misc]
    """An instrument's terms and its conversion rate, in the form backtrader knows."""

    params = (("commtype", bt.CommInfoBase.COMM_FIXED), ("stocklike", True))

    def __init__(self, terms: Terms, cursor: RateCursor, now: Callable[[], float]) -> None:
        super().__init__()
        self.terms = terms
        self._cursor = cursor
        self._constant = cursor.constant
        self._now = now

    @property
    def rate(self) -> float:
        """Account currency for one unit of quote currency, as known now."""
        if self._constant is not None:
            return self._constant
        return self._cursor.at(self._now())

    def profitandloss(self, size: float, price: float, newprice: float) -> float:
        """Return the profit of ``size`` units from ``price`` to ``newprice``."""
        return size * (newprice - price) * self.rate

    def getvaluesize(self, size: float, price: float) -> float:
        """Return the signed notional."""
        return size * price * self.rate

    def getvalue(self, position: bt.Position, price: float) -> float:
        """Return the signed notional of a position."""
        return self.getvaluesize(position.size, price)

    def getoperationcost(self, size: float, price: float) -> float:
        """Return the margin that ``size`` units hold."""
        return self.terms.margin(size, price, self.rate)

    def get_margin(self, price: float) -> float:
        """Return the margin of one unit."""
        return self.terms.margin(1.0, price, self.rate)

    def get_leverage(self) -> float:
        """Return the notional that one unit of account currency can hold."""
        return 1.0 / self.terms.margin_rate

    def getsize(self, price: float, cash: float) -> float:
        """Return the whole units whose notional is at most ``cash``."""
        return cash // (price * self.rate)

    def _getcommission(self, size: float, price: float, pseudoexec: bool) -> float:
        return self.terms.commission(size, price, self.rate)

    def cashadjust(self, size: float, price: float, newprice: float) -> float:
        """Return nothing: unrealised profit is not in the balance."""
        return 0.0

    def get_credit_interest(self, data: object, pos: bt.Position, dt: object) -> float:
        """Return nothing: the broker charges financing at 17:00 New York itself."""
        return 0.0
