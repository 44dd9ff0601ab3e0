"""Orders before they are sent: what is wanted, and the key that names it for ever.

The key is the same after any restart: it is a hash of who decides (account, strategy), what about
(instrument), when (the decision time, not the wall clock) and which leg. A bot that comes back
and decides the same thing again finds the key in its journal and does not send twice.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from mbats.errors import DataError

KEY_VERSION = "m1"
_DIGEST_CHARACTERS = 24  # 96 bits: no clash in any number of orders a desk can send


class Side(StrEnum):
    """Direction of an order; its sign is the sign of signed units."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """Plus one for a buy, minus one for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order fills."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    TRAILING_STOP = "trailing_stop"


class Role(StrEnum):
    """Why an order exists, in the words of ``risk.order_event``."""

    ENTRY = "entry"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """One order as a strategy wants it, before any risk rule has seen it.

    ``units`` are positive, in the base currency. ``price`` is the limit or stop price,
    ``price_bound`` the worst acceptable fill, both in quote currency. The three on-fill legs become
    orders of the trade this one opens: two prices, and a trailing distance in quote currency.
    ``reduce_only`` orders may shrink a position, never open or flip one. ``expires_at`` None means
    good till cancelled; ``legs_expire_at`` is the same for the on-fill legs.
    """

    key: str
    account: str
    strategy: str
    instrument: str
    side: Side
    units: Decimal
    decided_at: datetime
    type: OrderType = OrderType.MARKET
    role: Role = Role.ENTRY
    price: Decimal | None = None
    price_bound: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_distance: Decimal | None = None
    reduce_only: bool = False
    expires_at: datetime | None = None
    legs_expire_at: datetime | None = None

    def __post_init__(self) -> None:
        if not (self.units.is_finite() and self.units > 0):
            raise DataError(f"An order for {self.units} units of {self.instrument} is no order.")
        for name in ("price", "price_bound", "stop_loss", "take_profit", "trailing_distance"):
            value = getattr(self, name)
            if value is not None and not (value.is_finite() and value > 0):
                raise DataError(f"An order on {self.instrument} has {name} {value}.")
        if self.type in (OrderType.LIMIT, OrderType.STOP) and self.price is None:
            raise DataError(f"A {self.type} order on {self.instrument} has no price.")
        if self.decided_at.tzinfo is None:
            raise DataError(f"An order on {self.instrument} was decided at a time without a zone.")

    @property
    def signed_units(self) -> Decimal:
        """Units with the sign of the side."""
        return self.units * self.side.sign


def order_key(
    account: str, strategy: str, instrument: str, decided_at: datetime, leg: str = "entry"
) -> str:
    """Return the key of one leg of one decision: letters, digits and dashes, at most 64.

    ``leg`` tells apart several orders of one decision on one instrument (``entry``, ``exit``,
    ``entry-2``). Times are compared to the microsecond, in UTC.
    """
    if decided_at.tzinfo is None:
        raise DataError("an order key needs a decision time with a zone")
    moment = f"{decided_at.timestamp():.6f}"
    text = "\x1f".join((account, strategy, instrument, moment, leg))
    return f"{KEY_VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"


_SUFFIX = {Role.STOP_LOSS: "sl", Role.TAKE_PROFIT: "tp", Role.TRAILING_STOP: "ts"}


def leg_key(key: str, role: Role) -> str:
    """Return the key of an on-fill leg of the order named ``key``."""
    return f"{key}-{_SUFFIX[role]}"


def parent_key(key: str) -> str:
    """Return the key of the order that ``key`` is a leg of, or ``key`` itself."""
    head, _, tail = key.rpartition("-")
    return head if tail in _SUFFIX.values() and head.startswith(KEY_VERSION + "-") else key


def is_ours(key: str | None) -> bool:
    """Tell whether a client id was made by :func:`order_key`."""
    if not key:
        return False
    version, _, digest = parent_key(key).partition("-")
    return version == KEY_VERSION and len(digest) == _DIGEST_CHARACTERS
