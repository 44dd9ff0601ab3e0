"""Which path is which resource."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from mbats.local.oanda_sim import rest, rest_prices
from mbats.local.oanda_sim.http import Answer

_ACCOUNT = r"/v3/accounts/([^/]+)"


class Route(NamedTuple):
    """A method, a path pattern, what it wants before the request's own parts, and its resource.

    ``scope`` says what a resource is given: ``site`` the engine, ``market`` the engine and the
    request, ``account`` also the account; ``stream`` names a stream. ``refusals`` are the statuses
    that OANDA's description has for it, beside 405.
    """

    method: str
    pattern: re.Pattern[str]
    scope: str
    resource: Any
    refusals: tuple[int, ...] = (400, 401, 404)

    def status(self, meant: int) -> int:
        """Return the status of a refusal: of those the description has here, the nearest."""
        nearest = (meant, *_INSTEAD.get(meant, ()))
        return next((status for status in nearest if status in self.refusals), meant)

    @property
    def path(self) -> str:
        """The path as a person writes it."""
        return self.pattern.pattern.replace(_ACCOUNT, "…").replace("([^/]+)", "{…}")

    @property
    def summary(self) -> str:
        """What the resource is, in a line, from its docstring."""
        if self.scope == "stream":
            return f"the stream of {self.resource}, one JSON line a chunk, with heartbeats"
        said = (self.resource.__doc__ or "").strip().splitlines()[0]
        return said.partition(": ")[2].rstrip(".")


_INSTEAD = {400: (404,), 403: (401, 404), 404: (400,)}
_WHOLE_ACCOUNT = (400, 401)
_BY_ID = (401, 404)


def _of_account(
    method: str,
    path: str,
    resource: Callable[..., Answer],
    refusals: tuple[int, ...] = (400, 401, 404),
) -> Route:
    return Route(method, re.compile(_ACCOUNT + path), "account", resource, refusals)


ROUTES = (
    Route("GET", re.compile(r"/v3/accounts"), "site", rest.accounts),
    _of_account("GET", "", rest.account_details, _WHOLE_ACCOUNT),
    _of_account("GET", "/summary", rest.account_summary, _WHOLE_ACCOUNT),
    _of_account("GET", "/instruments", rest.account_instruments, _WHOLE_ACCOUNT),
    _of_account("GET", "/changes", rest.account_changes, (401, 404, 416)),
    _of_account("PATCH", "/configuration", rest.account_configuration, (400, 401, 403, 404)),
    _of_account("POST", "/orders", rest.order_create, (400, 401, 403, 404)),
    _of_account("GET", "/orders", rest.order_list, (400, 404)),
    _of_account("GET", "/pendingOrders", rest.order_pending, _BY_ID),
    _of_account("GET", "/orders/([^/]+)", rest.order_details, _BY_ID),
    _of_account("PUT", "/orders/([^/]+)", rest.order_replace),
    _of_account("PUT", "/orders/([^/]+)/cancel", rest.order_cancel, _BY_ID),
    _of_account("PUT", "/orders/([^/]+)/clientExtensions", rest.order_client),
    _of_account("GET", "/trades", rest.trade_list, _BY_ID),
    _of_account("GET", "/openTrades", rest.trade_open, _BY_ID),
    _of_account("GET", "/trades/([^/]+)", rest.trade_details, _BY_ID),
    _of_account("PUT", "/trades/([^/]+)/close", rest.trade_close),
    _of_account("PUT", "/trades/([^/]+)/clientExtensions", rest.trade_client),
    _of_account("PUT", "/trades/([^/]+)/orders", rest.trade_orders),
    _of_account("GET", "/positions", rest.position_list, _BY_ID),
    _of_account("GET", "/openPositions", rest.position_open, _BY_ID),
    _of_account("GET", "/positions/([^/]+)", rest.position_details, _BY_ID),
    _of_account("PUT", "/positions/([^/]+)/close", rest.position_close),
    _of_account("GET", "/transactions", rest.transaction_list, (400, 401, 403, 404, 416)),
    _of_account("GET", "/transactions/idrange", rest.transaction_range, (400, 401, 404, 416)),
    _of_account("GET", "/transactions/sinceid", rest.transaction_since, (400, 401, 404, 416)),
    Route("GET", re.compile(_ACCOUNT + "/transactions/stream"), "stream", "transactions"),
    _of_account("GET", "/transactions/([^/]+)", rest.transaction_details, _BY_ID),
    _of_account("GET", "/pricing", rest_prices.pricing),
    Route("GET", re.compile(_ACCOUNT + "/pricing/stream"), "stream", "pricing"),
    _of_account("GET", "/candles/latest", rest_prices.latest_candles),
    _of_account("GET", "/instruments/([^/]+)/candles", rest_prices.account_candles),
    Route(
        "GET",
        re.compile("/v3/instruments/([^/]+)/candles"),
        "market",
        rest_prices.instrument_candles,
    ),
    Route("GET", re.compile("/v3/instruments/([^/]+)/orderBook"), "market", rest_prices.order_book),
    Route(
        "GET",
        re.compile("/v3/instruments/([^/]+)/positionBook"),
        "market",
        rest_prices.position_book,
    ),
)


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]] | int:
    """Return the route of a request and its path's parts; 405 or 404 where there is none."""
    elsewhere = False
    for route in ROUTES:
        if (match := route.pattern.fullmatch(path)) is not None:
            if route.method == method:
                return route, match.groups()
            elsewhere = True
    return 405 if elsewhere else 404
