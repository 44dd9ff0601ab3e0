"""/changes: what happened to an account since a transaction, and what depends on prices now."""

from mbats.local.oanda_sim import views
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.money import price_text
from mbats.local.oanda_sim.state import CREATES, Document


def since(account: Account, transaction_id: int) -> Document:
    """Return ``changes`` and ``state`` since ``transaction_id`` (exclusive)."""
    made = list(account.ledger.documents(transaction_id + 1))
    orders: dict[str, dict[int, None]] = {
        "ordersCreated": {}, "ordersCancelled": {}, "ordersFilled": {}, "ordersTriggered": {},
    }  # fmt: skip
    trades: dict[str, dict[int, None]] = {
        "tradesOpened": {}, "tradesReduced": {}, "tradesClosed": {},
    }  # fmt: skip
    positions: dict[str, None] = {}
    for tx in made:
        kind = tx["type"]
        if kind in CREATES:
            orders["ordersCreated"][int(tx["id"])] = None
        elif kind == "ORDER_CANCEL":
            orders["ordersCancelled"][int(tx["orderID"])] = None
        elif kind == "ORDER_FILL":
            orders["ordersFilled"][int(tx["orderID"])] = None
            positions[tx["instrument"]] = None
            _trades_of(tx, trades)
        elif kind == "DAILY_FINANCING":
            positions.update(dict.fromkeys(p["instrument"] for p in tx["positionFinancings"]))
    state = account.state
    changes: Document = {
        key: [views.order(account, state.orders[i]) for i in ids] for key, ids in orders.items()
    }
    for key, ids in trades.items():
        changes[key] = [views.trade(account, state.trades[i], linked=False) for i in ids]
    changes["positions"] = [views.position(account, name) for name in positions]
    changes["transactions"] = made
    return {
        "changes": changes,
        "state": _price_dependent(account),
        "lastTransactionID": str(account.ledger.last_id),
    }


def _trades_of(fill: Document, trades: dict[str, dict[int, None]]) -> None:
    if "tradeOpened" in fill:
        trades["tradesOpened"][int(fill["tradeOpened"]["tradeID"])] = None
    if "tradeReduced" in fill:
        trades["tradesReduced"][int(fill["tradeReduced"]["tradeID"])] = None
    for part in fill.get("tradesClosed", []):
        trades["tradesClosed"][int(part["tradeID"])] = None


def _price_dependent(account: Account) -> Document:
    state = account.state
    positions = []
    for name in views.open_instruments(account):
        shown = views.position(account, name)
        positions.append(
            {
                "instrument": name,
                "netUnrealizedPL": shown["unrealizedPL"],
                "longUnrealizedPL": shown["long"]["unrealizedPL"],
                "shortUnrealizedPL": shown["short"]["unrealizedPL"],
                "marginUsed": shown["marginUsed"],
            }
        )
    return {
        **views.figures(account),
        "orders": [_trailing(account, order_id) for order_id in account.trails],
        "trades": [
            {"id": str(t.id), **views.trade_state(account, t)} for t in state.open_trades.values()
        ],
        "positions": positions,
    }


def _trailing(account: Account, order_id: int) -> Document:
    """Return where a trailing stop is by now, and how far the price is from it."""
    order = account.state.orders[order_id]
    trade = account.state.trades[order.trade_id or 0]
    top, value = account.market.tops[order.instrument], account.trails[order_id]
    precision = account.spec_of(order.instrument).precision
    return {
        "id": str(order_id),
        "trailingStopValue": price_text(value, precision),
        "triggerDistance": price_text(
            top.best_bid - value if trade.is_long else value - top.best_ask, precision
        ),
        "isTriggerDistanceExact": True,
    }
