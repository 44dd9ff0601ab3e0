"""What a parity report says: reasons, price differences split in parts, totals.

The cost of a price difference is sign * (live - replay) * units in account currency: above zero
where live was worse. With the quote at each of the two fills it splits without a remainder:

* latency: the mid price moved between the two fills,
* spread: half the spread at the live fill less half of it at the replay's,
* slippage: how far the live fill was from the quote, less what the replay assumed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from enum import StrEnum

import numpy as np

from mbats.live.parity.replay import Expected, Row
from mbats.market.newyork import instant, to_datetime, to_micros
from mbats.market.tick import Ticks

_DIGITS = 120  # enough for a price times units times a rate to stay exact
NOTHING = Decimal(0)


class Reason(StrEnum):
    """Why a trade differs; :attr:`UNEXPLAINED` is the one that asks for a person."""

    SAME = "same"
    SPREAD = "spread"
    SLIPPAGE = "slippage"
    LATENCY = "latency"
    SIZING = "sizing"
    PARTIAL = "partial fill"
    DENIED = "denied"
    MISSED_TICK = "missed tick"
    LATE_BAR = "late bar"
    CARRIED = "carried over"
    FOLLOWS = "follows"
    WITHIN_BAR = "within a bar"
    SESSION_ENDED = "session ended"
    OTHER_RUN = "told to another run"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Parts:
    """A price difference in account currency; above zero where live was worse.

    ``unquoted`` is the whole of it where no quote was recorded by the time of the fill.
    """

    spread: Decimal = NOTHING
    slippage: Decimal = NOTHING
    latency: Decimal = NOTHING
    unquoted: Decimal = NOTHING

    @property
    def total(self) -> Decimal:
        """The whole difference."""
        return total([self.spread, self.slippage, self.latency, self.unquoted])

    def __add__(self, other: "Parts") -> "Parts":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Parts(*(total(pair) for pair in pairs))


@dataclass(frozen=True)
class Difference:
    """One order, live and replayed. Units and prices are None where that one has no fill.

    ``replay_units`` are below zero where the replay trades to the other side than ``side``.
    ``slippage_pips`` is how far the live fill was from the quote beyond what was assumed.
    """

    key: str
    time: datetime
    instrument: str
    side: str
    role: str
    reason: Reason
    detail: str = ""
    live_units: Decimal | None = None
    replay_units: Decimal | None = None
    live_price: Decimal | None = None
    replay_price: Decimal | None = None
    parts: Parts = Parts()
    slippage_pips: Decimal = NOTHING


@dataclass(frozen=True)
class Report:
    """All differences in order of time, and which bars the session saw otherwise."""

    run_id: str
    differences: Sequence[Difference]
    bars_missed: Sequence[tuple[str, datetime]] = ()

    @property
    def unexplained(self) -> Sequence[Difference]:
        """What nobody can say the reason of."""
        return [d for d in self.differences if d.reason is Reason.UNEXPLAINED]

    @property
    def parity(self) -> bool:
        """Whether every difference has a reason."""
        return not self.unexplained

    def totals(self) -> dict[str, Parts]:
        """Return the parts by instrument, and of all under ``ALL``."""
        found: dict[str, Parts] = {}
        for each in self.differences:
            for name in (each.instrument, "ALL"):
                found[name] = found.get(name, Parts()) + each.parts
        return {
            **{n: found[n] for n in sorted(found) if n != "ALL"},
            "ALL": found.get("ALL", Parts()),
        }


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum."""
    with localcontext(prec=_DIGITS):
        return sum(amounts, NOTHING)


class Quotes:
    """What one instrument was quoted at, from its recorded ticks."""

    def __init__(self, ticks: Ticks) -> None:
        usable = ticks.tradeable & ~np.isnan(ticks.bid + ticks.ask)
        order = np.argsort(to_micros(ticks.time[usable]), kind="stable")
        self._time = ticks.time[usable][order]
        self._bid, self._ask = ticks.bid[usable][order], ticks.ask[usable][order]

    @property
    def last(self) -> datetime | None:
        """When it was quoted last; None if never."""
        return to_datetime(self._time[-1]) if len(self._time) else None

    def at(self, moment: datetime) -> tuple[Decimal, Decimal] | None:
        """Return the last bid and ask by ``moment``; None before the first."""
        index = int(np.searchsorted(self._time, instant(moment), side="right")) - 1
        if index < 0:
            return None
        return self._quote(index)

    def last_at_mid(self, mid: Decimal, since: datetime, until: datetime) -> datetime | None:
        """Return when the mid price was ``mid`` last in [since, until]; None if it was not."""
        first = int(np.searchsorted(self._time, instant(since), side="left"))
        end = int(np.searchsorted(self._time, instant(until), side="right"))
        for index in range(end - 1, first - 1, -1):
            if sum(self._quote(index)) / 2 == mid:
                return to_datetime(self._time[index])
        return None

    def _quote(self, index: int) -> tuple[Decimal, Decimal]:
        bid, ask = float(self._bid[index]), float(self._ask[index])
        return Decimal(repr(bid)), Decimal(repr(ask))


def off_quote(fill: Row, quote: tuple[Decimal, Decimal]) -> Decimal:
    """Return how much worse than ``quote``, bid and ask, a fill was, in quote currency."""
    bid, ask = quote
    sign = 1 if fill["side"] == "buy" else -1
    return Decimal(sign * (fill["price"] - (bid + ask) / 2) - (ask - bid) / 2)


def split(
    fill: Row, expected: Expected, quote: tuple[Decimal, Decimal] | None, rate: Decimal
) -> tuple[Parts, Decimal]:
    """Return the parts of one live fill's difference, and its slippage in quote currency.

    The parts sum exactly to sign * (live price - replay price) * units * rate.
    """
    if expected.price is None:
        raise ValueError("an order that the replay did not fill has no price to compare")
    with localcontext(prec=_DIGITS):
        sign = 1 if fill["side"] == "buy" else -1
        worth = fill["units"] * rate
        if quote is None:
            return Parts(unquoted=sign * (fill["price"] - expected.price) * worth), NOTHING
        bid, ask = quote
        mid, half = (bid + ask) / 2, (ask - bid) / 2
        # The replay's quote is what is left of its price: exact, whatever was rounded in it.
        replayed = expected.price - sign * (expected.half_spread + expected.slippage)
        slippage = off_quote(fill, quote) - expected.slippage
        spread, latency = half - expected.half_spread, sign * (mid - replayed)
        return Parts(spread * worth, slippage * worth, latency * worth), slippage
