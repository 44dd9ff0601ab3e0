"""Answers other than success: what a request raises, and OANDA's own words for it."""

import warnings
from functools import lru_cache
from typing import Any

# As recorded, where it differs from the wording that oandapyV20 carries.
_RECORDED = {
    "NO_SUCH_ORDER": "The order ID specified does not exist",
    "NO_SUCH_POSITION": "No position exists for the specified instrument",
}
# Not recorded; written in the same style.
_OURS = {
    "NO_SUCH_TRADE": "The trade ID specified does not exist",
    "NO_SUCH_TRANSACTION": "The transaction ID specified does not exist",
    "GUARANTEED_STOP_LOSS_ORDERS_NOT_SUPPORTED": (
        "Guaranteed Stop Loss Orders are not allowed by the Account's configuration"
    ),
    "PRICE_BOUND_INVALID": "The price bound specified is invalid",
    "TAKE_PROFIT_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED": (
        "The Take Profit on fill contains both the price and distance fields"
    ),
}
_LATER_TYPES = frozenset({
    "DIVIDEND_ADJUSTMENT", "FIXED_PRICE_ORDER",
    "GUARANTEED_STOP_LOSS_ORDER", "GUARANTEED_STOP_LOSS_ORDER_REJECT",
})  # fmt: skip
INVALID_PARAMETER = "oanda::rest::core::InvalidParameterException"


@lru_cache(maxsize=1)
def _wording() -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oandapyV20's invalid escapes
        from oandapyV20.definitions.transactions import TransactionRejectReason
    return dict(TransactionRejectReason().definitions)


@lru_cache(maxsize=1)
def transaction_types() -> frozenset[str]:
    """Return every type of transaction that OANDA's definitions name, and those added since."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oandapyV20's invalid escapes
        from oandapyV20.definitions.transactions import TransactionType
    return frozenset(TransactionType().definitions) | _LATER_TYPES


def message_of(code: str) -> str:
    """Return the message that goes with an error code or reject reason."""
    return _RECORDED.get(code) or _wording().get(code) or _OURS.get(code) or code


def reject_reasons() -> frozenset[str]:
    """Return every reject reason that OANDA's definitions name."""
    return frozenset(_wording())


class Refusal(Exception):  # noqa: N818
    """An answer of 4xx: ``status`` and the body as it goes out."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body.get("errorMessage", ""))
        self.status = status
        self.body = body


def invalid(parameter: str) -> Refusal:
    """Return the 400 of a value that cannot be read. It leaves no transaction."""
    return Refusal(
        400,
        {
            "errorMessage": f"Invalid value specified for '{parameter}'",
            "errorCode": INVALID_PARAMETER,
        },
    )


def not_found(code: str, last_id: int) -> Refusal:
    """Return the 404 of something that is not there, for example NO_SUCH_ORDER."""
    return Refusal(
        404,
        {
            "lastTransactionID": str(last_id),
            "errorMessage": message_of(code),
            "errorCode": code,
        },
    )


def rejected(status: int, named: dict[str, Any], code: str) -> Refusal:
    """Return the refusal of something that consumed transactions: ``named`` holds them."""
    return Refusal(status, {**named, "errorMessage": message_of(code), "errorCode": code})
