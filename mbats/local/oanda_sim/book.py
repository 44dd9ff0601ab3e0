"""The market: the newest price of every instrument, its ladder, halts, and conversions home."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from mbats.local.oanda_sim.config import Spec
from mbats.local.oanda_sim.money import (
    ONE,
    SAME_CURRENCY,
    ZERO,
    Conversion,
    conversion_through,
    price_text,
)
from mbats.local.oanda_sim.quotes import Level, Quote
from mbats.local.oanda_sim.times import rfc3339


class Market:
    """Newest quotes. Pure: it is told of prices, halts and fills, and knows no clock.

    ``quotes`` holds the newest price of each instrument, ``tops`` the newest with both sides.
    """

    def __init__(self, specs: Sequence[Spec], conversion_fee: Decimal, consume: bool) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.quotes: dict[str, Quote] = {}
        self.tops: dict[str, Quote] = {}
        self.halted: set[str] = set()
        self._fee = conversion_fee
        self._consume = consume
        self._taken: dict[tuple[str, bool], Decimal] = {}

    def update(self, quote: Quote) -> None:
        """Make ``quote`` the newest of its instrument; what fills took off the ladder is back."""
        self.quotes[quote.instrument] = quote
        if self._taken:
            self._taken.pop((quote.instrument, True), None)
            self._taken.pop((quote.instrument, False), None)
        if quote.two_sided:
            self.tops[quote.instrument] = quote

    def tradeable(self, instrument: str) -> bool:
        """Whether orders in ``instrument`` can fill now."""
        quote = self.quotes.get(instrument)
        return quote is not None and quote.tradeable and instrument not in self.halted

    def known(self, instrument: str) -> bool:
        """Whether there ever was a price with both sides."""
        return instrument in self.tops

    def ladder(self, instrument: str, asks: bool) -> list[Level]:
        """Return what is left of one side of the ladder, best first."""
        quote = self.quotes.get(instrument)
        levels = () if quote is None else (quote.asks if asks else quote.bids)
        taken = self._taken.get((instrument, asks), ZERO)
        left = []
        for level in levels:
            used = min(taken, Decimal(level.liquidity))
            taken -= used
            if level.liquidity > used:
                left.append(Level(level.price, int(level.liquidity - used)))
        return left

    def take(self, instrument: str, units: Decimal) -> None:
        """Take the units of a fill (positive: bought) off the ladder until the next price."""
        if self._consume:
            key = (instrument, units > 0)
            self._taken[key] = self._taken.get(key, ZERO) + abs(units)

    def taken(self) -> dict[tuple[str, bool], Decimal]:
        """Return what fills have taken since the newest prices, by instrument and side."""
        return dict(self._taken)

    def restore_taken(self, taken: dict[tuple[str, bool], Decimal]) -> None:
        """Undo fills that did not happen after all."""
        self._taken = taken

    def conversion(self, currency: str, home: str) -> Conversion:
        """Return what one unit of ``currency`` is worth in ``home``; KeyError without a price.

        A direct pair converts at the middle of its best prices, rounded to its display precision;
        an inverse pair at the mean of the two inverses (both as recorded). Else through USD.
        """
        if currency == home:
            return SAME_CURRENCY
        legs = self._leg(currency, home)
        if legs is None:
            first, second = self._leg(currency, "USD"), self._leg("USD", home)
            if first is None or second is None:
                raise KeyError(f"no price converts {currency} to {home}")
            legs = (first[0] * second[0], first[1] * second[1], first[2] * second[2])
        return conversion_through(*legs, self._fee)

    def _leg(self, currency: str, home: str) -> tuple[Decimal, Decimal, Decimal] | None:
        if (top := self.tops.get(f"{currency}_{home}")) is not None:
            tick = self.specs[f"{currency}_{home}"].instrument.tick
            return top.middle.quantize(tick, rounding=ROUND_HALF_EVEN), top.best_bid, top.best_ask
        if (top := self.tops.get(f"{home}_{currency}")) is not None:
            low, high = ONE / top.best_ask, ONE / top.best_bid
            return (low + high) / 2, low, high
        return None

    def price_document(
        self, instrument: str, decimals: int | None = None, *, quote: Quote | None = None
    ) -> dict[str, Any]:
        """Return the PRICE document of the newest quote, or of ``quote``."""
        quote = quote or self.quotes[instrument]
        precision = self.specs[instrument].precision if decimals is None else decimals
        tradeable = quote.tradeable and instrument not in self.halted
        document = {
            "type": "PRICE",
            "time": rfc3339(quote.time_ns),
            "bids": _levels(quote.bids, precision),
            "asks": _levels(quote.asks, precision),
            "status": "tradeable" if tradeable else "non-tradeable",
            "tradeable": tradeable,
            "instrument": instrument,
        }
        if (top := self.tops.get(instrument)) is not None:
            document["closeoutBid"] = price_text(top.bids[-1].price, precision)
            document["closeoutAsk"] = price_text(top.asks[-1].price, precision)
        return document

    def full_price(self, instrument: str) -> dict[str, Any]:
        """Return the ``fullPrice`` of a fill: liquidity is a string here, as recorded."""
        price = self.price_document(instrument)
        for side, asks in (("bids", False), ("asks", True)):
            price[side] = [
                {
                    "price": price_text(level.price, self.specs[instrument].precision),
                    "liquidity": str(level.liquidity),
                }
                for level in self.ladder(instrument, asks)
            ]
        return {
            key: price[key]
            for key in ("closeoutBid", "closeoutAsk", "time", "bids", "asks")
            if key in price
        }


def _levels(levels: tuple[Level, ...], precision: int) -> list[dict[str, Any]]:
    return [
        {"price": price_text(level.price, precision), "liquidity": level.liquidity}
        for level in levels
    ]
