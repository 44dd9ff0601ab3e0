"""An account at work: its ledger, the market it trades in, and the trails of its trailing stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from mbats.local.oanda_sim.behaviour import Behaviour
from mbats.local.oanda_sim.book import Market
from mbats.local.oanda_sim.config import AccountSpec, Spec
from mbats.local.oanda_sim.ledger import Batch, Commit, Ledger
from mbats.local.oanda_sim.state import DEPENDENT, Document, Order, State


class Account:
    """What the rules act on.

    ``trails`` holds the trailing stop value of each pending trailing stop. It depends on the
    prices since the order was made, so it is market data and no part of the folded state.
    """

    def __init__(
        self, spec: AccountSpec, market: Market, behaviour: Behaviour, on_commit: Commit
    ) -> None:
        self.spec = spec
        self.market = market
        self.behaviour = behaviour
        self.ledger = Ledger(spec, on_commit)
        self.trails: dict[int, Decimal] = {}
        self._priced_by: tuple[int, frozenset[str]] = (0, frozenset())

    @property
    def state(self) -> State:
        """The state folded from the log."""
        return self.ledger.state

    @contextmanager
    def batch(self, now_ns: int) -> Iterator[Batch]:
        """Make one batch of transactions; all of it happens, or nothing does."""
        trails, taken = dict(self.trails), self.market.taken()
        try:
            with self.ledger.batch(now_ns) as batch:
                yield batch
        except BaseException:
            self.trails = trails
            self.market.restore_taken(taken)
            raise

    def spec_of(self, instrument: str) -> Spec:
        """Return the instrument's spec."""
        return self.market.specs[instrument]

    def priced_by(self) -> frozenset[str]:
        """Return the instruments whose price moves this account's margin figures."""
        known_at, names = self._priced_by
        if known_at != self.ledger.last_id:
            traded = {trade.instrument for trade in self.state.open_trades.values()}
            parts = {part for name in traded for part in name.split("_")}
            parts |= {self.state.currency, "USD"}
            names = frozenset(
                name for name in self.market.specs
                if traded and (name in traded or set(name.split("_")) <= parts)
            )  # fmt: skip
            self._priced_by = (self.ledger.last_id, names)
        return names

    def client_id_taken(self, client_id: str, replaced: Order | None = None) -> bool:
        """Tell whether a new order may not have that client id; ``replaced`` gives its own up."""
        holder = self.state.order_by_client_id(client_id)
        if holder is not None and holder is not replaced:
            return True
        if self.behaviour.client_id_free_after_end or replaced is not None:
            return False
        return client_id in self.state.used_client_ids

    def cancel(self, batch: Batch, order: Order, reason: str, **fields: object) -> Document:
        """Cancel a pending order."""
        self.trails.pop(order.id, None)
        return batch.add(
            "ORDER_CANCEL",
            orderID=str(order.id),
            clientOrderID=order.client.get("id"),
            reason=reason,
            **fields,
        )

    def create_dependent(
        self, batch: Batch, trade_id: int, kind: str, fields: Document, **more: object
    ) -> Document:
        """Create a take profit, stop loss or trailing stop of an open trade.

        ``fields`` are as read from the request; a stop loss distance becomes a price, measured
        from the trade's price on fill and from the current price otherwise.
        """
        trade = self.state.trades[trade_id]
        fields = {"triggerCondition": "DEFAULT", **fields}
        if kind != "TRAILING_STOP_LOSS" and "price" not in fields:
            fields["price"] = self._price_at_distance(trade_id, kind, fields, more.get("reason"))
        created = batch.add(
            f"{kind}_ORDER", tradeID=str(trade_id), clientTradeID=trade.client.get("id"),
            **fields, **more,
        )  # fmt: skip
        if kind == "TRAILING_STOP_LOSS":
            self.trails[int(created["id"])] = self._first_trail(trade_id, fields["distance"])
        return created

    def _price_at_distance(self, trade_id: int, kind: str, fields: Document, reason: object) -> str:
        trade = self.state.trades[trade_id]
        price = trade.price
        if reason != "ON_FILL":
            top = self.market.tops[trade.instrument]
            price = top.best_bid if trade.is_long else top.best_ask
        away = Decimal(fields["distance"])
        up = trade.is_long == (kind == "TAKE_PROFIT")
        return (
            f"{price + away if up else price - away:.{self.spec_of(trade.instrument).precision}f}"
        )

    def _first_trail(self, trade_id: int, distance: str) -> Decimal:
        trade = self.state.trades[trade_id]
        top = self.market.tops[trade.instrument]
        away = Decimal(distance)
        return top.best_bid - away if trade.is_long else top.best_ask + away

    def follow(self, instrument: str) -> bool:
        """Let trailing stops of ``instrument`` follow its newest price; say whether any moved."""
        if not self.trails:
            return False
        moved = False
        for order_id in sorted(self.trails):
            order = self.state.pending[order_id]
            if order.instrument != instrument or order.trade_id is None:
                continue
            trail = self._first_trail(order.trade_id, order.create["distance"])
            choose = max if self.state.trades[order.trade_id].is_long else min
            better = choose(trail, self.trails[order_id])
            moved = moved or better != self.trails[order_id]
            self.trails[order_id] = better
        return moved

    def restore_trails(self, batch: list[Document]) -> None:
        """Take up the trails of orders in a batch that is replayed from a file."""
        for transaction in batch:
            if transaction["type"] == "TRAILING_STOP_LOSS_ORDER":
                self.trails[int(transaction["id"])] = self._first_trail(
                    int(transaction["tradeID"]), transaction["distance"]
                )
            elif "orderID" in transaction:
                self.trails.pop(int(transaction["orderID"]), None)

    def dependents_first(self, instrument: str) -> list[Order]:
        """Return the pending orders of ``instrument``: those that close trades first, by id.

        Exits come before entries so that one price cannot open what it should have closed.
        """
        orders = [o for o in self.state.pending.values() if o.instrument == instrument]
        return sorted(orders, key=lambda o: (o.kind not in DEPENDENT, o.id))
