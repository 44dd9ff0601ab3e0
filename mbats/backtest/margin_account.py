"""The margin account behind the simulated broker: positions, value, margin, financing.

Opening costs no cash. Cash is the balance; value is the net asset value, balance plus unrealised
profit at the price each position could be closed at (bid for a long, ask for a short). Each
strategy of a run has positions of its own and all share the money, as in a hedging account.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import backtrader as bt

from mbats.backtest.commission import FxCommission, RateCursor
from mbats.backtest.feed import NumpyFeed
from mbats.backtest.journal import FinancingRecord, Journal
from mbats.errors import RefusedError
from mbats.trading.costs import Terms

_NEVER, _BEFORE = float("inf"), float("-inf")


@dataclass(frozen=True, slots=True)
class RolloverNum:
    """A 17:00 New York, in backtrader's float days, and the days of financing it charges."""

    at: float
    days: int


class Holding:
    """One strategy's position in one instrument, and what it was worth at the last step's end."""

    __slots__ = ("feed", "info", "instrument", "margin", "position", "strategy", "unrealised")

    def __init__(self, strategy: int, feed: NumpyFeed, info: FxCommission) -> None:
        self.strategy = strategy
        self.instrument: str = feed.instrument
        self.feed = feed
        self.info = info
        self.position = bt.Position()
        self.unrealised = 0.0
        self.margin = 0.0


