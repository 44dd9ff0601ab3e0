"""A price with its ladders. Integers inside, decimals only when someone looks."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from mbats.errors import DataError

# Points away from the best price and the units there, as recorded on EUR_USD and USD_JPY.
BID_LADDER = (
    (0, 500_000), (1, 500_000), (2, 2_000_000), (3, 2_000_000), (4, 5_000_000),
    (6, 10_000_000), (9, 10_000_000),
)  # fmt: skip
ASK_LADDER = (
    (0, 500_000), (2, 2_500_000), (3, 2_000_000), (4, 5_000_000), (7, 10_000_000),
    (10, 10_000_000),
)  # fmt: skip

Steps = tuple[tuple[int, int], ...]


class Level(NamedTuple):
    """A price and the units that can be had at it."""

    price: Decimal
    liquidity: int


@dataclass(frozen=True)
class Quote:
    """A price of one instrument at ``time_ns``.

    ``bid`` and ``ask`` are the best prices in points (10 ** -precision). A ladder's steps are
    points away from the best price, and units; a side without steps is empty.
    """

    instrument: str
    time_ns: int
    bid: int
    ask: int
    precision: int
    tradeable: bool = True
    bid_steps: Steps = BID_LADDER
    ask_steps: Steps = ASK_LADDER

    @property
    def two_sided(self) -> bool:
        """Whether there is both a bid and an ask."""
        return bool(self.bid_steps and self.ask_steps)

    @cached_property
    def bids(self) -> tuple[Level, ...]:
        """Bid levels, best first."""
        return tuple(
            Level(Decimal(self.bid - away).scaleb(-self.precision), units)
            for away, units in self.bid_steps
            if self.bid > away
        )

    @cached_property
    def asks(self) -> tuple[Level, ...]:
        """Ask levels, best first."""
        return tuple(
            Level(Decimal(self.ask + away).scaleb(-self.precision), units)
            for away, units in self.ask_steps
        )

    @cached_property
    def best_bid(self) -> Decimal:
        """Best bid."""
        return Decimal(self.bid).scaleb(-self.precision)

    @cached_property
    def best_ask(self) -> Decimal:
        """Best ask."""
        return Decimal(self.ask).scaleb(-self.precision)

    @property
    def middle(self) -> Decimal:
        """Middle of best bid and ask, unrounded."""
        return (self.best_bid + self.best_ask) / 2

    @property
    def is_standard(self) -> bool:
        """Whether both ladders have the recorded shape."""
        return self.bid_steps == BID_LADDER and self.ask_steps == ASK_LADDER

    def document(self) -> dict[str, Any]:
        """Return the quote as JSON keeps it."""
        return {
            "instrument": self.instrument,
            "time_ns": self.time_ns,
            "bids": [[str(level.price), level.liquidity] for level in self.bids],
            "asks": [[str(level.price), level.liquidity] for level in self.asks],
            "tradeable": self.tradeable,
        }


def quote_from(document: dict[str, Any], precision: int, now_ns: int) -> Quote:
    """Return the quote that a document like :meth:`Quote.document` says.

    ``bids`` and ``asks`` are lists of [price, units], best first; a bare price has the recorded
    ladder behind it. Without ``time_ns`` it is of ``now_ns``. Raises
    :class:`~mbats.errors.DataError` for prices that are no prices.
    """
    bid, bid_steps = _side(document.get("bids", []), precision, BID_LADDER, -1)
    ask, ask_steps = _side(document.get("asks", []), precision, ASK_LADDER, 1)
    return Quote(
        str(document["instrument"]),
        int(document.get("time_ns", now_ns)),
        bid, ask, precision, bool(document.get("tradeable", True)), bid_steps, ask_steps,
    )  # fmt: skip


def _side(given: Any, precision: int, standard: Steps, away: int) -> tuple[int, Steps]:
    if not isinstance(given, list):
        return _points(given, precision), standard
    if not given:
        return 0, ()
    levels = [(_points(price, precision), int(units)) for price, units in _pairs(given)]
    best = levels[0][0]
    return best, tuple(((price - best) * away, units) for price, units in levels)


def _pairs(given: list[Any]) -> Iterable[tuple[Any, Any]]:
    return ((level[0], level[1]) for level in given)


def _points(price: Any, precision: int) -> int:
    try:
        points = Decimal(str(price)).scaleb(precision)
    except ArithmeticError:
        raise DataError(f"{price!r} is not a price.") from None
    if not points.is_finite() or points <= 0 or points != points.to_integral_value():
        raise DataError(f"{price!r} is not a price of {precision} decimal places.")
    return int(points)
