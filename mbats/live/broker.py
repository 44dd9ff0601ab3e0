"""The live broker: backtrader's orders through the desk's order protocol, back as notifications.

Nothing happens to an order here but what the broker's log says, in its order: accepted when its
creation is in the log, executed when its fill is, cancelled when that is. An order of unknown
outcome stays submitted until the log has told. What cannot be sent exactly is rejected, with a
reason in ``order.info.reason`` and a risk event; nothing is approximated.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import backtrader as bt

from mbats.errors import NotReadyError
from mbats.live.decisions import Decisions, Tell, nobody
from mbats.live.feed import LiveFeed
from mbats.live.intents import Decision, LegNames, intents_of, moved, role_of
from mbats.live.money import live_commission
from mbats.live.orders.protocol import Fate, Verdict
from mbats.live.orders.transactions import Transaction
from mbats.live.outcomes import Outcomes
from mbats.live.refusals import (
    NO_BAR,
    NO_SIZE,
    NOT_CLAIMED,
    NOT_DECIDING,
    UNSUPPORTED,
    Reason,
    RefusedOrderError,
)
from mbats.live.store import LiveStore
from mbats.live.trader import Trader
from mbats.live.working import Working
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent, OrderType, leg_key
from mbats.trading.risk.rules import Denial

log = logging.getLogger(__name__)


class LiveBroker(bt.broker.BrokerBase):  # type: ignore[misc]
    """One account for one or more strategies. Balances are floats in account currency.

    ``claims`` says by name which strategy an instrument belongs to, ``names`` are the strategies in
    cerebro's order, ``instruments`` the records of everything traded. ``on_decision`` takes rows of
    ``risk.signal`` without ``run_id``. ``trader`` must be set before the run, and :meth:`told` be
    its listener.
    """

    trader: Trader

    def __init__(
        self,
        store: LiveStore,
        names: Sequence[str],
        claims: Mapping[str, str],
        instruments: Mapping[str, Instrument],
        account: str,
        on_decision: Tell = nobody,
    ) -> None:
        super().__init__()
        self.cerebro: Any = None
        self.acting = 0  # strategies set it; here an instrument has one strategy anyway
        self.startingcash = 0.0
        self.claims = claims
        self.feeds: Mapping[str, LiveFeed] = {}
        self._store = store
        self._store.broker = self
        self._names = names
        self._instruments = instruments
        self._account = account
        self._outcomes = Outcomes(self)
        self._decisions = Decisions(on_decision)
        self._asked_at: datetime | None = None  # when the strategies of this step were asked
        self._leg_names = LegNames()
        self._held_back: dict[int, list[Any]] = {}  # brackets not whole yet, by their entry's ref

    # What backtrader calls.

    def start(self) -> None:
        """Take the feeds: the finest of an instrument trades it."""
        super().start()
        self.startingcash = self.getcash()
        coarse_first = sorted(
            self.cerebro.datas, key=lambda f: (f._timeframe, f._compression), reverse=True
        )
        self.feeds = {feed.instrument: feed for feed in coarse_first}
        for feed in coarse_first:
            info = live_commission(self._instruments[feed.instrument], self)
            self.addcommissioninfo(info, name=feed._name)

    def next(self) -> None:
        """Take up the book at the first turn, when strategies are there."""
        self._outcomes.adopt()

    def get_notification(self) -> Any:
        """Return the next order notification, or None."""
        return self._outcomes.news.get()

    def getcash(self) -> float:
        """Return the account's balance."""
        return float(self.trader.book.balance)

    def getvalue(self, datas: Sequence[LiveFeed] | None = None) -> float:
        """Return the net asset value, or the signed notional held in ``datas``."""
        if datas is None:
            return float(self.trader.net_asset_value())
        held = ((self.getcommissioninfo(d), self.getposition(d), d.close[0]) for d in datas)
        return float(sum(info.getvalue(position, price) for info, position, price in held))

    # backtrader's metaclass, which means to make these, puts them under the class's own name.
    get_cash = getcash
    get_value = getvalue

    def getposition(self, data: LiveFeed, clone: bool = True) -> bt.Position:
        """Return the position in the instrument of ``data``: its one strategy's."""
        position = self._outcomes.positions[data.instrument]
        return position.clone() if clone else position

    def orderstatus(self, order: Any) -> int:
        """Return the status of an order."""
        known = self._outcomes.of(order)
        return int(known.order.status if known else order.status)

    def buy(self, owner: Any, data: LiveFeed, size: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a buy; arguments as backtrader's. None where there is no bar to decide on."""
        return self._take(bt.order.BuyOrder, owner, data, size, *args, **kwargs)

    def sell(self, owner: Any, data: LiveFeed, size: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a sell; arguments as backtrader's. None where there is no bar to decide on."""
        return self._take(bt.order.SellOrder, owner, data, size, *args, **kwargs)

    def _take(
        self,
        kind: type[Any],
        owner: Any,
        data: LiveFeed,
        size: Any,
        price: float | None = None,
        plimit: float | None = None,
        exectype: int | None = None,
        valid: Any = None,
        tradeid: int = 0,
        oco: Any = None,
        trailamount: float | None = None,
        trailpercent: float | None = None,
        parent: Any = None,
        transmit: bool = True,
        **info: Any,
    ) -> Any:
        data = self.feeds[data.instrument]
        if not len(data):
            self._tell(NO_BAR, "an order before the first bar", owner, data.instrument)
            return None
        order = kind(
            owner=owner, data=data, size=size, price=price, pricelimit=plimit, exectype=exectype,
            valid=valid, tradeid=tradeid, oco=oco, trailamount=trailamount,
            trailpercent=trailpercent, parent=parent, transmit=transmit,
        )  # fmt: skip
        order.addinfo(**info)
        return self.submit(order)

    @property
    def deciding(self) -> bool:
        """Whether strategies may decide: not on bars of the past, nor before the book is known."""
        return self._store.deciding and self._outcomes.adopted

    def begin_step(self) -> None:
        """Hear that a strategy is about to see new bars."""
        self._decisions.begin()
        self._asked_at = self._store.clock.now() if self.deciding else None

    def end_step(self, strategy: Any) -> None:
        """Hear that a strategy has seen them, and has sent what it wants sent."""
        self._decisions.note(strategy, self._name(strategy), self._asked_at, self.trader.quote)

    # Orders out.

    def submit(self, order: Any) -> Any:
        """Take an order; a bracket leaves when its last child is here."""
        self._decisions.sent(order)
        order.submit(self)
        self._outcomes.news.put(order)
        entry = order if order.parent is None else order.parent
        group = self._held_back.setdefault(entry.ref, [])
        group.append(order)
        if order.transmit:
            del self._held_back[entry.ref]
            self._send_group(group)
        return order

    def _send_group(self, group: Sequence[Any]) -> None:
        entry, children = group[0], group[1:]
        try:
            working = self._prepared(entry, children)
        except RefusedOrderError as refused:
            for order in group:
                self._outcomes.reject(order, refused.reason.code, refused.detail)
            self._tell(refused.reason, refused.detail, entry.owner, entry.data.instrument)
            return
        self._send(working)

    def _prepared(self, entry: Any, children: Sequence[Any]) -> Working:
        """Register an order and its legs under the keys that the log will call them by."""
        if entry.parent is not None:
            raise RefusedOrderError(UNSUPPORTED, "a leg for an entry that has been sent already")
        decision = self._decision(entry)
        held = self.trader.book.positions().get(entry.data.instrument, Decimal(0))
        intents = intents_of(entry, children, held, decision, self._leg_names)
        working = Working(entry, decision.strategy)
        working.unsent.extend(intents)
        self._outcomes.register(working)
        for intent in intents:
            working.intents[intent.key] = intent
            self._outcomes.name(intent.key, working)
        for child in children:
            leg = working.legs[role_of(child)] = Working(child, working.strategy, parent=working)
            self._outcomes.register(leg)
        self._name_legs(working, intents[-1])
        units = float(sum(intent.units for intent in intents))
        for order in (entry, *children):
            _resize(order, units)
        return working

    def _name_legs(self, working: Working, intent: OrderIntent) -> None:
        for role, leg in working.legs.items():
            self._outcomes.name(leg_key(intent.key, role), leg)

    def _decision(self, order: Any) -> Decision:
        """Return who decides, on which step. Raises :class:`RefusedOrderError` if they may not."""
        strategy, instrument = self._name(order.owner), order.data.instrument
        if not self.deciding:
            raise RefusedOrderError(NOT_DECIDING, "an order while the bot catches up")
        if self.claims.get(instrument) != strategy:
            raise RefusedOrderError(NOT_CLAIMED, f"{instrument} is not traded by {strategy}")
        decided_at = max(data.bar.end for data in order.owner.datas if data.bar is not None)
        return Decision(self._account, strategy, self._instruments[instrument], decided_at)

    def _send(self, working: Working) -> None:
        """Send what is to be sent for an order: an exit first, the rest once that is filled."""
        while working.unsent and not working.unknown and not working.waiting:
            intent = working.unsent.popleft()
            working.unknown.add(intent.key)
            outcome = self._reading(partial(self.trader.submit, intent))
            if isinstance(outcome, Denial):
                working.unknown.discard(intent.key)
                self._outcomes.give_up(working, outcome.code, outcome.detail)
            elif isinstance(outcome, Verdict):
                self._outcomes.judge(working, outcome)

    def _reading(self, act: Callable[[], Any]) -> Any:
        """Do what may have to read the broker's log; where that fails, the store reads it later."""
        try:
            return act()
        except (OSError, NotReadyError) as error:
            log.warning("the broker's log could not be read: %s", error)
            self._store.read_log_soon()
            return None

    def refuse_size(self, owner: Any, data: LiveFeed, is_buy: bool, reason: str) -> None:
        """Tell that a strategy's order was never sent: the sizer found no valid size."""
        self._tell(NO_SIZE, f"{'buy' if is_buy else 'sell'}: {reason}", owner, data.instrument)

    # Cancel and replace.

    def cancel(self, order: Any) -> bool:
        """Cancel an order and, as in a backtest, the rest of its bracket; True if it was alive.

        What the broker does not have yet (an unknown outcome, a leg of an entry that has not
        filled) is cancelled when it turns up.
        """
        for entry_ref, group in list(self._held_back.items()):
            if any(order.ref == each.ref for each in group):
                for each in self._held_back.pop(entry_ref):
                    self._outcomes.cancelled(each, "CLIENT_REQUEST")
                return True
        working = self._outcomes.of(order)
        if working is None or not working.alive:
            return False
        for each in [working] if working.parent is None else working.family():
            self._cancel(each)
        return True

    def _cancel(self, working: Working) -> None:
        if not working.alive:
            return
        working.cancel_wanted = True
        working.unsent.clear()
        for order_id in sorted(working.waiting):
            self._reading(partial(self.trader.cancel, order_id))

    def cancel_later(self, working: Working) -> None:
        """Cancel what waits at the broker for an order once the log at hand is dealt with."""
        self._store.soon(lambda: self._cancel(working))

    def replace(self, order: Any, price: float, size: float | None = None) -> bool:
        """Put a waiting limit or stop entry at another price, keeping its legs; True if sent.

        It stays the same order for the strategy. backtrader has no replace: this is for strategies
        that know they are live. False where there is nothing to replace, or a rule denies it.
        """
        working = self._outcomes.of(order)
        if working is None or len(working.waiting) != 1 or working.unknown:
            return False
        before = next(reversed(working.intents.values()), None)
        if before is None or before.type is OrderType.MARKET:
            return False
        try:
            decision = self._decision(working.order)
            intent = moved(before, price, size, decision, self._leg_names)
        except RefusedOrderError as refused:
            self._tell(refused.reason, refused.detail, order.owner, order.data.instrument)
            return False
        (order_id,) = working.waiting
        working.intents[intent.key] = intent
        working.unknown.add(intent.key)
        self._outcomes.name(intent.key, working)
        self._name_legs(working, intent)
        outcome = self._reading(lambda: self.trader.replace(order_id, intent))
        if isinstance(outcome, Denial) or (outcome and outcome.fate is not Fate.UNKNOWN):
            working.unknown.discard(intent.key)
        if isinstance(outcome, Verdict) and outcome.fate is Fate.PLACED:
            return True
        if intent.key not in working.unknown:
            del working.intents[intent.key]
            self._name_legs(working, before)
        return False

    # News.

    def has_news(self) -> bool:
        """Tell whether notifications wait for strategies."""
        return bool(self._outcomes.news)

    def told(self, transaction: Transaction) -> None:
        """Hear one transaction, after the book has it."""
        self._outcomes.told(transaction)

    def settled(self, verdict: Verdict) -> None:
        """Hear what became of an order of unknown outcome."""
        self._outcomes.settled(verdict)

    def recheck(self) -> None:
        """Settle what the protocol knows and was kept from saying."""
        self._outcomes.recheck(self.trader.protocol.fate)

    def owner_of(self, instrument: str) -> Any:
        """Return the strategy object that the instrument belongs to, or None."""
        name = self.claims.get(instrument)
        return None if name is None else self.cerebro.runningstrats[self._names.index(name)]

    def _name(self, owner: Any) -> str:
        return str(self._names[owner._id])

    def _tell(self, reason: Reason, detail: str, owner: Any, instrument: str) -> None:
        self.trader.tell(
            reason.code, detail, "warning", strategy=self._name(owner), instrument=instrument
        )


def _resize(order: Any, units: float) -> None:
    """Make an order as large as what is sent for it: whole steps of the instrument's units."""
    signed = units if order.isbuy() else -units
    order.size = order.created.size = order.executed.remsize = signed
