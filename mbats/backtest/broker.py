"""backtrader's simulated broker with an FX margin account, sided prices and costs.

Everything the class does not override is backtrader's own (``facts``: rules 7 to 16): which bar
an order is tested on, in which order, and at which price. What differs, and why:

* **Account.** A margin account: :mod:`mbats.backtest.margin_account`.
* **Margin.** One rule: an order is refused (status Margin) if filling it would enlarge a position
  and leave more margin used than there is net asset value. It is checked when the order arrives,
  with the orders of the same step before it counted as filled, and again at the fill. Children of
  a bracket only reduce and need none.
* **Close-out.** At a bar's end, net asset value below half the margin used closes everything at
  that bar's closing prices and cancels what is pending, as OANDA does.
* **Sides.** Buys trigger and fill on ask, sells on bid. Market and stop fills slip; limits do not.
* **Stale bars.** An order is tested only on a bar of its feed that is new in this step and began
  no earlier than the order was decided. backtrader would test it on a bar long gone (rule 17).
"""

from collections.abc import Callable
from typing import Any

import backtrader as bt

from mbats.backtest import journal as kept
from mbats.backtest.feed import NumpyFeed
from mbats.backtest.journal import EventRecord, FillRecord
from mbats.backtest.margin_account import Holding, MarginAccount
from mbats.trading.costs import CLOSEOUT_FRACTION

Progress = Callable[[int], None]
_NEVER = float("inf")
_LIMITED = (bt.Order.Limit, bt.Order.StopLimit, bt.Order.StopTrailLimit)
_FIXED_PARAMETERS = (
    "owner", "data", "exectype", "parent", "tradeid", "transmit", "simulated",
    "trailamount", "trailpercent", "histnotify",
)  # fmt: skip
_TRAILING = (bt.Order.StopTrail, bt.Order.StopTrailLimit)