class MarginAccount(bt.brokers.BackBroker):  # type: ignore[misc]
    """backtrader's broker with an FX margin account. Amounts are floats in account currency.

    ``terms`` and ``cursors`` are by instrument; ``rollovers`` ascend.
    """

    params: tuple[tuple[str, Any], ...] = (
        ("terms", {}),
        ("cursors", {}),
        ("rollovers", ()),
    )

    def init(self) -> None:
        """Reset the account to its starting cash."""
        super().init()
        self._value: float = self.cash
        self.journal = Journal()
        self.acting = 0  # the strategy whose turn it is
        self.step = -1
        self._all: list[NumpyFeed] = list(self.cerebro.datas) if hasattr(self, "cerebro") else []
        self._feeds: dict[str, NumpyFeed] = {}
        self._holdings: dict[tuple[int, str], Holding] = {}
        self._open: dict[tuple[int, str], Holding] = {}
        self._rollovers: Sequence[RolloverNum] = self.p.rollovers
        self._rollover_index = 0
        self._rollover_at = _NEVER
        self._now: float | None = None

    def start(self) -> None:
        """Reset, and take the run's feeds: the finest feed of an instrument trades it."""
        super().start()
        feeds = self._all
        for number, feed in enumerate(feeds):
            feed.number = number
        for feed in sorted(feeds, key=lambda f: (f._timeframe, f._compression), reverse=True):
            self._feeds[feed.instrument] = feed
        terms: Mapping[str, Terms] = self.p.terms
        cursors: Mapping[str, RateCursor] = self.p.cursors
        for name in self._feeds:
            info = FxCommission(terms[name], cursors[name], lambda: self.now)
            for each in feeds:
                if each.instrument == name:
                    self.addcommissioninfo(info, name=each._name)

    # The clock: the end of the bars of this step.

    @property
    def now(self) -> float:
        """The instant of the current step, in backtrader's float days."""
        if self._now is None:
            feeds = self._all
            self._now = feeds[0].end if len(feeds) == 1 else max(feed.end for feed in feeds)
        return self._now

    def _is_new(self, feed: NumpyFeed) -> bool:
        return feed.end == self.now > _BEFORE

    # Positions, value, financing.

    def _holding(self, order: Any) -> Holding:
        key = (order.owner._id, order.data.instrument)
        if key not in self._holdings:
            info = self.getcommissioninfo(order.data)
            self._holdings[key] = Holding(key[0], self._feeds[key[1]], info)
        return self._holdings[key]

    def _mark(self) -> None:
        """Value the open positions at the prices they could be closed at now."""
        nav = self.cash
        for holding in self._open.values():
            position, info = holding.position, holding.info
            size, rate = position.size, info.rate
            price = holding.feed.exit_price(size)
            holding.unrealised = size * (price - position.price) * rate
            holding.margin = info.terms.margin(size, price, rate)
            nav += holding.unrealised
        self._value = nav

    @property
    def margin_used(self) -> float:
        """Margin that the open positions hold, at the last valuation."""
        return sum(h.margin for h in self._open.values())

    def _aim_rollover(self, after: float) -> None:
        self._rollover_index = bisect_right(self._rollovers, after, key=lambda r: r.at)
        self._next_rollover()

    def _next_rollover(self) -> None:
        index = self._rollover_index
        self._rollover_at = self._rollovers[index].at if index < len(self._rollovers) else _NEVER

    def _finance(self, until: float) -> None:
        """Charge every rollover up to ``until`` to the positions that are open."""
        while self._rollover_at <= until:
            days = self._rollovers[self._rollover_index].days
            for holding in self._open.values():
                info, feed = holding.info, holding.feed
                late = self._is_new(feed) and feed.bar_start() >= self._rollover_at
                price = feed.close[-1] if late and feed.row else feed.close[0]
                amount = info.terms.financing(holding.position.size, price, info.rate, days)
                self.cash += amount
                self.journal.financing.append(
                    FinancingRecord(
                        self.step,
                        len(self.journal.fills),
                        holding.strategy,
                        holding.instrument,
                        amount,
                    )
                )
            self._rollover_index += 1
            self._next_rollover()

    def _affordable(self, holding: Holding, closed: float, opened: float, price: float) -> bool:
        others = [h for h in self._open.values() if h is not holding]
        held = holding.position
        nav = self.cash + sum(h.unrealised for h in others)
        used = sum(h.margin for h in others)
        if closed:
            nav += holding.info.profitandloss(-closed, held.price, price)
        else:
            nav += holding.unrealised
            used += holding.margin
        return bool(used + holding.info.getoperationcost(opened, price) <= nav)

    def _keep_open(self, holding: Holding, before: float, price: float) -> None:
        """Keep what the next margin check needs until the step's end values it anew."""
        size = holding.position.size
        key = (holding.strategy, holding.instrument)
        if not self._open and size:
            self._aim_rollover(holding.feed.bar_start())
        if not size:
            self._open.pop(key, None)
            holding.unrealised = holding.margin = 0.0
            return
        self._open[key] = holding
        kept_share = size / before if before * size > 0 and abs(size) < abs(before) else 1.0
        holding.unrealised *= kept_share if before * size > 0 else 0.0
        holding.margin = holding.info.getoperationcost(size, price)

    # What strategies, sizers and backtrader itself ask.

    def getposition(self, data: NumpyFeed) -> bt.Position:
        """Return the acting strategy's position in the instrument of ``data``."""
        holding = self._holdings.get((self.acting, data.instrument))
        return holding.position if holding else bt.Position()

    def get_value(
        self, datas: Sequence[NumpyFeed] | None = None, mkt: bool = False, lever: bool = False
    ) -> float:
        """Return the net asset value, or the acting strategy's signed notional in ``datas``."""
        if datas is None:
            return float(self._value)
        return sum(
            float(self.getcommissioninfo(d).getvalue(self.getposition(d), d.close[0]))
            for d in datas
        )

    getvalue = get_value

    def get_fundvalue(self) -> float:
        """Return the net asset value of one of the account's notional shares."""
        return float(self._value / self._fundshares)

    fundvalue = property(get_fundvalue)

    def add_cash(self, cash: float) -> None:
        """Refuse: a deposit in mid-run would read as profit."""
        raise RefusedError(
            "A backtest's account takes no deposits or withdrawals.", mend="start with more cash"
        )

    def holdings(self) -> Iterator[Holding]:
        """Yield the open positions."""
        yield from self._open.values()
