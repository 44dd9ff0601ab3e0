"""What a session sent and another one was told of: between the two a bot was killed.

A bot that dies between an order and its fill tells nobody of the fill; whoever starts next reads it
in the broker's log, and tells it as of its own run. So each of the two has one side of it.
"""

from collections.abc import Sequence
from datetime import datetime

from mbats.live.orders.protocol import Fate
from mbats.live.parity.replay import Row, Session
from mbats.trading.order import parent_key


class Elsewhere:
    """The other sessions of an account, asked about the orders of one."""

    def __init__(self, session: Session) -> None:
        self._told_to = {row["order_key"]: str(row["run_id"]) for row in session.other_fills}
        self._sent_by = {
            parent_key(row["order_key"]): str(row["run_id"]) for row in session.other_orders
        }
        self._said = {row["order_key"]: row for row in session.other_events}
        self._began: datetime = session.run["started_at"]

    def told_to(self, key: str) -> str | None:
        """Return who was told of the fill of an order of this session; None if nobody else was."""
        run = self._told_to.get(key)
        return None if run is None else f"told to run {run}, as it recovered"

    def said_of(self, key: str) -> str | None:
        """Return what another run found out became of an order of this session, if one did."""
        said = self._said.get(parent_key(key))
        if said is None or said["code"] == Fate.PLACED:
            return None
        return f"{said['code']}, told to run {said['run_id']}: {said['detail']}"

    def sent_before(self, key: str, fills: Sequence[Row]) -> str | None:
        """Return why a fill that was told here is of an order of an earlier run; None if it is not.

        The earlier run may have told of the order, or have been killed before it could.
        """
        run, filled = self._sent_by.get(parent_key(key)), fills[0]["time"]
        if run is not None:
            return f"sent by run {run}, told to this one"
        if filled >= self._began:
            return None
        before = (self._began - filled).total_seconds()
        return f"filled {before:.3f} s before this run began, and told to it as it recovered"
