"""state = fold(apply, log): the only code that changes an account's state.

Every transaction is a document as OANDA writes it; nothing that is not in the log is in the state.
"""

from collections.abc import Iterable
from decimal import Decimal

from mbats.local.oanda_sim.state import (
    CANCELLED,
    CREATES,
    FILLED,
    Document,
    Order,
    PositionTotals,
    State,
    Trade,
)


def fold(transactions: Iterable[Document]) -> State:
    """Return the state after ``transactions``, the whole log from its first."""
    state = State()
    for transaction in transactions:
        apply(state, transaction)
    return state


def apply(state: State, transaction: Document) -> None:
    """Change ``state`` by one transaction. Rejects and unknown types change only the last id."""
    kind = transaction["type"]
    if kind in CREATES:
        _create_order(state, transaction)
    elif (handler := _HANDLERS.get(kind)) is not None:
        handler(state, transaction)
    state.last_id = int(transaction["id"])


def _create(state: State, tx: Document) -> None:
    state.created = tx["time"]
    state.currency = tx["homeCurrency"]


def _configure(state: State, tx: Document) -> None:
    state.alias = tx.get("alias", state.alias)
    if "marginRate" in tx:
        state.margin_rate = Decimal(tx["marginRate"])


def _transfer(state: State, tx: Document) -> None:
    state.transfers += Decimal(tx["amount"])
    state.balance = Decimal(tx["accountBalance"])


def _create_order(state: State, tx: Document) -> None:
    trade_id = int(tx["tradeID"]) if "tradeID" in tx else None
    instrument = tx.get("instrument") or state.trades[trade_id or 0].instrument
    order = Order(
        id=int(tx["id"]),
        kind=CREATES[tx["type"]],
        instrument=instrument,
        units=Decimal(tx.get("units", 0)),
        create=tx,
        client=dict(tx.get("clientExtensions", {})),
        trade_id=trade_id,
    )
    state.orders[order.id] = order
    state.pending[order.id] = order
    if "id" in order.client:
        state.used_client_ids.add(order.client["id"])
    if trade_id is not None:
        state.trades[trade_id].dependents[order.kind] = order.id


def _cancel(state: State, tx: Document) -> None:
    order = _end(state, int(tx["orderID"]), CANCELLED)
    order.ended["cancelledTime"] = tx["time"]
    order.ended["cancellingTransactionID"] = tx["id"]
    if "replacedByOrderID" in tx:
        order.ended["replacedByOrderID"] = tx["replacedByOrderID"]


def _end(state: State, order_id: int, how: str) -> Order:
    order = state.pending.pop(order_id)
    order.state = how
    if order.trade_id is not None:
        dependents = state.trades[order.trade_id].dependents
        if dependents.get(order.kind) == order_id:
            del dependents[order.kind]
    return order


def _fill(state: State, tx: Document) -> None:
    order = _end(state, int(tx["orderID"]), FILLED)
    order.ended["filledTime"] = tx["time"]
    order.ended["fillingTransactionID"] = tx["id"]
    closed = tx.get("tradesClosed", [])
    for part in closed:
        _close(state, tx, part)
    if closed:
        order.ended["tradeClosedIDs"] = [part["tradeID"] for part in closed]
    if "tradeReduced" in tx:
        _close(state, tx, tx["tradeReduced"])
        order.ended["tradeReducedID"] = tx["tradeReduced"]["tradeID"]
    if "tradeOpened" in tx:
        _open(state, tx)
        order.ended["tradeOpenedID"] = tx["tradeOpened"]["tradeID"]
    state.pl += Decimal(tx["pl"])
    state.commission += Decimal(tx["commission"])
    state.balance = Decimal(tx["accountBalance"])
    state.positions.setdefault(tx["instrument"], PositionTotals()).commission += Decimal(
        tx["commission"]
    )


def _open(state: State, tx: Document) -> None:
    opened = tx["tradeOpened"]
    units = Decimal(opened["units"])
    trade = Trade(
        id=int(opened["tradeID"]),
        instrument=tx["instrument"],
        price=Decimal(opened["price"]),
        open_time=tx["time"],
        initial_units=units,
        units=units,
        initial_margin=Decimal(opened["initialMarginRequired"]),
        client=dict(opened.get("clientExtensions", {})),
    )
    state.trades[trade.id] = trade
    state.open_trades[trade.id] = trade


def _close(state: State, tx: Document, part: Document) -> None:
    trade = state.open_trades[int(part["tradeID"])]
    units = Decimal(part["units"])
    realized = Decimal(part["realizedPL"])
    trade.units += units
    trade.realized_pl += realized
    trade.closed_units += abs(units)
    trade.closed_value += abs(units) * Decimal(part["price"])
    trade.closing_ids.append(tx["id"])
    totals = state.positions.setdefault(trade.instrument, PositionTotals())
    totals.side(trade.is_long).pl += realized
    if not trade.units:
        trade.close_time = tx["time"]
        del state.open_trades[trade.id]


def _financing(state: State, tx: Document) -> None:
    state.financing += Decimal(tx["financing"])
    state.balance = Decimal(tx["accountBalance"])
    for position in tx["positionFinancings"]:
        totals = state.positions.setdefault(position["instrument"], PositionTotals())
        for part in position["openTradeFinancings"]:
            trade = state.trades[int(part["tradeID"])]
            amount = Decimal(part["financing"])
            trade.financing += amount
            totals.side(trade.is_long).financing += amount


def _order_client(state: State, tx: Document) -> None:
    order = state.orders[int(tx["orderID"])]
    order.client.update(tx.get("clientExtensionsModify", {}))
    if "tradeClientExtensionsModify" in tx and order.trade_id is None:
        old = order.create.get("tradeClientExtensions", {})
        merged = {**old, **tx["tradeClientExtensionsModify"]}
        order.create = {**order.create, "tradeClientExtensions": merged}
    if "id" in order.client:
        state.used_client_ids.add(order.client["id"])


def _trade_client(state: State, tx: Document) -> None:
    state.trades[int(tx["tradeID"])].client.update(tx["tradeClientExtensionsModify"])


def _enter_margin_call(state: State, tx: Document) -> None:
    state.margin_call_since = tx["time"]


def _exit_margin_call(state: State, tx: Document) -> None:
    state.margin_call_since = None


_HANDLERS = {
    "CREATE": _create,
    "CLIENT_CONFIGURE": _configure,
    "TRANSFER_FUNDS": _transfer,
    "ORDER_CANCEL": _cancel,
    "ORDER_FILL": _fill,
    "DAILY_FINANCING": _financing,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": _order_client,
    "TRADE_CLIENT_EXTENSIONS_MODIFY": _trade_client,
    "MARGIN_CALL_ENTER": _enter_margin_call,
    "MARGIN_CALL_EXIT": _exit_margin_call,
}
