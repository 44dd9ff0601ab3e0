"""What a client asks of orders: create, replace, cancel, change extensions."""

from typing import Any

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import invalid, not_found, rejected
from mbats.local.oanda_sim.fill import Want, fill
from mbats.local.oanda_sim.ledger import Batch
from mbats.local.oanda_sim.money import is_id, price_text
from mbats.local.oanda_sim.requests import (
    TIMES_OF,
    Reading,
    number,
    read_client,
    read_dependent,
    read_entry,
)
from mbats.local.oanda_sim.state import CREATES, DEPENDENT, Document, Order
from mbats.local.oanda_sim.trigger import evaluate_order

_CREATE_TYPE = {kind: created for created, kind in CREATES.items()}


def create(account: Account, now_ns: int, body: Any) -> Document:
    """Create the order of ``body`` and fill it if it fills at once. The answer is a 201.

    Raises :class:`~mbats.local.oanda_sim.answers.Refusal`: 400 (404 for a trade that is not there)
    with the reject transaction.
    """
    kind, reading = _read(account, now_ns, body)
    _check_against_account(account, reading, kind, None)
    with account.batch(now_ns) as batch:
        made = _create_in(account, batch, kind, reading, reason="CLIENT_ORDER")
        answer = {**made, **batch.related()}
    return _or_reject(answer, reading)


def replace(account: Account, now_ns: int, specifier: str, body: Any) -> Document:
    """Replace a pending order: it is cancelled and a new one created, in one batch. A 201."""
    old = pending_order(account, specifier)
    if old is None:
        return _reject_missing(account, now_ns, specifier, "orderCancelRejectTransaction")
    kind, reading = _read(account, now_ns, body)
    if kind != old.kind:
        reading.refuse("REPLACING_ORDER_INVALID")
    if old.trade_id is not None and reading.fields.get("tradeID") != str(old.trade_id):
        reading.refuse("REPLACING_TRADE_ID_INVALID")
    if "clientExtensions" not in reading.fields and old.client:
        reading.fields["clientExtensions"] = dict(old.client)
    _check_against_account(account, reading, kind, old)
    with account.batch(now_ns) as batch:
        answer: Document = {}
        by: dict[str, str] = {}
        link = "intendedReplacesOrderID"
        if reading.reject is None:
            link = "replacesOrderID"
            cancelled = account.cancel(
                batch, old, "CLIENT_REQUEST_REPLACED", replacedByOrderID=str(batch.next_id + 1)
            )
            answer["orderCancelTransaction"] = cancelled
            by["cancellingTransactionID"] = cancelled["id"]
        more = {"reason": "REPLACEMENT", link: str(old.id), **by}
        if kind == "MARKET":  # replaces nothing: its reject knows no replacement
            more = {"reason": "CLIENT_ORDER"}
        made = _create_in(account, batch, kind, reading, **more)
        if "orderCancelTransaction" in made:
            made["replacingOrderCancelTransaction"] = made.pop("orderCancelTransaction")
        answer.update(made)
        answer.update(batch.related())
    if reading.reject is not None:
        raise rejected(400, answer, reading.reject)
    return answer


def cancel(account: Account, now_ns: int, specifier: str) -> Document:
    """Cancel a pending order. Raises a 404 with an ORDER_CANCEL_REJECT if it is not pending."""
    order = pending_order(account, specifier)
    if order is None:
        return _reject_missing(account, now_ns, specifier, "orderCancelRejectTransaction")
    with account.batch(now_ns) as batch:
        made = account.cancel(batch, order, "CLIENT_REQUEST")
        return {"orderCancelTransaction": made, **batch.related()}


def modify_client(account: Account, now_ns: int, specifier: str, body: Any) -> Document:
    """Change the client extensions of a pending order and of the trade it would open."""
    named = "orderClientExtensionsModifyTransaction"
    order = pending_order(account, specifier)
    reading = Reading(account.spec_of(order.instrument), now_ns, {}) if order else None
    own = trade = None
    if reading is not None:
        own = read_client(reading, body, "clientExtensions", "CLIENT_ORDER")
        trade = read_client(reading, body, "tradeClientExtensions", "CLIENT_TRADE")
    reject = _why_no_modification(account, order, reading, own, trade)
    with account.batch(now_ns) as batch:
        made = batch.add(
            "ORDER_CLIENT_EXTENSIONS_MODIFY" + ("_REJECT" if reject else ""),
            orderID=str(order.id) if order else _numeric(specifier),
            clientOrderID=order.client.get("id") if order else _client_id(specifier),
            clientExtensionsModify=own,
            tradeClientExtensionsModify=trade,
            rejectReason=reject,
        )
        related = batch.related()
    if reject is not None:
        name = named.replace("Modify", "ModifyReject")
        raise rejected(404 if order is None else 400, {name: made, **related}, reject)
    return {named: made, **related}


