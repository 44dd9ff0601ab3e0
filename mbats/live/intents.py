"""backtrader orders into intents of the desk: pure, exact, and refused where there is no equal.

One backtrader order becomes one intent, a bracket becomes one intent with legs, and a market order
that would reverse a position becomes two: an exit that can only reduce, then an entry.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

from backtrader import Order, num2date

from mbats.live.refusals import BAD_PRICE, BAD_SIZE, UNSUPPORTED, RefusedOrderError
from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent, OrderType, Role, Side, order_key

_TYPES = {
    Order.Market: OrderType.MARKET,
    Order.Limit: OrderType.LIMIT,
    Order.Stop: OrderType.STOP,
}
_LEGS = {
    Order.Stop: Role.STOP_LOSS,
    Order.Limit: Role.TAKE_PROFIT,
    Order.StopTrail: Role.TRAILING_STOP,
}
_LARGEST = 10**15  # beyond it a float no longer counts single units


class LegNames:
    """Names the orders of one decision: entry, exit, entry-2, the same after any restart."""

    def __init__(self) -> None:
        self._decision: dict[tuple[str, str], datetime] = {}
        self._count: Counter[tuple[str, str, Role]] = Counter()

    def next(self, strategy: str, instrument: str, decided_at: datetime, role: Role) -> str:
        """Return the name of the next order of this role."""
        about = (strategy, instrument)
        if self._decision.get(about) != decided_at:
            self._decision[about] = decided_at
            for each in Role:
                del self._count[*about, each]
        self._count[*about, role] += 1
        number = self._count[*about, role]
        return str(role) if number == 1 else f"{role}-{number}"


@dataclass(frozen=True)
class Decision:
    """Who decides, on which account, in what, on a bar that ended when."""

    account: str
    strategy: str
    instrument: Instrument
    decided_at: datetime


def units_of(size: Any, instrument: Instrument) -> Decimal:
    """Return a size rounded down to the units that the instrument trades in."""
    number = float(size)
    if not math.isfinite(number) or not 0 < abs(number) <= _LARGEST:
        raise RefusedOrderError(BAD_SIZE, f"a size of {size} units of {instrument.name}")
    step = Decimal(1).scaleb(-instrument.units_precision)
    units = Decimal(repr(abs(number))).quantize(step, rounding=ROUND_DOWN)
    if not units:
        raise RefusedOrderError(BAD_SIZE, f"{size} units of {instrument.name} in steps of {step}")
    return units


def price_of(price: Any, instrument: Instrument, what: str) -> Decimal:
    """Return a price at the instrument's precision."""
    number = math.nan if price is None else float(price)
    if not math.isfinite(number) or not 0 < number <= _LARGEST:
        raise RefusedOrderError(BAD_PRICE, f"{what} {price} of {instrument.name}")
    rounded = instrument.round_price(Decimal(repr(number)))
    if not rounded:
        raise RefusedOrderError(BAD_PRICE, f"{what} {price} of {instrument.name} rounds to zero")
    return rounded


def intents_of(
    order: Any, children: Sequence[Any], held: Decimal, decision: Decision, names: LegNames
) -> list[OrderIntent]:
    """Return what to send, in this order, for ``order`` and the ``children`` of its bracket.

    ``held`` are the signed units of the position when the first of them is sent. Raises
    :class:`RefusedOrderError` for what has no equal at the broker.
    """
    kind = _type_of(order)
    side = Side.BUY if order.isbuy() else Side.SELL
    units = units_of(order.size, decision.instrument)
    legs = _legs_of(order, children, units, decision.instrument)
    against = held * side.sign < 0
    shared: dict[str, Any] = {
        "account": decision.account,
        "strategy": decision.strategy,
        "instrument": decision.instrument.name,
        "side": side,
        "decided_at": decision.decided_at,
        "type": kind,
    }
    if kind is not OrderType.MARKET:
        shared["price"] = price_of(order.created.price, decision.instrument, f"a {kind} at")
        shared["expires_at"] = valid_until(order)
    closes = min(units, abs(held)) if against else Decimal(0)
    if closes and kind is not OrderType.MARKET and units > abs(held):
        closes = Decimal(0)  # it waits: what it will find held, nobody knows yet
    sent = []
    if closes:
        key = _key(decision, names, Role.EXIT)
        sent.append(OrderIntent(key=key, units=closes, role=Role.EXIT, reduce_only=True, **shared))
    if units > closes:
        key = _key(decision, names, Role.ENTRY)
        sent.append(OrderIntent(key=key, units=units - closes, **shared, **legs))
    elif children:
        raise RefusedOrderError(UNSUPPORTED, "a bracket on an order that only reduces a position")
    return sent


