"""What a client asks of open trades: close, dependent orders, client extensions."""

from decimal import Decimal
from typing import Any

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import invalid, not_found, rejected
from mbats.local.oanda_sim.fill import Want, fill
from mbats.local.oanda_sim.money import is_id, plain_text
from mbats.local.oanda_sim.requests import (
    Reading,
    decimal_places,
    number,
    read_client,
    read_dependent,
)
from mbats.local.oanda_sim.state import Document, Trade
from mbats.local.oanda_sim.trigger import evaluate_order

_PARTS = {
    "takeProfit": "TAKE_PROFIT",
    "stopLoss": "STOP_LOSS",
    "trailingStopLoss": "TRAILING_STOP_LOSS",
}


def find_trade(account: Account, specifier: str) -> Trade:
    """Return the trade that a number or ``@client-id`` (open trades only) names; 404 if none."""
    trade = open_trade(account, specifier)
    if trade is None and is_id(specifier):
        trade = account.state.trades.get(int(specifier))
    if trade is None:
        raise not_found("NO_SUCH_TRADE", account.ledger.last_id)
    return trade


def _named(trade: Trade | None, specifier: str) -> Document:
    """Return how a transaction names a trade: by its id, and by the client id that was asked."""
    named = {"tradeID": specifier} if trade is None else {"tradeID": str(trade.id)}
    if not specifier.startswith("@"):
        return named
    by_client = {"clientTradeID": specifier[1:]}
    return by_client if trade is None else {**named, **by_client}


def _had(trade: Trade | None) -> Document:
    """Return the client id that a trade has before it is modified."""
    return (
        {} if trade is None or "id" not in trade.client else {"clientTradeID": trade.client["id"]}
    )


def open_trade(account: Account, specifier: str) -> Trade | None:
    """Return the open trade that a number or ``@client-id`` names."""
    if specifier.startswith("@"):
        return account.state.trade_by_client_id(specifier[1:])
    if not is_id(specifier):
        raise invalid("tradeSpecifier")
    return account.state.open_trades.get(int(specifier))


def close(account: Account, now_ns: int, specifier: str, body: Any) -> Document:
    """Close a trade wholly or in part: a market order with reason TRADE_CLOSE. The answer is 200.

    ``body`` is ``{"units": "ALL" | "n"}``, n positive. Raises 400 or 404 with the reject.
    """
    trade = open_trade(account, specifier)
    asked = (body or {}).get("units", "ALL")
    all_of_it = asked == "ALL"
    units = Decimal(0) if all_of_it else number(asked, "units")
    reject = _why_not_close(account, trade, all_of_it, units)
    with account.batch(now_ns) as batch:
        what = {"units": "ALL" if all_of_it else plain_text(units), **_named(trade, specifier)}
        common: Document = {
            "timeInForce": "FOK",
            "positionFill": "REDUCE_ONLY",
            "reason": "TRADE_CLOSE",
            "tradeClose": what,
        }
        if trade is None or reject is not None:
            instrument = trade.instrument if trade else None
            made = batch.add(
                "MARKET_ORDER_REJECT", rejectReason=reject, instrument=instrument, **common
            )
            status = 404 if trade is None else 400
            refusal = rejected(
                status, {"orderRejectTransaction": made, **batch.related()}, str(reject)
            )
        else:
            size = abs(trade.units) if all_of_it else units
            signed = -size if trade.is_long else size
            return market_close(
                account, batch, trade.instrument, signed, (trade.id,), common, "order"
            )
    raise refusal


def _why_not_close(
    account: Account, trade: Trade | None, all_of_it: bool, units: Decimal
) -> str | None:
    if trade is None:
        return "TRADE_DOESNT_EXIST"
    if all_of_it:
        return None
    if units <= 0:
        return "UNITS_INVALID"
    if decimal_places(units) > account.spec_of(trade.instrument).instrument.units_precision:
        return "UNITS_PRECISION_EXCEEDED"
    return "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE" if units > abs(trade.units) else None


def market_close(
    account: Account,
    batch: Any,
    instrument: str,
    units: Decimal,
    trades: tuple[int, ...],
    common: Document,
    stem: str,
) -> Document:
    """Add a market order that closes ``trades``, and its fill or cancel, and name them.

    ``stem`` is that of the answer's keys: ``order``, ``longOrder`` or ``shortOrder``.
    """
    created = batch.add("MARKET_ORDER", instrument=instrument, units=plain_text(units), **common)
    order = account.state.orders[int(created["id"])]
    want = Want(
        order.id, instrument, units, f"MARKET_ORDER_{common['reason']}", "REDUCE_ONLY",
        trades=trades, create=created,
    )  # fmt: skip
    answer = {f"{stem}CreateTransaction": created}
    reason = fill(account, batch, want)
    if reason is None:
        answer[f"{stem}FillTransaction"] = next(
            tx for tx in batch.made
            if tx["type"] == "ORDER_FILL" and tx["orderID"] == created["id"]
        )  # fmt: skip
    else:
        answer[f"{stem}CancelTransaction"] = account.cancel(batch, order, reason)
    return {**answer, **batch.related()}


