"""What an account looks like at a moment, as rows: heartbeat, equity, positions."""

from datetime import datetime
from decimal import Decimal

from mbats.live import valuation
from mbats.live.events import Row, nine
from mbats.live.orders.ports import AccountState
from mbats.live.orders.transactions import BalanceChanged, OrderFilled, Transaction
from mbats.live.plan import Plan
from mbats.live.session import claims
from mbats.live.trader import Trader
from mbats.live.worth import Worth
from mbats.trading.risk.context import RiskContext

_NOTHING = Decimal(0)


class AccountRows:
    """Makes the rows of one session, from its trader."""

    def __init__(self, plan: Plan, trader: Trader) -> None:
        self._plan = plan
        self._trader = trader
        self._run_id = plan.account.run_id
        self._owners = claims(plan.assignments)
        self._financing = _NOTHING

    def hear(self, transaction: Transaction) -> None:
        """Hear what happened to the account: financing is charged each day and with every close."""
        match transaction:
            case BalanceChanged(type="DAILY_FINANCING"):
                self._financing += transaction.amount
            case OrderFilled():
                self._financing += transaction.financing

    def heartbeat(self, now: datetime, fencing: int) -> Row:
        """Return a sign of life: how old prices are, how far the log is read, what is held."""
        trader, book = self._trader, self._trader.book
        quotes = (trader.quote(name) for name in self._plan.account.instruments)
        newest = max((q.time for q in quotes if q is not None), default=None)
        return {
            "source": f"bot-{self._plan.account.account}",
            "time": now,
            "run_id": self._run_id,
            "instance": self._plan.trace_id,
            "fencing": fencing,
            "lag_seconds": None if newest is None else (now - newest).total_seconds(),
            "transaction_id": str(book.cursor),
            "detail": {
                "state": trader.state,
                "positions": {k: str(v) for k, v in book.positions().items()},
                "unresolved": len(trader.protocol.unresolved),
                "approved": trader.ledger.approved,
                "sent": trader.ledger.sent,
                "worth": Worth.of(trader, self._plan.account.currency).to_detail(),
            },
        }

    def equity(self, now: datetime, said: AccountState | None = None) -> Row:
        """Return a point of the equity curve: as the broker has ``said``, or at newest prices.

        Money is in account currency.
        """
        context, balance = self._trader.context(), self._trader.book.balance
        value, peak = context.net_asset_value, context.peak_value
        used = valuation.margin_used(
            context.positions, self._plan.account.instruments, context.rates
        )
        if said is not None:
            value, balance, used = said.net_asset_value, said.balance, said.margin_used
        notional = [
            (context.notional(name, units) or _NOTHING) * (1 if units > 0 else -1)
            for name, units in context.positions.items()
        ]
        return {
            "run_id": self._run_id,
            "time": now,
            "net_asset_value": value,
            "balance": balance,
            "unrealised_pnl": value - balance,
            "drawdown_fraction": max(float(1 - value / peak), 0.0) if peak > 0 else 0.0,
            "gross_exposure": sum(map(abs, notional), _NOTHING),
            "net_exposure": sum(notional, _NOTHING),
            "margin_used": used,
            "financing": self._financing,
        }

    def positions(self, now: datetime) -> list[Row]:
        """Return a row of each instrument that is held."""
        context = self._trader.context()
        return [self._position(name, now, context) for name in context.positions]

    def after(self, fill: OrderFilled) -> Row:
        """Return the position that a fill has left; one that is closed has no units."""
        context = self._trader.context()
        if fill.instrument in context.positions:
            return self._position(fill.instrument, fill.time, context)
        return {
            "run_id": self._run_id,
            "strategy": self._owners.get(fill.instrument, ""),
            "instrument": fill.instrument,
            "time": fill.time,
            "units": _NOTHING,
            "average_price": fill.price,
            "price": fill.price,
            "unrealised_pnl": _NOTHING,
            "notional": _NOTHING,
        }

    def _position(self, name: str, now: datetime, context: RiskContext) -> Row:
        trades = [t for t in self._trader.book.trades.values() if t.instrument == name]
        units = sum((t.units for t in trades), _NOTHING)
        cost = sum((t.units * t.price for t in trades), _NOTHING)
        quote = self._trader.quote(name)
        price = cost / units if quote is None else (quote.bid if units > 0 else quote.ask)
        rate = context.rates.get(name.rsplit("_", 1)[1], _NOTHING)
        return {
            "run_id": self._run_id,
            "strategy": self._owners.get(name, ""),
            "instrument": name,
            "time": now,
            "units": units,
            "average_price": nine(cost / units),
            "price": nine(price),
            "unrealised_pnl": nine((price * units - cost) * rate),
            "notional": nine(context.notional(name, units) or _NOTHING),
        }
