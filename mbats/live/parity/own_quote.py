"""A fill far from the recorded quote, against what the broker itself says it quoted just then.

A price takes time from the broker to the archive and to a paper account, and on a busy machine
more. A fill says which mid price it was made at. Where that is the price of an earlier recorded
tick, the account traded on that one; where no tick says it, the recording missed one.
"""

from datetime import timedelta
from decimal import Decimal

from mbats.live.parity.differences import Quotes, Reason
from mbats.live.parity.replay import Row

OLDEST = timedelta(minutes=1)
"""How old a price an account may fill at is looked for among the recorded ticks."""


def explained(
    fill: Row, quotes: Quotes, rate: Decimal, tolerance: Decimal
) -> tuple[Reason, str] | None:
    """Return why ``fill`` is off the quote recorded by its time; None where nothing says why.

    ``rate`` is account currency for one unit of the quote currency. Also None where the fill is
    further than ``tolerance``, in quote currency, from the broker's own quote: that is no matter
    of which tick it was.
    """
    mid = fill.get("mid_price")
    if mid is None:
        return None
    half = fill["spread_cost"] / (fill["units"] * rate)
    sign = 1 if fill["side"] == "buy" else -1
    if abs(sign * (fill["price"] - mid) - half) > tolerance:
        return None
    quoted_at = quotes.last_at_mid(mid, fill["time"] - OLDEST, fill["time"])
    if quoted_at is None:
        return Reason.MISSED_TICK, f"filled at the broker's quote of {mid}, which no tick recorded"
    age = (fill["time"] - quoted_at).total_seconds()
    return Reason.LATENCY, f"filled at the price of {age:.3f} s before: newer ones came later"