class FxBroker(MarginAccount):
    """The broker of a backtest; see the module. ``progress`` is called with the number of steps
    done, every ``progress_every`` steps.
    """

    params: tuple[tuple[str, Any], ...] = (("progress", None), ("progress_every", 1000))

    def init(self) -> None:
        """Reset the account and forget every order."""
        super().init()
        self._matching = False
        self._slippage = 0.0
        self._role: str | None = None
        self._report_at = self.p.progress_every if self.p.progress else _NEVER

    def next(self) -> None:
        """Play one step: activate, check, finance, match, value."""
        self.step += 1
        self._now = None
        if self.step >= self._report_at:
            self.p.progress(self.step)
            self._report_at += self.p.progress_every
        if self.pending or self.submitted or self._open:
            self._matching = True
            self._play()
            self._matching = False

    def _play(self) -> None:
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.submitted:
            self.check_submitted()
        if self._open and self._rollover_at <= self.now:
            self._finance(min(d.bar_start() for d in self._all if self._is_new(d)))
        if self.pending:
            self._match()
        if self._open:
            if self._rollover_at <= self.now:
                self._finance(self.now)
            self._mark()
            if self._value < CLOSEOUT_FRACTION * self.margin_used:
                self._close_out()
        elif self._value != self.cash:
            self._value = self.cash

    def _match(self) -> None:
        """Test the pending orders once each, in order of arrival, as backtrader does."""
        self.pending.append(None)
        while (order := self.pending.popleft()) is not None:
            if order.expire():
                order.reason = "expired"
                self.notify(order)
                self._ococheck(order)
                self._bracketize(order, cancel=True)
            elif not order.active() or not self._testable(order):
                self.pending.append(order)
            else:
                self._try_exec(order)
                if order.alive():
                    self.pending.append(order)
                elif order.status == bt.Order.Completed:
                    self._bracketize(order)

    def _testable(self, order: Any) -> bool:
        feed: NumpyFeed = order.data
        return bool(feed.end == self.now and feed.bar_start() >= order.decided)

    # Orders in.

    def buy(self, owner: Any, data: NumpyFeed, *args: Any, **kwargs: Any) -> Any:
        """Send a buy to the instrument's finest feed; arguments as backtrader's."""
        return super().buy(owner, self._feeds[data.instrument], *args, **kwargs)

    def sell(self, owner: Any, data: NumpyFeed, *args: Any, **kwargs: Any) -> Any:
        """Send a sell to the instrument's finest feed; arguments as backtrader's."""
        return super().sell(owner, self._feeds[data.instrument], *args, **kwargs)

    def submit(self, order: Any, check: bool = True) -> Any:
        """Stamp the order with the instant and the position it was decided at, and take it."""
        # backtrader finds an order's parameters through a slow fallback, millions of times a run
        own, given = vars(order), order.params
        own.update({n: getattr(given, n) for n in _FIXED_PARAMETERS if n not in own})
        order.decided = self.now
        if order.data.row < 0:
            return self._reject_unpriced(order)
        key = (order.owner._id, order.data.instrument)
        in_flight = sum(
            o.executed.remsize
            for o in self.submitted
            if o.exectype == bt.Order.Market and (o.owner._id, o.data.instrument) == key
        )
        held = self._holdings[key].position.size if key in self._holdings else 0.0
        self.journal.number(order, kept.intended_role(order, held + in_flight))
        if order.exectype in _TRAILING and not order.params.price:
            spread = order.data.half_spread_at(3)  # a stop trails the side it would fill on
            order.created.price += spread if order.isbuy() else -spread
        return super().submit(order, check=check)

    def _reject_unpriced(self, order: Any) -> Any:
        """Reject an order on a feed without a bar yet: backtrader would price it from the last."""
        self.journal.number(order, kept.ENTRY)
        order.reason = "no_price_yet"
        order.reject(self)
        self.notify(order)
        return order

    def check_submitted(self) -> None:
        """Accept or refuse what arrived since the last step; see the margin rule."""
        nav = self.cash + sum(h.unrealised for h in self._open.values())
        used = sum(h.margin for h in self._open.values())
        planned: dict[tuple[int, str], float] = {}
        while self.submitted:
            order = self.submitted.popleft()
            if self._take_children(order) is None:
                continue
            if order.parent is None:
                holding = self._holding(order)
                key = (holding.strategy, holding.instrument)
                before = planned.get(key, holding.position.size)
                after = before + order.executed.remsize
                more = abs(after) - abs(before)
                margin = holding.info.getoperationcost(more, order.created.price)
                if more > 0 and used + margin > nav:
                    self._refuse(order)
                    continue
                used += margin if more > 0 else -margin
                planned[key] = after
            self.submit_accept(order)

    def _refuse(self, order: Any) -> None:
        order.reason = "insufficient_margin"
        order.margin()
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order, cancel=True)

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        """Cancel a pending order; ``bracket`` where its bracket ended, not the strategy's wish."""
        order.reason = "bracket_ended" if bracket else "client_request"
        return bool(super().cancel(order, bracket=bracket))

    def notify(self, order: Any) -> None:
        """Tell the strategy, and keep the event."""
        number = self.journal.numbers[order.ref]
        feed = order.data
        row = feed.row if self._matching and self._is_new(feed) else -1
        self.journal.events.append(
            EventRecord(
                self.step,
                feed.number if row >= 0 else -1,
                row,
                number,
                kept.EVENTS[order.status],
                order.__dict__.get("reason"),
            )
        )
        super().notify(order)

    def refuse_size(self, owner: Any, data: NumpyFeed, is_buy: bool, reason: str) -> None:
        """Keep that a strategy's order was never sent: the sizer found no valid size."""
        self.journal.refuse(self.step, owner._id, data.instrument, is_buy, reason)

    # Fills.

    def _try_exec(self, order: Any) -> None:
        feed = order.data
        limited = order.exectype in _LIMITED
        self._slippage = 0.0 if limited else self.p.terms[feed.instrument].slippage
        feed.tick_open, feed.tick_high, feed.tick_low, feed.tick_close = feed.quote(order.isbuy())
        super()._try_exec(order)

    def _slip_up(self, pmax: float, price: float, doslip: bool = True, lim: bool = False) -> float:
        return price + self._slippage

    def _slip_down(
        self, pmin: float, price: float, doslip: bool = True, lim: bool = False
    ) -> float:
        return price - self._slippage

    def _execute(
        self,
        order: Any,
        ago: int | None = None,
        price: float | None = None,
        cash: float | None = None,
        position: bt.Position | None = None,
        dtcoc: float | None = None,
    ) -> None:
        """Fill ``order`` at ``price``; what it enlarges only if there is margin for it."""
        if price is None:
            return
        holding = self._holding(order)
        info, held = holding.info, holding.position
        size = order.executed.remsize
        before, entry = held.size, held.price
        _, _, opened, closed = held.pseudoupdate(size, price)
        refused = opened and not self._affordable(holding, closed, opened, price)
        if refused:
            opened = 0
        closed_commission = info.getcommission(closed, price) if closed else 0.0
        opened_commission = info.getcommission(opened, price) if opened else 0.0
        realised = info.profitandloss(-closed, entry, price) if closed else 0.0
        executed = closed + opened
        if executed:
            self.cash += realised - closed_commission - opened_commission
            held.update(executed, price, order.data.datetime.datetime())
            self._keep_open(holding, before, price)
            self._record(
                order, holding, executed, closed, opened, price, realised,
                closed_commission + opened_commission,
            )  # fmt: skip
            order.execute(
                order.data.datetime[0], executed, price,
                closed, info.getvaluesize(-closed, entry), closed_commission,
                opened, info.getvaluesize(opened, price), opened_commission,
                holding.margin, realised, held.size, held.price,
            )  # fmt: skip
            order.addcomminfo(info)
            self.notify(order)
            self._ococheck(order)
        if refused:
            self._refuse(order)

    def _record(
        self,
        order: Any,
        holding: Holding,
        size: float,
        closed: float,
        opened: float,
        price: float,
        realised: float,
        commission: float,
    ) -> None:
        feed = order.data
        number = self.journal.numbers[order.ref]
        half = feed.half_spread_at(3 if self._role == kept.CLOSEOUT else 0)
        slippage = self._slippage
        sign = 1.0 if size > 0 else -1.0
        intended = self.journal.orders[number - 1].role
        role = self._role or _role_of_fill(intended, opened)
        self.journal.fills.append(
            FillRecord(
                step=self.step,
                feed=feed.number,
                row=feed.row,
                order=number,
                strategy=holding.strategy,
                instrument=holding.instrument,
                size=size,
                closed=closed,
                opened=opened,
                price=price,
                mid=price - sign * (half + slippage),
                half_spread=half,
                slippage=slippage,
                commission=commission,
                realised=realised,
                rate=holding.info.rate,
                position=holding.position.size,
                average=holding.position.price,
                role=role,
            )
        )

    def _close_out(self) -> None:
        """Close every position at this bar's closing prices and cancel what is pending."""
        for order in list(self.pending):
            order.reason = "margin_closeout"
            if super().cancel(order, bracket=True):
                self._pchildren.pop(getattr(order.parent, "ref", order.ref), None)
        self._toactivate.clear()
        self._role = kept.CLOSEOUT
        for holding in list(self._open.values()):
            size = holding.position.size
            kind = bt.order.SellOrder if size > 0 else bt.order.BuyOrder
            owner = self.cerebro.runningstrats[holding.strategy]
            order = kind(owner=owner, data=holding.feed, size=abs(size))
            order.decided, order.reason = self.now, "margin_closeout"
            self._ocoize(order, None)
            self.journal.number(order, kept.CLOSEOUT)
            order.submit()
            order.accept()
            self.notify(order)
            self._slippage = holding.info.terms.slippage
            worse = -self._slippage if size > 0 else self._slippage
            self._execute(order, ago=0, price=holding.feed.exit_price(size) + worse)
        self._role = None
        self._value = self.cash


def _role_of_fill(intended: str, opened: float) -> str:
    if opened:
        return kept.ENTRY
    return kept.EXIT if intended == kept.ENTRY else intended
