"""What the end of a session keeps one side from doing, where that can be proved.

A session that ends within seconds of a decision leaves the two sides unequal. Live may have filled
an order that the replay sends too, with no price left to fill it at; or the replay decides on a
bar that live was never asked about, because it was over first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from mbats.live.parity.differences import Quotes
from mbats.live.parity.replay import Expected, Row, Session
from mbats.live.trader import ENTRY_LIFETIME

SETTLING = timedelta(seconds=5)
"""A bar that ends so shortly before the session may not have been seen."""


class SessionEdge:
    """The last moments of a session, asked order by order."""

    def __init__(self, session: Session, quotes: Mapping[str, Quotes]) -> None:
        self._ended_at: datetime = session.run["ended_at"]
        self._quotes = quotes
        self._sent = {row["order_key"] for row in session.orders}
        self._asked_about = {row["instrument"] for row in session.signals}
        self._newest_seen = max((row["known_at"] for row in session.signals), default=None)

    def left_no_price(self, sent: Expected, fills: Sequence[Row]) -> str | None:
        """Return why the replay could not fill what live filled; None where it could have.

        It must be the same order, sent as late as one that could still be filled; a recording that
        stopped earlier than the session is another matter.
        """
        last = self._last_price(sent.instrument)
        if last is None or last >= sent.decided_at or fills[0]["side"] != sent.side:
            return None
        left = self._ended_at - sent.decided_at
        if not timedelta(0) <= left <= ENTRY_LIFETIME:
            return None
        return (
            f"the session ended {left.total_seconds():.3f} s after the decision, and no price was "
            "recorded in between: the replay sends this order and has nothing to fill it at"
        )

    def came_first(self, expected: Expected) -> str | None:
        """Return why live never decided on a bar it has no signal of; None where it had time to.

        A session that kept no signals is believed only where it ended with the bar itself. One that
        saw another instrument's bar of that end saw all of them that there were.
        """
        if self._newest_seen is not None and self._newest_seen >= expected.decided_at:
            return None
        left = self._ended_at - expected.decided_at
        time_to_see = SETTLING if expected.instrument in self._asked_about else timedelta(0)
        if expected.key in self._sent or left > time_to_see:
            return None
        return (
            f"the session ended {left.total_seconds():.3f} s after the bar that ended "
            f"{expected.decided_at:%Y-%m-%d %H:%M:%S}, before it could decide on it"
        )

    def _last_price(self, instrument: str) -> datetime | None:
        quotes = self._quotes.get(instrument)
        return None if quotes is None else quotes.last
