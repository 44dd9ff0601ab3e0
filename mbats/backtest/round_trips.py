"""Round trips: fills of one strategy in one instrument, from flat to flat.

Conventions. Gross profit is what the fills realised, each at the rate of its own day; net profit
is gross less commission plus financing; spread and slippage are inside gross. A fill that reverses
a position ends one trade and begins the next, and its costs are split by units. Excursions are
measured over the bars from entry up to the exit bar, and at the exit price: what the exit bar did
after the exit was not suffered. A long is measured on bid prices, a short on ask.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mbats.backtest import journal as kept
from mbats.backtest.feed import NumpyFeed
from mbats.backtest.journal import FillRecord, FinancingRecord, Journal

REVERSAL = "reversal"


@dataclass
class RoundTrip:
    """One trade, being collected and then complete. Amounts in account currency."""

    strategy: int
    instrument: str
    entry: FillRecord
    exit: FillRecord
    long: bool
    entered_units: float = 0.0
    entered_value: float = 0.0
    exited_units: float = 0.0
    exited_value: float = 0.0
    largest: float = 0.0
    notional: float = 0.0
    gross: float = 0.0
    commission: float = 0.0
    financing: float = 0.0
    spread_cost: float = 0.0
    slippage_cost: float = 0.0
    mfe: float = 0.0
    mae: float = 0.0
    bars: int = 0
    exit_reason: str = ""

    @property
    def entry_price(self) -> float:
        """Average entry price."""
        return self.entered_value / self.entered_units

    @property
    def exit_price(self) -> float:
        """Average exit price."""
        return self.exited_value / self.exited_units

    @property
    def net(self) -> float:
        """Profit net of all costs."""
        return self.gross - self.commission + self.financing

    def _take_costs(self, fill: FillRecord, units: float) -> None:
        share = abs(units / fill.size)
        self.commission += fill.commission * share
        self.spread_cost += fill.half_spread * abs(units) * fill.rate
        self.slippage_cost += fill.slippage * abs(units) * fill.rate

    def enlarge(self, fill: FillRecord) -> None:
        """Take the opening part of a fill."""
        self._take_costs(fill, fill.opened)
        self.entered_units += abs(fill.opened)
        self.entered_value += abs(fill.opened) * fill.price
        self.largest = max(self.largest, abs(fill.position))
        self.notional = max(self.notional, abs(fill.position) * fill.average * fill.rate)

    def reduce(self, fill: FillRecord) -> None:
        """Take the closing part of a fill."""
        self._take_costs(fill, fill.closed)
        self.exited_units += abs(fill.closed)
        self.exited_value += abs(fill.closed) * fill.price
        self.gross += fill.realised
        self.exit = fill


def round_trips(journal: Journal, finest: Mapping[str, NumpyFeed]) -> list[RoundTrip]:
    """Return the closed trades in the order they closed."""
    closed: list[RoundTrip] = []
    running: dict[tuple[int, str], RoundTrip] = {}
    for record in _in_order(journal):
        key = (record.strategy, record.instrument)
        trade = running.get(key)
        if isinstance(record, FinancingRecord):
            if trade is not None:
                trade.financing += record.amount
            continue
        if record.closed and trade is not None:
            trade.reduce(record)
            if record.opened or not record.position:
                trade.exit_reason = REVERSAL if record.opened else record.role
                closed.append(running.pop(key))
                trade = None
        if record.opened:
            if trade is None:
                trade = running[key] = RoundTrip(
                    *key, entry=record, exit=record, long=record.opened > 0
                )
            trade.enlarge(record)
    _mark_reversals(closed, running)
    for trade in closed:
        _measure(trade, finest[trade.instrument])
    return closed


def _in_order(journal: Journal) -> Iterator[FillRecord | FinancingRecord]:
    """Yield fills and rollovers in the order in which they happened."""
    charges = deque(journal.financing)
    for position, fill in enumerate(journal.fills):
        while charges and charges[0].after_fills <= position:
            yield charges.popleft()
        yield fill
    yield from charges


def _mark_reversals(closed: list[RoundTrip], running: Mapping[tuple[int, str], RoundTrip]) -> None:
    """Name it a reversal where an exit and an entry the other way filled in the same step."""
    following = {(t.strategy, t.instrument, t.entry.step): t for t in [*closed, *running.values()]}
    for trade in closed:
        after = following.get((trade.strategy, trade.instrument, trade.exit.step))
        if after is not None and after is not trade and after.long != trade.long:
            trade.exit_reason = REVERSAL if trade.exit_reason == kept.EXIT else trade.exit_reason


def _measure(trade: RoundTrip, feed: NumpyFeed) -> None:
    """Set bars held and the excursions, as fractions of the entry price."""
    first, last = trade.entry.row, trade.exit.row
    trade.bars = last - first
    prices = feed.side(not trade.long)
    high = np.max(prices.high[first:last], initial=trade.exit.price)
    low = np.min(prices.low[first:last], initial=trade.exit.price)
    entry = trade.entry_price
    up, down = (high - entry) / entry, (low - entry) / entry
    trade.mfe = max(0.0, float(up if trade.long else -down))
    trade.mae = min(0.0, float(down if trade.long else -up))
