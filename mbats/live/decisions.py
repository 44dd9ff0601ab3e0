"""What strategies saw and decided, bar by bar, as rows of ``risk.signal``.

A replay of the recorded ticks says what should have been decided; these rows say on which bar it
was, when, and at which price. Together they prove a missed tick and name latency. The bars of the
past that a strategy warmed up with are rows, too: no tick of the session says what they were.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from mbats.backtest.signals import indicator_lines
from mbats.live.events import Row, nine
from mbats.live.feed import FeedBar, LiveFeed
from mbats.trading.risk.context import Quote

Tell = Callable[[Row], None]


def nobody(row: Row) -> None:
    """Take a row that nobody wants."""


class Decisions:
    """Notes each bar once, with what was decided on it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._noted: dict[LiveFeed, datetime] = {}
        self._lines: dict[Any, dict[LiveFeed, dict[str, Any]]] = {}  # by strategy
        self._actions: dict[str, list[str]] = defaultdict(list)

    def begin(self) -> None:
        """Forget what was sent between two bars: it was decided on neither."""
        self._actions.clear()

    def sent(self, order: Any) -> None:
        """Hear of an order that a strategy has sent, whatever becomes of it."""
        price = order.created.price
        at = f" at {price:g}" if price and order.getordername() != "Market" else ""
        words = f"{order.ordtypename().lower()} {abs(order.size):g} {order.getordername().lower()}"
        self._actions[order.data.instrument].append(words + at)

    def note(
        self,
        strategy: Any,
        name: str,
        decided_at: datetime | None,
        quote: Callable[[str], Quote | None],
    ) -> None:
        """Note the bars that are new to ``strategy``; None where it was not asked about them."""
        for feed in strategy.datas:
            bar: FeedBar | None = feed.bar
            known = self._noted.get(feed)
            if bar is None or (known is not None and bar.end <= known):
                continue
            self._noted[feed] = bar.end
            self._tell(self._row(strategy, feed, bar, name, decided_at, quote(feed.instrument)))

    def _row(
        self,
        strategy: Any,
        feed: LiveFeed,
        bar: FeedBar,
        name: str,
        decided_at: datetime | None,
        quote: Quote | None,
    ) -> Row:
        if strategy not in self._lines:
            self._lines[strategy] = indicator_lines(strategy)
        values = {label: float(line[0]) for label, line in self._lines[strategy][feed].items()}
        asked = decided_at is not None and quote is not None
        return {
            "strategy": name,
            "instrument": feed.instrument,
            "time": bar.start,
            "known_at": bar.end,
            "open": _exact(bar.open),
            "high": _exact(bar.high),
            "low": _exact(bar.low),
            "close": _exact(bar.close),
            "indicators": {k: v if math.isfinite(v) else None for k, v in values.items()},
            "action": "; ".join(self._actions.get(feed.instrument, ())) or None,
            "decided_at": decided_at,
            "bid": quote.bid if asked and quote else None,
            "ask": quote.ask if asked and quote else None,
        }


def _exact(price: float) -> Decimal:
    """Return a price of the lines as the NUMERIC column holds it."""
    return nine(Decimal(repr(price)))