def moved(
    before: OrderIntent, price: Any, size: Any, decision: Decision, names: LegNames
) -> OrderIntent:
    """Return the order that takes the place of ``before``: another price, perhaps another size."""
    instrument = decision.instrument
    return replace(
        before,
        key=_key(decision, names, before.role),
        decided_at=decision.decided_at,
        price=price_of(price, instrument, f"a {before.type} at"),
        units=before.units if size is None else units_of(size, instrument),
    )


def valid_until(order: Any) -> datetime | None:
    """Return when an order's ``valid`` ends, or None where it has none."""
    if not order.valid:
        return None
    until: datetime = num2date(order.valid).replace(tzinfo=UTC)
    # Float days are exact to ten microseconds: to the nearest millisecond it is what was meant.
    until += timedelta(microseconds=500)
    return until.replace(microsecond=until.microsecond // 1000 * 1000)


def role_of(child: Any) -> Role:
    """Return which leg of a trade a child of a bracket is."""
    role = _LEGS.get(child.exectype)
    if role is None:
        raise RefusedOrderError(
            UNSUPPORTED, f"a bracket cannot hold a {child.getordername()} order"
        )
    return role


def _type_of(order: Any) -> OrderType:
    kind = _TYPES.get(order.exectype)
    if kind is None:
        name = order.getordername()
        hint = "; send it as the stop of a bracket" if order.exectype == Order.StopTrail else ""
        raise RefusedOrderError(UNSUPPORTED, f"there is no {name} order of its own{hint}")
    if order.oco is not None:
        raise RefusedOrderError(
            UNSUPPORTED, "one-cancels-other exists for the legs of a bracket only"
        )
    return kind


def _legs_of(
    order: Any, children: Sequence[Any], units: Decimal, instrument: Instrument
) -> dict[str, Any]:
    legs: dict[str, Any] = {}
    fields = {Role.STOP_LOSS: "stop_loss", Role.TAKE_PROFIT: "take_profit"}
    for child in children:
        role = role_of(child)
        field = fields.get(role, "trailing_distance")
        if child.isbuy() == order.isbuy() or units_of(child.size, instrument) != units:
            raise RefusedOrderError(
                UNSUPPORTED, "a leg of a bracket closes all of what its entry opens"
            )
        if field in legs or child.oco is not None:
            raise RefusedOrderError(UNSUPPORTED, f"a bracket holds one {role}, and no oco")
        legs[field] = price_of(_leg_price(child, role), instrument, f"a {role} at")
    expiries = {valid_until(child) for child in children}
    if len(expiries) > 1:
        raise RefusedOrderError(UNSUPPORTED, "the legs of a bracket are valid equally long")
    return legs | {"legs_expire_at": expiries.pop() if expiries else None}


def _leg_price(child: Any, role: Role) -> Any:
    if role is not Role.TRAILING_STOP:
        return child.price
    if child.trailamount:
        return child.trailamount
    return (child.price or child.created.pclose) * (child.trailpercent or 0.0)


def _key(decision: Decision, names: LegNames, role: Role) -> str:
    name = decision.instrument.name
    leg = names.next(decision.strategy, name, decision.decided_at, role)
    return order_key(decision.account, decision.strategy, name, decision.decided_at, leg)
