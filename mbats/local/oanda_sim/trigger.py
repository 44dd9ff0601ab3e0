"""Pending orders: when a price triggers them, and what then happens."""

from decimal import Decimal

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.fill import NO_DEPTH, Want, fill
from mbats.local.oanda_sim.ledger import Batch
from mbats.local.oanda_sim.state import DEPENDENT, Order


def evaluate_order(account: Account, batch: Batch, order: Order) -> str | None:
    """Fill ``order`` if it is triggered and can fill; return why it was cancelled, if it was.

    A limit or take profit whose price the ladder cannot give stays pending. An immediate order
    (FOK, IOC) ends here in any case.
    """
    immediate = order.create["timeInForce"] in ("FOK", "IOC")
    if not account.market.tradeable(order.instrument):
        reason: str | None = "MARKET_HALTED" if immediate else None
    elif not triggered(account, order):
        reason = "BOUNDS_VIOLATION" if immediate else None
    else:
        reason = fill(account, batch, wanted(account, order))
        waits = order.kind in ("LIMIT", "TAKE_PROFIT") or _protects(order)
        if reason in NO_DEPTH and waits and not immediate:
            reason = None
    if reason is not None:
        account.cancel(batch, order, reason)
    return reason


def wanted(account: Account, order: Order) -> Want:
    """Return the fill that a triggered order wants."""
    create = order.create
    bound = create.get("price") if order.kind in ("LIMIT", "TAKE_PROFIT") else None
    if order.kind == "MARKET_IF_TOUCHED" and "priceBound" not in create and _acts_as_limit(order):
        bound = create["price"]
    bound = create.get("priceBound", bound)
    units = order.units
    trades = None
    if order.trade_id is not None:
        trades = (order.trade_id,)
        units = -account.state.trades[order.trade_id].units
    return Want(
        order_id=order.id,
        instrument=order.instrument,
        units=units,
        reason=f"{order.kind}_ORDER",
        position_fill=create.get("positionFill", "DEFAULT"),
        bound=None if bound is None else Decimal(bound),
        whole=create["timeInForce"] != "IOC",
        trades=trades,
        beyond_depth=_protects(order) and account.behaviour.stops_fill_beyond_depth,
        create=create,
    )


def triggered(account: Account, order: Order) -> bool:
    """Whether the newest price triggers ``order``.

    DEFAULT looks at the side the order would fill on (ask to buy), INVERSE at the other one.
    """
    quote = account.market.quotes[order.instrument]
    if not quote.two_sided:
        return False
    bid, ask = quote.best_bid, quote.best_ask
    buys = order.units > 0 if order.trade_id is None else not _is_long(account, order)
    if order.kind == "MARKET":
        return True
    sides = {
        "DEFAULT": ask if buys else bid,
        "INVERSE": bid if buys else ask,
        "BID": bid,
        "ASK": ask,
        "MID": (bid + ask) / 2,
    }
    seen = sides[order.create.get("triggerCondition", "DEFAULT")]
    if order.kind == "TRAILING_STOP_LOSS":
        level = account.trails[order.id]
    else:
        level = Decimal(order.create["price"])
    as_limit = order.kind in ("LIMIT", "TAKE_PROFIT") or (
        order.kind == "MARKET_IF_TOUCHED" and _acts_as_limit(order)
    )
    return (seen <= level) if buys == as_limit else (seen >= level)


def _is_long(account: Account, order: Order) -> bool:
    return account.state.trades[order.trade_id or 0].is_long


def _acts_as_limit(order: Order) -> bool:
    """Whether a market-if-touched order waits for a better price than there was at its creation."""
    start, level = Decimal(order.create["initialMarketPrice"]), Decimal(order.create["price"])
    return level <= start if order.units > 0 else level >= start


def _protects(order: Order) -> bool:
    return order.kind in DEPENDENT and order.kind != "TAKE_PROFIT"
