"""OANDA as the kill switch knows it: what is open, cancel it, close it. Harmless to repeat.

A position closes with ALL on the side that exists and an explicit NONE on the other: OANDA answers
400 to ALL on a side that does not exist (measured).
"""

from decimal import Decimal

import requests
from oandapyV20 import API, V20Error
from oandapyV20.endpoints.accounts import AccountDetails
from oandapyV20.endpoints.apirequest import APIRequest
from oandapyV20.endpoints.orders import OrderCancel
from oandapyV20.endpoints.positions import PositionClose

from mbats.config import Settings
from mbats.errors import ConfigError, NotReadyError
from mbats.live.killswitch import Holdings
from mbats.vendors.oanda_client import refusal, session

ANSWER_SECONDS = 2.0
"""How long one request may take: a switch asks again rather than wait."""


class OandaCloser:
    """One account at OANDA, with the kill switch's own token."""

    def __init__(self, api: API, account: str) -> None:
        self._api = api
        self._account = account

    def holdings(self) -> Holdings:
        """Return what is left. Raises :class:`NotReadyError`, :class:`ConfigError` for a token."""
        try:
            account = self._api.request(AccountDetails(self._account))["account"]
            positions = {
                p["instrument"]: (
                    abs(Decimal(p["long"]["units"])),
                    abs(Decimal(p["short"]["units"])),
                )
                for p in account["positions"]
            }
            orders = {int(o["id"]): "tradeID" in o for o in account["orders"]}
        except V20Error as error:
            if error.code != 429 and error.code < 500:
                raise refusal(error, "the account", "its address") from error
            raise NotReadyError(f"OANDA answered HTTP {error.code}.") from error
        except (requests.RequestException, ValueError, LookupError, ArithmeticError) as error:
            raise NotReadyError(f"OANDA did not give the account: {error!r:.200}") from error
        return Holdings(
            {name: sides for name, sides in positions.items() if any(sides)},
            tuple(order_id for order_id, is_leg in orders.items() if not is_leg),
            tuple(order_id for order_id, is_leg in orders.items() if is_leg),
        )

    def cancel(self, order_id: int) -> str:
        """Ask for a cancel."""
        return self._ask(OrderCancel(self._account, str(order_id)))

    def close(self, instrument: str, *, long: bool, short: bool) -> str:
        """Ask to close the sides that exist."""
        body = {"longUnits": "ALL" if long else "NONE", "shortUnits": "ALL" if short else "NONE"}
        return self._ask(PositionClose(self._account, instrument, body))

    def _ask(self, request: APIRequest) -> str:
        """Send; whatever comes back, what is left afterwards is what counts."""
        try:
            self._api.request(request)
        except V20Error as error:
            return f"HTTP {error.code}"
        except (requests.RequestException, ValueError) as error:
            return f"no clear answer ({type(error).__name__})"
        return "done"


def closer(settings: Settings) -> OandaCloser:
    """Return a closer with ``oanda_kill_token``, or the desk's token where there is none.

    Raises :class:`ConfigError` without an account or a token.
    """
    if not settings.oanda_account:
        raise ConfigError(
            "The kill switch needs an account.",
            tried=["--account", "MBATS_OANDA_ACCOUNT"],
            mend="mbats flatten --account ID",
        )
    token = settings.oanda_kill_token or settings.oanda_token
    own = settings.model_copy(update={"oanda_token": token})
    return OandaCloser(session(own, ANSWER_SECONDS), settings.oanda_account)
