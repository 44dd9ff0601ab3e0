"""Orders and trades that a bot finds in the book: made known to backtrader, and to their strategy.

After a restart they are what an earlier life of the bot sent; in the middle of a session, what
somebody else did to the account: a margin close-out, the kill switch.
"""

from collections.abc import Iterable
from typing import Any

import backtrader as bt

from mbats.errors import RefusedError
from mbats.live.feed import LiveFeed
from mbats.live.orders.book import Book, HeldTrade, WaitingOrder
from mbats.trading.order import OrderType

_EXEC_TYPES = {
    OrderType.LIMIT: bt.Order.Limit,
    OrderType.STOP: bt.Order.Stop,
    OrderType.TRAILING_STOP: bt.Order.StopTrail,
}


def require_owners(book: Book, claimed: Iterable[str]) -> None:
    """Raise :class:`RefusedError` where the book holds what no strategy of this bot trades."""
    known = set(claimed)
    held = {trade.instrument for trade in book.trades.values()}
    waiting = {order.instrument for order in book.orders.values() if order.instrument}
    strange = sorted((held | waiting) - known)
    if strange:
        raise RefusedError(
            f"Account {book.account} holds {', '.join(strange)}, which no strategy of this bot "
            "trades. Nothing was traded.",
            mend="start the strategy that opened it, or close it (`mbats flatten`)",
        )


def holding(trades: Iterable[HeldTrade]) -> bt.Position:
    """Return the position that trades in one instrument add up to, at their mean price."""
    held = list(trades)
    size = float(sum(trade.units for trade in held))
    if not size:
        return bt.Position()
    worth = float(sum(trade.units * trade.price for trade in held))
    return bt.Position(size=size, price=worth / size)


def order_of(waiting: WaitingOrder, size: float, data: LiveFeed, owner: Any, near: float) -> Any:
    """Return a backtrader order for one that waits at the broker, not yet submitted.

    ``size`` is signed; ``near`` stands in for the price of an order that has none.
    """
    kind = bt.order.BuyOrder if size > 0 else bt.order.SellOrder
    exectype = next((v for k, v in _EXEC_TYPES.items() if k == waiting.order_type), bt.Order.Market)
    order = kind(
        owner=owner,
        data=data,
        size=abs(size),
        price=float(waiting.price) if waiting.price is not None else near,
        exectype=exectype,
        simulated=not len(data),
    )
    order.addinfo(adopted=True, key=waiting.client_key)
    return order


def seed_trade(position: bt.Position, data: LiveFeed, owner: Any, info: Any) -> None:
    """Let the strategy's trade in ``data`` begin with a position it already has, unannounced."""
    kind = bt.order.BuyOrder if position.size > 0 else bt.order.SellOrder
    entry = kind(
        owner=owner, data=data, size=abs(position.size), price=position.price, simulated=True
    )
    trade = bt.Trade(data=data, tradeid=0)
    trade.update(entry, position.size, position.price, 0.0, 0.0, 0.0, info)
    owner._trades[data][0].append(trade)
