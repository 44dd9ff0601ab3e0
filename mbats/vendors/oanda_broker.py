"""OANDA as the desk's broker: reads may be repeated, mutations are sent exactly once.

What an answer proves is decided here and nowhere else (:func:`_judged`). The rule is short: a
parsed success, a refusal that names a reject transaction, 401 and 403, and a connection that was
refused are proof. Everything else is UNKNOWN: a timeout, a reset, 429, any 5xx, a 404 without a
reject, a success that cannot be read.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import requests
from oandapyV20 import API, V20Error
from oandapyV20.endpoints.accounts import AccountDetails
from oandapyV20.endpoints.apirequest import APIRequest
from oandapyV20.endpoints.orders import OrderCancel, OrderCreate, OrderReplace
from oandapyV20.endpoints.transactions import TransactionsSinceID
from urllib3.exceptions import MaxRetryError, NewConnectionError

from mbats.errors import DataError
from mbats.live.orders.ports import AccountState, Answer, LogPage, Outcome
from mbats.live.orders.transactions import Transaction
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent
from mbats.vendors import oanda_wire as wire
from mbats.vendors.oanda_client import OandaReader
from mbats.vendors.oanda_gate import Gate

_PROOF_OF_REFUSAL = (401, 403)


class OandaBroker:
    """One account at OANDA, through one oandapyV20 session; not for several threads at once.

    ``last_look`` is asked before an order is given to the session, and where a ``gate`` watches
    that, once more before its bytes are written.
    """

    def __init__(
        self,
        api: API,
        reader: OandaReader,
        account: str,
        instruments: Mapping[str, Instrument],
        gate: Gate | None = None,
    ) -> None:
        """Trade ``account``; ``instruments`` give the precision of prices and sizes."""
        self._api = api
        self._reader = reader
        self._account = account
        self._instruments = instruments
        self._gate = gate or Gate()
        self.last_look: Callable[[], None] = lambda: None

    def state(self) -> AccountState:
        """Return the whole account at one transaction id."""
        answer = self._reader.get(lambda: AccountDetails(self._account), "the account")
        account = answer["account"]
        return wire.account_state({"lastTransactionID": answer["lastTransactionID"], **account})

    def transactions_since(self, transaction_id: int) -> LogPage:
        """Return everything after ``transaction_id``; pages are read until the log's end."""
        found: dict[int, Transaction] = {}
        reached = transaction_id
        while True:
            page = self._page_since(reached)
            found.update({t.id: t for t in map(wire.transaction, page["transactions"])})
            last = int(page["lastTransactionID"])
            newest = max(found, default=transaction_id)
            if newest >= last or newest == reached:
                return LogPage([found[key] for key in sorted(found)], last)
            reached = newest

    def place(self, intent: OrderIntent, *, comment: str) -> Answer:
        """Send one order, once."""
        body = wire.order_body(intent, self._instrument(intent), comment)
        return self._order(OrderCreate(self._account, {"order": body}))

    def cancel(self, order_id: int) -> Answer:
        """Cancel one pending order."""
        return self._order(OrderCancel(self._account, str(order_id)))

    def replace(self, order_id: int, intent: OrderIntent, *, comment: str) -> Answer:
        """Cancel one pending order and put ``intent`` in its place, once."""
        body = wire.order_body(intent, self._instrument(intent), comment)
        return self._order(OrderReplace(self._account, str(order_id), {"order": body}))

    def _page_since(self, transaction_id: int) -> dict[str, Any]:
        return self._reader.get(
            lambda: TransactionsSinceID(self._account, params={"id": str(transaction_id)}),
            f"the transactions since {transaction_id}",
        )

    def _instrument(self, intent: OrderIntent) -> Instrument:
        if intent.instrument not in self._instruments:
            raise DataError(
                f"OANDA account {self._account} has no instrument {intent.instrument}.",
                mend="look at what it has with `mbats data list --vendor oanda`",
            )
        return self._instruments[intent.instrument]

    def _order(self, request: APIRequest) -> Answer:
        """Send what changes an order, unless the last look holds it back."""
        self.last_look()
        with self._gate.asking(self.last_look):
            return self._send(request)

    def _send(self, request: APIRequest) -> Answer:
        return _judged(lambda: self._api.request(request))


def _judged(send: Callable[[], Any]) -> Answer:
    """Send once and return what the answer proves."""
    try:
        answer = send()
    except V20Error as error:
        return _refusal(error)
    except requests.ConnectionError as error:
        outcome = Outcome.REFUSED if _never_connected(error) else Outcome.UNKNOWN
        return Answer(outcome, detail=f"{type(error).__name__}: {error}")
    except (requests.RequestException, ValueError) as error:
        # ValueError: oandapyV20 raises it for a 2xx it did not expect, after the order was sent,
        # and JSONDecodeError for a body that is not JSON is one too.
        return Answer(Outcome.UNKNOWN, detail=f"{type(error).__name__}: {error}")
    transactions = _transactions(answer)
    if not transactions:
        return Answer(Outcome.UNKNOWN, detail=f"a success without transactions: {answer!r:.200}")
    return Answer(Outcome.DONE, transactions)


def _refusal(error: V20Error) -> Answer:
    detail = f"HTTP {error.code}: {str(error.msg)[:200]}"
    if error.code in _PROOF_OF_REFUSAL:
        return Answer(Outcome.REFUSED, detail=detail)
    try:
        body = json.loads(error.msg)
    except (TypeError, ValueError):
        return Answer(Outcome.UNKNOWN, detail=detail)
    rejects = _transactions(body)
    if error.code in (400, 404) and rejects:
        return Answer(Outcome.REFUSED, rejects, detail)
    return Answer(Outcome.UNKNOWN, detail=detail)


def _transactions(body: Any) -> tuple[Transaction, ...]:
    """Return the transactions of an answer, ascending: its values named ``...Transaction``."""
    if not isinstance(body, dict):
        return ()
    found = [value for name, value in body.items() if name.endswith("Transaction")]
    try:
        return tuple(sorted(map(wire.transaction, found), key=lambda t: t.id))
    except DataError:
        return ()  # unreadable: it proves nothing, and the log will tell


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell whether the connection itself was refused, so that nothing can have been sent."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError)
