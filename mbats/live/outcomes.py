"""From the broker's log to what strategies hear: orders live and end here, and nowhere else."""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import backtrader as bt

from mbats.live import adoption
from mbats.live.feed import LiveFeed
from mbats.live.orders.protocol import Fate, Verdict
from mbats.live.orders.transactions import (
    OrderCancelled,
    OrderCreated,
    OrderFilled,
    OrderRejected,
    Transaction,
)
from mbats.live.trader import Trader
from mbats.live.working import Notifications, Working, complete, execute
from mbats.trading.order import parent_key
from mbats.trading.risk.rules import Margin

log = logging.getLogger(__name__)

MARGIN = (Margin.code, "INSUFFICIENT_MARGIN")
_EXPIRED = ("TIME_IN_FORCE_EXPIRED", "GTD_TIMESTAMP_IN_PAST")
_ENTRY_ENDED = "ENTRY_ENDED"
_FEW = 64  # orders that are kept whether they are over or not
_PLAIN = ("MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER")


class Desk(Protocol):
    """What is asked of the broker that this belongs to."""

    trader: Trader
    claims: Mapping[str, str]
    feeds: Mapping[str, LiveFeed]

    def owner_of(self, instrument: str) -> Any:
        """Return the strategy object that the instrument belongs to, or None."""
        ...

    def getcommissioninfo(self, data: LiveFeed) -> Any:
        """Return the money of a feed's instrument."""
        ...

    def cancel_later(self, working: Working) -> None:
        """Cancel what waits at the broker for an order, soon."""
        ...