def _why_no_modification(
    account: Account, order: Order | None, reading: Reading | None,
    own: Document | None, trade: Document | None,
) -> str | None:  # fmt: skip
    if order is None or reading is None:
        return "ORDER_DOESNT_EXIST"
    if own is None and trade is None:
        return "CLIENT_EXTENSIONS_DATA_MISSING"
    if own and "id" in own:
        other = account.state.order_by_client_id(own["id"])
        if other is not None and other is not order:
            return "CLIENT_ORDER_ID_ALREADY_EXISTS"
    return reading.reject


def pending_order(account: Account, specifier: str) -> Order | None:
    """Return the pending order that a number or ``@client-id`` names."""
    if specifier.startswith("@"):
        return account.state.order_by_client_id(specifier[1:])
    return account.state.pending.get(int(specifier)) if is_id(specifier) else None


def find_order(account: Account, specifier: str) -> Order:
    """Return the order that GET answers with; raises 404 NO_SUCH_ORDER.

    By client id only pending orders are found (measured); by number finished ones too.
    """
    behaviour, state = account.behaviour, account.state
    if specifier.startswith("@"):
        order = state.order_by_client_id(specifier[1:], finished=behaviour.client_id_finds_finished)
    elif not is_id(specifier):
        raise invalid("orderSpecifier")
    else:
        known = state.orders if behaviour.numeric_id_finds_finished else state.pending
        order = known.get(int(specifier))
    if order is None:
        raise not_found("NO_SUCH_ORDER", account.ledger.last_id)
    return order


def _read(account: Account, now_ns: int, body: Any) -> tuple[str, Reading]:
    order = body.get("order") if isinstance(body, dict) else None
    if not isinstance(order, dict):
        raise invalid("order")
    kind = order.get("type") or "MARKET"
    if kind == "GUARANTEED_STOP_LOSS":
        order = {**order, "guaranteed": True}
        kind = "STOP_LOSS"
    if not isinstance(kind, str) or kind not in TIMES_OF:
        raise invalid("order.type")
    if kind in DEPENDENT:
        return kind, _read_dependent_order(account, now_ns, order, kind)
    name = order.get("instrument")
    if not isinstance(name, str) or name not in account.market.specs:
        if account.behaviour.unknown_instrument_logged and isinstance(name, str):
            _log_unknown_instrument(account, now_ns, kind, order)
        raise invalid("order.instrument")
    reading = Reading(account.spec_of(name), now_ns, {"instrument": name})
    read_entry(reading, order, kind)
    if not account.market.known(name):
        reading.refuse("INSTRUMENT_PRICE_UNKNOWN")
    return kind, reading


def _log_unknown_instrument(account: Account, now_ns: int, kind: str, order: Document) -> None:
    with account.batch(now_ns) as batch:
        made = batch.add(
            f"{_CREATE_TYPE[kind]}_REJECT", rejectReason="INSTRUMENT_UNKNOWN",
            instrument=order["instrument"], reason="CLIENT_ORDER",
        )  # fmt: skip
    raise rejected(400, {"orderRejectTransaction": made, **batch.related()}, "INSTRUMENT_UNKNOWN")


def _read_dependent_order(account: Account, now_ns: int, order: Document, kind: str) -> Reading:
    trade = None
    trade_id, client_id = order.get("tradeID"), order.get("clientTradeID")
    if trade_id is not None:
        if isinstance(trade_id, bool) or not is_id(str(trade_id)):
            raise invalid("order.tradeID")
        trade = account.state.open_trades.get(int(trade_id))
    elif client_id is not None:
        trade = account.state.trade_by_client_id(str(client_id))
    spec = account.spec_of(trade.instrument) if trade else next(iter(account.market.specs.values()))
    reading = Reading(spec, now_ns, {})
    if trade is None:
        missing = trade_id is None and client_id is None
        reading.refuse("TRADE_ID_UNSPECIFIED" if missing else "TRADE_DOESNT_EXIST")
    elif client_id is not None and client_id != trade.client.get("id"):
        reading.refuse("TRADE_IDENTIFIER_INCONSISTENCY")
    reading.fields.update(read_dependent(reading, order, kind, on_fill=False))
    if trade_id is not None or trade is not None:
        reading.fields["tradeID"] = str(trade.id if trade else trade_id)
    if client_id is not None:
        reading.fields["clientTradeID"] = str(client_id)
    return reading