def set_dependents(account: Account, now_ns: int, specifier: str, body: Any) -> Document:
    """Create, replace or cancel (null) a trade's take profit, stop loss and trailing stop.

    A key that is not in ``body`` leaves its order alone. Raises 400 or 404 with the rejects.
    """
    trade = open_trade(account, specifier)
    if trade is None:
        raise not_found("NO_SUCH_TRADE", account.ledger.last_id)
    if not isinstance(body, dict):
        raise invalid("body")
    readings = {}
    for part, kind in _PARTS.items():
        if body.get(part) is not None:
            reading = Reading(account.spec_of(trade.instrument), now_ns, {})
            reading.fields.update(read_dependent(reading, body[part], kind, on_fill=False))
            readings[part] = reading
    if body.get("guaranteedStopLoss") is not None:
        reading = Reading(account.spec_of(trade.instrument), now_ns, {})
        reading.refuse("STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED")
        readings["stopLoss"] = reading
    _check_client_ids(account, trade, readings)
    wrong = {part: reading for part, reading in readings.items() if reading.reject}
    if wrong:
        _reject_dependents(account, now_ns, trade, wrong)
    return _apply_dependents(account, now_ns, trade, body, readings)


def _check_client_ids(account: Account, trade: Trade, readings: dict[str, Reading]) -> None:
    """Refuse client ids that another pending order has, or another of the same request."""
    given: set[str] = set()
    for part, reading in readings.items():
        client_id = reading.fields.get("clientExtensions", {}).get("id")
        if client_id is None:
            continue
        old = account.state.pending.get(trade.dependents.get(_PARTS[part], 0))
        if client_id in given or account.client_id_taken(client_id, old):
            reading.refuse("CLIENT_ORDER_ID_ALREADY_EXISTS")
        given.add(client_id)


def _apply_dependents(
    account: Account, now_ns: int, trade: Trade, body: Document, readings: dict[str, Reading]
) -> Document:
    answer: Document = {}
    with account.batch(now_ns) as batch:
        made = []
        for part, kind in _PARTS.items():
            if part not in body and part not in readings:
                continue
            old = account.state.pending.get(trade.dependents.get(kind, 0))
            link: Document = {"reason": "CLIENT_ORDER"}
            if old is not None:
                replaced = part in readings
                why = "CLIENT_REQUEST_REPLACED" if replaced else "CLIENT_REQUEST"
                by = {"replacedByOrderID": str(batch.next_id + 1)} if replaced else {}
                answer[f"{part}OrderCancelTransaction"] = account.cancel(batch, old, why, **by)
                link = {
                    "reason": "REPLACEMENT", "replacesOrderID": str(old.id),
                    "cancellingTransactionID": answer[f"{part}OrderCancelTransaction"]["id"],
                }  # fmt: skip
            if part in readings:
                created = account.create_dependent(
                    batch, trade.id, kind, readings[part].fields, **link
                )
                answer[f"{part}OrderTransaction"] = created
                made.append((part, int(created["id"])))
        for part, order_id in made:
            if order_id in account.state.pending:
                before = len(batch.made)
                evaluate_order(account, batch, account.state.pending[order_id])
                for tx in batch.made[before:]:
                    if tx["type"] == "ORDER_FILL" and tx["orderID"] == str(order_id):
                        answer[f"{part}OrderFillTransaction"] = tx
        if not batch.made:
            return {"relatedTransactionIDs": [], "lastTransactionID": str(account.ledger.last_id)}
        return {**answer, **batch.related()}


def _reject_dependents(
    account: Account, now_ns: int, trade: Trade, wrong: dict[str, Reading]
) -> None:
    named: Document = {}
    code = ""
    with account.batch(now_ns) as batch:
        for part, reading in wrong.items():
            code = code or str(reading.reject)
            named[f"{part}OrderRejectTransaction"] = batch.add(
                f"{_PARTS[part]}_ORDER_REJECT", rejectReason=reading.reject,
                tradeID=str(trade.id), reason="CLIENT_ORDER", **reading.fields,
            )  # fmt: skip
        related = batch.related()
    raise rejected(400, {**named, **related}, code)


def modify_client(account: Account, now_ns: int, specifier: str, body: Any) -> Document:
    """Change the client extensions of an open trade."""
    named = "tradeClientExtensionsModifyTransaction"
    trade = open_trade(account, specifier)
    client = reject = None
    if trade is None:
        reject = "TRADE_DOESNT_EXIST"
    else:
        reading = Reading(account.spec_of(trade.instrument), now_ns, {})
        client = read_client(reading, body or {}, "clientExtensions", "CLIENT_TRADE")
        reject = reading.reject or (None if client else "CLIENT_EXTENSIONS_DATA_MISSING")
        holder = account.state.trade_by_client_id((client or {}).get("id", ""))
        if holder not in (None, trade):
            reject = reject or "CLIENT_TRADE_ID_ALREADY_EXISTS"
    with account.batch(now_ns) as batch:
        made = batch.add(
            "TRADE_CLIENT_EXTENSIONS_MODIFY" + ("_REJECT" if reject else ""),
            **{**_named(trade, specifier), **_had(trade)},
            tradeClientExtensionsModify=client,
            rejectReason=reject,
        )
        related = batch.related()
    if reject is not None:
        name = named.replace("Modify", "ModifyReject")
        raise rejected(404 if trade is None else 400, {name: made, **related}, reject)
    return {named: made, **related}
