"""An account that was flattened stays flat until somebody resumes: what arrives late is closed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from mbats.live.control import TradingOrder
from mbats.live.orders.book import Book
from mbats.trading.order import is_ours

PAUSE = timedelta(seconds=5)
"""How long whoever flattens has the first hand, and how long one attempt has until the next."""


class KeptFlat:
    """Says when to close what an order that was on its way has left, after the flattening."""

    def __init__(self) -> None:
        self._due: datetime | None = None

    def why(self, order: TradingOrder, book: Book, now: datetime) -> str:
        """Return what is to be closed now, for people; nothing while there is nothing to do.

        What a person has opened by hand meanwhile is theirs.
        """
        standing = list(_own(book)) if order.flat else []
        if not standing:
            self._due = None
            return ""
        self._due = self._due or now + PAUSE
        if now < self._due:
            return ""
        self._due = now + PAUSE
        return f"{'; '.join(standing)} after the account was flattened"


def _own(book: Book) -> Iterator[str]:
    for trade in book.trades.values():
        if is_ours(trade.client_key):
            yield f"{trade.units} {trade.instrument} of {trade.client_key}"
    for waiting in book.orders.values():
        if is_ours(waiting.client_key) and waiting.trade_id not in book.trades:
            yield f"order {waiting.client_key}"