def _check_against_account(
    account: Account, reading: Reading, kind: str, replaced: Order | None
) -> None:
    """Refuse what the account's other orders and trades do not allow."""
    state, fields = account.state, reading.fields
    client_id = fields.get("clientExtensions", {}).get("id")
    if client_id is not None and account.client_id_taken(client_id, replaced):
        reading.refuse("CLIENT_ORDER_ID_ALREADY_EXISTS")
    if kind in DEPENDENT and is_id(fields.get("tradeID", "")):
        trade = state.open_trades.get(int(fields["tradeID"]))
        there = trade.dependents.get(kind) if trade else None
        if there is not None and (replaced is None or there != replaced.id):
            reading.refuse(f"{kind}_ORDER_ALREADY_EXISTS")
    rests = kind != "MARKET" and replaced is None
    if rests and len(state.pending) >= account.behaviour.pending_orders_allowed:
        reading.refuse("PENDING_ORDERS_ALLOWED_EXCEEDED")


def _create_in(
    account: Account, batch: Batch, kind: str, reading: Reading, **more: str
) -> Document:
    """Add the create (or reject) transaction and what follows from it at once."""
    fields = {**reading.fields, **more}
    if reading.reject is not None:
        made = batch.add(f"{_CREATE_TYPE[kind]}_REJECT", rejectReason=reading.reject, **fields)
        return {"orderRejectTransaction": made}
    if kind in DEPENDENT:
        named = ("tradeID", "clientTradeID")
        own = {key: value for key, value in reading.fields.items() if key not in named}
        trade_id = int(fields["tradeID"])
        created = account.create_dependent(batch, trade_id, kind, own, **more)
    else:
        if kind == "MARKET_IF_TOUCHED":
            fields["initialMarketPrice"] = _price_now(account, reading)
        created = batch.add(_CREATE_TYPE[kind], **fields)
    order = account.state.orders[int(created["id"])]
    before = len(batch.made)
    if kind == "MARKET":
        reason = fill(account, batch, market_want(order))
        if reason is not None:
            account.cancel(batch, order, reason)
    else:
        evaluate_order(account, batch, order)
    return {"orderCreateTransaction": created, **_ending(batch.made[before:], order.id)}


def market_want(order: Order) -> Want:
    """Return the fill that a client's market order wants."""
    return Want(
        order_id=order.id,
        instrument=order.instrument,
        units=order.units,
        reason="MARKET_ORDER",
        position_fill=order.create["positionFill"],
        bound=number(order.create["priceBound"], "") if "priceBound" in order.create else None,
        whole=order.create["timeInForce"] == "FOK",
        create=order.create,
    )


def _ending(made: list[Document], order_id: int) -> Document:
    """Return the fill or the cancel of an order among transactions, as answers name them."""
    for transaction in made:
        if transaction.get("orderID") == str(order_id):
            if transaction["type"] == "ORDER_FILL":
                return {"orderFillTransaction": transaction}
            if transaction["type"] == "ORDER_CANCEL":
                return {"orderCancelTransaction": transaction}
    return {}


def _price_now(account: Account, reading: Reading) -> str:
    top = account.market.tops[reading.spec.name]
    buys = not reading.fields["units"].startswith("-")
    return price_text(top.best_ask if buys else top.best_bid, reading.spec.precision)


def _or_reject(answer: Document, reading: Reading) -> Document:
    if reading.reject is None:
        return answer
    missing = reading.reject in ("TRADE_DOESNT_EXIST", "ORDER_DOESNT_EXIST")
    raise rejected(404 if missing else 400, answer, reading.reject)


def _reject_missing(account: Account, now_ns: int, specifier: str, name: str) -> Document:
    if not specifier.startswith("@") and not is_id(specifier):
        raise invalid("orderSpecifier")
    with account.batch(now_ns) as batch:
        made = batch.add(
            "ORDER_CANCEL_REJECT",
            rejectReason="ORDER_DOESNT_EXIST",
            orderID=_numeric(specifier),
            clientOrderID=_client_id(specifier),
        )
    raise rejected(404, {name: made, **batch.related()}, "ORDER_DOESNT_EXIST")


def _numeric(specifier: str) -> str | None:
    return specifier if is_id(specifier) else None


def _client_id(specifier: str) -> str | None:
    return specifier[1:] if specifier.startswith("@") else None
