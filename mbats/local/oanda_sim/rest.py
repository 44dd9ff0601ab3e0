"""The v20 REST resources of an account: what each path does with an engine.

A resource is a function of (engine, account, request, the path's own parts) that returns an
:class:`~mbats.local.oanda_sim.http.Answer` or raises a refusal.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from mbats.local.oanda_sim import changes, margin, orders, positions, trades, views
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import (
    Refusal,
    invalid,
    not_found,
    rejected,
    transaction_types,
)
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.http import Answer, Request
from mbats.local.oanda_sim.money import is_id, plain_text
from mbats.local.oanda_sim.requests import number
from mbats.local.oanda_sim.state import CREATES, FILLED, PENDING, Document, Trade
from mbats.local.oanda_sim.times import parse_time, rfc3339

_MOST_LISTED = 500


def _answer(account: Account, document: Document, status: int = 200) -> Answer:
    document.setdefault("lastTransactionID", str(account.ledger.last_id))
    return Answer(status, document)


def accounts(engine: Engine) -> Answer:
    """GET /v3/accounts: the ids of the accounts."""
    return Answer(200, {"accounts": [{"id": name, "tags": []} for name in engine.accounts]})


def account_details(engine: Engine, account: Account, request: Request) -> Answer:
    """GET /v3/accounts/{accountID}: the account with pending orders, open trades, positions."""
    return _answer(account, {"account": views.full(account)})


def account_summary(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/summary: the account without its orders, trades and positions."""
    return _answer(account, {"account": views.summary(account)})