class Outcomes:
    """Every order that backtrader and the broker know of one another, and the positions."""

    def __init__(self, desk: Desk) -> None:
        self.news = Notifications()
        self.positions: dict[str, bt.Position] = defaultdict(bt.Position)
        self.adopted = False
        self._desk = desk
        self._by_ref: dict[int, Working] = {}
        self._by_key: dict[str, Working] = {}
        self._by_id: dict[int, Working] = {}
        self._forget_at = _FEW

    def of(self, order: Any) -> Working | None:
        """Return what is known of a backtrader order."""
        return self._by_ref.get(order.ref)

    def register(self, working: Working) -> None:
        """Know an order from now on; one that is over is forgotten."""
        self._by_ref[working.order.ref] = working

    def name(self, key: str, working: Working) -> None:
        """Know an order by a key that the log will call it by."""
        self._by_key[key] = working

    # Taking up the book.

    def adopt(self) -> None:
        """Take up what the book holds: positions, and orders that wait. Strategies hear of those.

        Raises :class:`~mbats.errors.RefusedError` for what belongs to no strategy.
        """
        if self.adopted:
            return
        book = self._desk.trader.book
        adoption.require_owners(book, self._desk.claims)
        self.adopted = True
        for instrument in book.positions():
            trades = [t for t in book.trades.values() if t.instrument == instrument]
            self.positions[instrument] = held = adoption.holding(trades)
            data = self._desk.feeds[instrument]
            info = self._desk.getcommissioninfo(data)
            adoption.seed_trade(held, data, self._desk.owner_of(instrument), info)
        for order_id in sorted(book.orders):
            self._adopt_order(order_id)

    def _adopt_order(self, order_id: int) -> Working | None:
        """Make an order of the book known to backtrader; None if it is no strategy's."""
        book = self._desk.trader.book
        waiting = book.orders[order_id]
        trade = book.trades.get(waiting.trade_id or 0)
        instrument = waiting.instrument or (trade.instrument if trade else "")
        owner, units = self._desk.owner_of(instrument), waiting.units
        if units is None:
            units = -trade.units if trade else None
        if owner is None or not units:
            log.warning("order %s in %s is no strategy's", order_id, instrument)
            return None
        data = self._desk.feeds[instrument]
        near = self.positions[instrument].price or (data.close[0] if len(data) else 1.0)
        order = adoption.order_of(waiting, float(units), data, owner, near)
        working = Working(order, self._desk.claims[instrument], waiting={order_id})
        key = waiting.client_key or ""
        entry = self._by_key.get(parent_key(key)) if key else None
        if entry is not None and waiting.trade_id is not None:
            working.parent, working.trades = entry, {waiting.trade_id}
            entry.legs[waiting.role] = working
        if key:
            self.name(key, working)
        self.register(working)
        self._by_id[order_id] = working
        order.submit(self._desk)
        order.accept(self._desk)
        self.news.put(order)
        return working

    # The log.

    def told(self, transaction: Transaction) -> None:
        """Hear one transaction, after the book has it."""
        if not self.adopted:
            return  # the book has it, and will be adopted whole
        match transaction:
            case OrderCreated():
                self._created(transaction)
            case OrderFilled():
                self._filled(transaction)
            case OrderCancelled():
                self._gone(transaction)
            case OrderRejected(client_key=key, reason=reason):
                self._refused(key or "", reason)

    def _created(self, created: OrderCreated) -> None:
        working = self._by_key.get(created.client_key or "") or self._by_id.get(created.id)
        if working is None:
            self._adopt_order(created.id)
            return
        working.unknown.discard(created.client_key or "")
        working.waiting.add(created.id)
        if created.trade_id is not None:
            working.trades.add(created.trade_id)
        self._by_id[created.id] = working
        if working.order.status in (bt.Order.Created, bt.Order.Submitted):
            working.order.accept(self._desk)
            working.order.activate()
            self.news.put(working.order)
        if working.cancel_wanted:
            self._desk.cancel_later(working)

    def _filled(self, fill: OrderFilled) -> None:
        working, instrument = self._by_id.get(fill.order_id), fill.instrument
        book = self._desk.trader.book
        held = float(book.positions().get(instrument, 0))
        if working is None:
            log.warning("fill %s in %s is of no known order", fill.id, instrument)
            trades = [t for t in book.trades.values() if t.instrument == instrument]
            self.positions[instrument] = adoption.holding(trades)
            return
        order = working.order
        info = self._desk.getcommissioninfo(order.data)
        execute(order, fill, self.positions[instrument], held, info)
        if fill.opened is not None:
            working.trades.add(fill.opened.trade_id)
        if fill.order_id not in book.orders:
            working.waiting.discard(fill.order_id)
            self._by_id.pop(fill.order_id, None)
        if fill.reason not in _PLAIN:
            order.addinfo(reason=fill.reason)
        if not working.pending:
            complete(order)
        else:
            order.partial()
        self.news.put(order)
        self._end_family(working)

    def _gone(self, cancelled: OrderCancelled) -> None:
        working = self._by_id.pop(cancelled.order_id, None)
        if working is None:
            return
        working.waiting.discard(cancelled.order_id)
        if cancelled.replaced_by is not None:
            working.waiting.add(cancelled.replaced_by)
            self._by_id[cancelled.replaced_by] = working
            return
        working.unsent.clear()
        self.end_if_over(working, cancelled.reason)

    def _refused(self, key: str, reason: str) -> None:
        working = self._by_key.get(key)
        if working is not None:
            working.unknown.discard(key)
            self.give_up(working, reason, reason)

    # Verdicts.

    def judge(self, working: Working, verdict: Verdict) -> None:
        """Take what the protocol says of one key; what the log says is not said again here."""
        if verdict.fate is Fate.UNKNOWN:
            working.order.addinfo(reason="UNKNOWN", detail=verdict.detail)
            return
        working.unknown.discard(verdict.key)
        if verdict.fate is not Fate.PLACED:
            self.give_up(working, str(verdict.fate).upper(), verdict.detail)

    def settled(self, verdict: Verdict) -> None:
        """Hear what became of an order of unknown outcome."""
        working = self._by_key.get(verdict.key)
        if working is None:
            return
        self.judge(working, verdict)
        # What was to follow was decided long ago: the strategy may decide anew.
        working.unsent.clear()
        self.end_if_over(working, "NOT_SENT")

    def recheck(self, fate: Callable[[str], Fate | None]) -> None:
        """Settle keys whose outcome the protocol knows, but was kept from saying."""
        for working in list(self._by_ref.values()):
            for key in list(working.unknown):
                known = fate(key)
                if known is not None and known is not Fate.UNKNOWN:
                    self.settled(Verdict(key, known))

    # How orders end.

    def give_up(self, working: Working, code: str, detail: str) -> None:
        """Give up what was not sent, or was refused, for an order."""
        if not working.alive:
            return
        working.unsent.clear()
        working.order.addinfo(reason=code, detail=detail)
        self.end_if_over(working, code, refused=True)

    def end_if_over(self, working: Working, reason: str, *, refused: bool = False) -> None:
        """End an order that is alive for backtrader while nothing more can come of it."""
        if not working.alive or working.pending:
            return
        order = working.order
        nothing_done = not order.executed.size
        if nothing_done and (refused or reason in MARGIN):
            self.reject(order, reason, str(order.info.get("detail") or reason))
        elif reason in _EXPIRED:
            order.addinfo(reason=reason)
            order.status = bt.Order.Expired
            self.news.put(order)
        elif reason == _ENTRY_ENDED and not nothing_done:
            complete(order)
            self.news.put(order)
        else:
            self.cancelled(order, reason)
        self._end_family(working)

    def _end_family(self, working: Working) -> None:
        """End the legs of an entry that is over, where the broker has and will have none."""
        if working.alive:
            return
        for leg in working.legs.values():
            if not leg.pending:
                self.end_if_over(leg, _ENTRY_ENDED)
        self._forget()

    def _forget(self) -> None:
        """Forget orders that are over, once they are more than those that are alive."""
        if len(self._by_ref) < self._forget_at:
            return
        self._by_ref = {r: w for r, w in self._by_ref.items() if _needed(w)}
        self._by_key = {k: w for k, w in self._by_key.items() if _needed(w)}
        self._forget_at = max(_FEW, 2 * len(self._by_ref))

    def reject(self, order: Any, code: str, detail: str) -> None:
        """Reject an order, with its reason."""
        order.addinfo(reason=code, detail=detail)
        if code in MARGIN:
            order.margin()
        else:
            order.reject(self._desk)
        self.news.put(order)

    def cancelled(self, order: Any, reason: str) -> None:
        """Cancel an order for backtrader."""
        order.addinfo(reason=reason)
        order.cancel()
        self.news.put(order)


def _needed(working: Working) -> bool:
    return any(each.alive for each in working.family())