def account_instruments(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/instruments: precision, sizes, margin and financing of each."""
    specs = account.market.specs
    names = names_of(request, account, specs)
    return _answer(account, {"instruments": [views.instrument(specs[name]) for name in names]})


def names_of(request: Request, account: Account, default: Any) -> list[str]:
    """Return the instruments of the query, or ``default``; 400 for one there is not."""
    given = request.query.get("instruments")
    names = list(default) if given is None else [n for n in given.split(",") if n]
    if any(name not in account.market.specs for name in names):
        raise invalid("instruments")
    return names


def account_changes(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/changes: what happened since sinceTransactionID, and what depends on prices now."""
    given = request.query.get("sinceTransactionID", str(account.ledger.last_id))
    return Answer(200, changes.since(account, _transaction_id(account, given)))


def account_configuration(engine: Engine, account: Account, request: Request) -> Answer:
    """PATCH …/configuration: set alias and marginRate."""
    body = request.json()
    if not isinstance(body, dict):
        raise invalid("body")
    fields: Document = {}
    reject = None
    if body.get("alias") is not None:
        if not isinstance(body["alias"], str):
            raise invalid("alias")
        fields["alias"] = body["alias"]
        reject = "ALIAS_INVALID" if not fields["alias"] else None
    if body.get("marginRate") is not None:
        rate = number(body["marginRate"], "marginRate")
        fields["marginRate"] = plain_text(rate)
        reject = reject or _why_not_margin_rate(account, rate)
    if not fields:
        reject = "CLIENT_CONFIGURE_DATA_MISSING"
    with account.batch(engine.now_ns) as batch:
        if reject is None:
            made = batch.add("CLIENT_CONFIGURE", **fields)
        else:
            made = batch.add("CLIENT_CONFIGURE_REJECT", rejectReason=reject, **fields)
    if reject is not None:
        last = {"lastTransactionID": made["id"]}
        raise rejected(400, {"clientConfigureRejectTransaction": made, **last}, reject)
    return _answer(account, {"clientConfigureTransaction": made})


def _why_not_margin_rate(account: Account, rate: Decimal) -> str | None:
    if not 0 < rate <= 1:
        return "MARGIN_RATE_INVALID"
    then = replace(account.state, margin_rate=rate)
    figures = margin.figures(then, account.spec, account.market)
    if figures.closeout_percent >= 1:
        return "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"
    return "MARGIN_RATE_WOULD_TRIGGER_MARGIN_CALL" if figures.call_percent >= 1 else None


def order_create(engine: Engine, account: Account, request: Request) -> Answer:
    """POST …/orders: create an order; 201 whether it filled, rests or was cancelled."""
    made = orders.create(account, engine.now_ns, request.json())
    return _created(account, made)


def order_replace(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/orders/{spec}: replace a pending order; 201."""
    return _created(account, orders.replace(account, engine.now_ns, spec, request.json()))


def _created(account: Account, made: Document) -> Answer:
    answer = _answer(account, made, 201)
    order_id = made["orderCreateTransaction"]["id"]
    answer.headers["Location"] = f"/v3/accounts/{account.spec.id}/orders/{order_id}"
    return answer


def order_cancel(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/orders/{spec}/cancel: cancel a pending order; a repeat is a 404 with a reject."""
    return _answer(account, orders.cancel(account, engine.now_ns, spec))


def order_client(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/orders/{spec}/clientExtensions: of the order and of the trade it would open."""
    return _answer(account, orders.modify_client(account, engine.now_ns, spec, request.json()))


def order_details(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """GET …/orders/{spec}: an order; by @client-id only while it is pending."""
    return _answer(account, {"order": views.order(account, orders.find_order(account, spec))})


def order_list(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/orders: orders by ids, state (PENDING by default), instrument, count, beforeID."""
    wanted = request.query.get("state", "PENDING")
    if wanted not in ("PENDING", "FILLED", "TRIGGERED", "CANCELLED", "ALL"):
        raise invalid("state")
    state = account.state
    finished = wanted != PENDING and account.behaviour.numeric_id_finds_finished
    known = state.orders if finished else state.pending
    if wanted in (FILLED, "CANCELLED", "TRIGGERED"):
        known = {i: o for i, o in known.items() if o.state == wanted}
    return _answer(
        account,
        {"orders": [views.order(account, o) for o in _page(account, request, known.values())]},
    )


def order_pending(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/pendingOrders: every pending order."""
    pending = reversed(account.state.pending.values())
    return _answer(account, {"orders": [views.order(account, order) for order in pending]})


def _page(account: Account, request: Request, listed: Iterable[Any]) -> list[Any]:
    """Return the newest orders or trades that the query asks for, newest first."""
    query, known = request.query, list(listed)
    if "ids" in query:
        ids = {_integer(text.strip(), "ids") for text in query["ids"].split(",")}
        known = [item for item in known if item.id in ids]
    if "instrument" in query:
        names = query["instrument"].split(",")
        if not account.market.specs.keys() >= set(names):
            raise invalid("instrument")
        known = [item for item in known if item.instrument in names]
    if "beforeID" in query:
        before = _integer(query["beforeID"], "beforeID")
        known = [item for item in known if item.id <= before]
    size = _integer(query.get("count", "50"), "count")
    if not 0 < size <= _MOST_LISTED:
        raise invalid("count")
    return known[::-1][:size]


def trade_list(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/trades: trades by ids, state (OPEN by default), instrument, count, beforeID."""
    wanted = request.query.get("state", "OPEN")
    if wanted not in ("OPEN", "CLOSED", "CLOSE_WHEN_TRADEABLE", "ALL"):
        raise invalid("state")
    known: list[Trade] = list(account.state.trades.values())
    if wanted != "ALL":
        known = [t for t in known if t.is_open == (wanted == "OPEN")]
    if wanted == "CLOSE_WHEN_TRADEABLE":
        known = []
    shown = [views.trade(account, t) for t in _page(account, request, known)]
    return _answer(account, {"trades": shown})


def trade_open(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/openTrades: every open trade."""
    shown = [views.trade(account, t) for t in reversed(account.state.open_trades.values())]
    return _answer(account, {"trades": shown})


def trade_details(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """GET …/trades/{spec}: a trade; by @client-id only while it is open."""
    return _answer(account, {"trade": views.trade(account, trades.find_trade(account, spec))})


def trade_close(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/trades/{spec}/close: close ALL or some units at market."""
    return _answer(account, trades.close(account, engine.now_ns, spec, request.json()))


def trade_client(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/trades/{spec}/clientExtensions: change id, tag and comment."""
    return _answer(account, trades.modify_client(account, engine.now_ns, spec, request.json()))


def trade_orders(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """PUT …/trades/{spec}/orders: set, replace or remove take profit, stop loss, trailing stop."""
    return _answer(account, trades.set_dependents(account, engine.now_ns, spec, request.json()))


def position_list(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/positions: of every instrument ever traded."""
    shown = [views.position(account, name) for name in account.state.positions]
    return _answer(account, {"positions": shown})


def position_open(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/openPositions: those with open trades."""
    shown = [views.position(account, name) for name in views.open_instruments(account)]
    return _answer(account, {"positions": shown})


def position_details(engine: Engine, account: Account, request: Request, name: str) -> Answer:
    """GET …/positions/{instrument}: one position; 404 if never traded."""
    if name not in account.market.specs:
        raise invalid("instrument")
    found = name in account.state.positions
    if not account.behaviour.flat_position_found:
        found = name in views.open_instruments(account)
    if not found:
        raise not_found("NO_SUCH_POSITION", account.ledger.last_id)
    return _answer(account, {"position": views.position(account, name)})


def position_close(engine: Engine, account: Account, request: Request, name: str) -> Answer:
    """PUT …/positions/{instrument}/close: close longUnits, shortUnits: ALL, NONE or a number."""
    return _answer(account, positions.close(account, engine.now_ns, name, request.json()))


def transaction_list(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/transactions: the URLs of pages, not transactions."""
    query, ledger = request.query, account.ledger
    until = _time(query.get("to"), "to", engine.now_ns)
    since = _time(query.get("from"), "from", parse_time(account.state.created))
    size = _integer(query.get("pageSize", "100"), "pageSize")
    if not 0 < size <= 1000:
        raise invalid("pageSize")
    first = ledger.first_at(rfc3339(since))
    last = ledger.first_at(rfc3339(until + 1)) - 1
    kinds = _kinds(query.get("type"))
    ids = [i for i in range(first, last + 1) if _of_kind(account, i, kinds)]
    base = f"http://{request.headers.get('host', 'localhost')}"
    path = f"{base}/v3/accounts/{account.spec.id}/transactions/idrange"
    suffix = f"&type={query['type']}" if kinds else ""
    pages = [
        f"{path}?from={first}&to={last}{suffix}"
        for first, last in _pages(ids, size, account.behaviour.idrange_page)
    ]
    shown: Document = {
        "from": rfc3339(since),
        "to": rfc3339(until),
        "pageSize": size,
        "count": len(ids),
        "pages": pages,
    }
    if kinds:
        shown["type"] = query["type"].split(",")
    return _answer(account, shown)


def _pages(ids: list[int], size: int, span: int) -> Iterator[tuple[int, int]]:
    """Yield first and last of pages of ``size`` ids, none wider than idrange answers."""
    page: list[int] = []
    for transaction_id in ids:
        if page and (len(page) == size or transaction_id - page[0] >= span):
            yield page[0], page[-1]
            page = []
        page.append(transaction_id)
    if page:
        yield page[0], page[-1]


def transaction_details(engine: Engine, account: Account, request: Request, spec: str) -> Answer:
    """GET …/transactions/{id}: one transaction."""
    if not is_id(spec):
        raise invalid("transactionID")
    lines = account.ledger.between(int(spec), int(spec))
    if not lines or int(spec) < account.ledger.first_id:
        raise not_found("NO_SUCH_TRANSACTION", account.ledger.last_id)
    return _answer(account, {"transaction": json.loads(lines[0])})


def transaction_range(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/transactions/idrange: transactions from id to id; 416 for ids there are not."""
    query = request.query
    first = _integer(query.get("from", ""), "from")
    last = _integer(query.get("to", ""), "to")
    ledger = account.ledger
    span = account.behaviour.idrange_page
    if not ledger.first_id <= first <= last <= ledger.last_id or last - first >= span:
        raise Refusal(
            416,
            {"errorMessage": "The specified range of Transaction IDs is invalid"},
        )
    return _transactions(account, request, first, last)


def transaction_since(engine: Engine, account: Account, request: Request) -> Answer:
    """GET …/transactions/sinceid: transactions after id, at most a page."""
    since = _transaction_id(account, request.query.get("id", ""))
    return _transactions(account, request, since + 1, since + account.behaviour.sinceid_page)


def _transactions(account: Account, request: Request, first: int, last: int) -> Answer:
    ledger = account.ledger
    first = max(first, ledger.first_id)
    kinds = _kinds(request.query.get("type"))
    lines = ledger.between(first, last)
    if kinds:
        lines = [
            line
            for i, line in enumerate(lines, first)
            if ledger.kinds[i - ledger.first_id] in kinds
        ]
    return Answer(
        200, f'{{"transactions":[{",".join(lines)}],"lastTransactionID":"{ledger.last_id}"}}'
    )


_FILTERS = {
    "ORDER": (*CREATES, "ORDER_FILL", "ORDER_CANCEL", "ORDER_CLIENT_EXTENSIONS_MODIFY"),
    "FUNDING": ("TRANSFER_FUNDS", "TRANSFER_FUNDS_REJECT"),
    "ADMIN": ("CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT"),
}


def _kinds(given: str | None) -> frozenset[str]:
    if not given:
        return frozenset()
    parts = given.split(",")
    if not transaction_types().union(_FILTERS).issuperset(parts):
        raise invalid("type")
    return frozenset(kind for part in parts for kind in _FILTERS.get(part, (part,)))


def _of_kind(account: Account, transaction_id: int, kinds: frozenset[str]) -> bool:
    return not kinds or account.ledger.kinds[transaction_id - account.ledger.first_id] in kinds


def _transaction_id(account: Account, given: str) -> int:
    asked = _integer(given, "id")
    if asked > account.ledger.last_id:
        raise Refusal(416, {"errorMessage": "The specified Transaction ID is out of range"})
    return asked


def _integer(given: str, name: str) -> int:
    if not is_id(given):
        raise invalid(name)
    return int(given)


def _time(given: str | None, name: str, default: int) -> int:
    if given is None:
        return default
    try:
        return parse_time(given)
    except ValueError:
        raise invalid(name) from None
