"""What a session said of an order that its replay fills and it did not: never more than it said.

An event counts where it names the order itself, its bracket's entry, another order of the very same
decision, or no order but the instrument, in the moment of the decision. An order of an earlier
decision counts only while nobody knew what had become of it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np

from mbats.live.orders.protocol import Fate
from mbats.live.parity.differences import Reason
from mbats.live.parity.replay import Expected, Session
from mbats.market.newyork import instant, to_datetime
from mbats.trading.order import Role, order_key, parent_key

Said = tuple[Reason, str]

_ENDS = ("rejected", "expired", "canceled")
_SHORTEST_MOMENT = timedelta(seconds=10)
_MOST_ORDERS = 9  # of one role in one decision


class Told:
    """The events of a session, asked order by order.

    ``asked_at`` returns when the strategy was asked about the bar of a decision. ``bars_kept``
    tells that the session kept the bars it saw: they prove late ticks better than a count of them.
    """

    def __init__(
        self, session: Session, asked_at: Callable[[Expected], datetime], *, bars_kept: bool
    ) -> None:
        self._session = session
        self._asked_at = asked_at
        self._bars_kept = bars_kept

    def why(self, expected: Expected) -> Said | None:
        """Return why ``expected`` did not fill, in the session's words; None where it says none."""
        asked = (self._of_itself, self._without_key, self._of_its_decision, self._of_an_unknown)
        for ask in asked:
            said = ask(expected)
            if said is not None:
                return said
        return None

    def _of_itself(self, expected: Expected) -> Said | None:
        own = {expected.key, parent_key(expected.key)}
        events = [
            e for e in self._session.events if e["order_key"] in own and e["code"] != Fate.PLACED
        ]
        events.sort(key=lambda e: (e["severity"] == "info", e["time"]))
        for event in events:
            return Reason.DENIED, f"{event['code']}: {event['detail']}"
        for order in self._session.orders:
            if order["order_key"] == expected.key and order["event"] in _ENDS:
                return Reason.DENIED, f"{order['event']}: {order['reason'] or 'no reason given'}"
        return None

    def _without_key(self, expected: Expected) -> Said | None:
        """Return what was said in the moment of the decision of an order that never had a key."""
        start = to_datetime(
            self._session.granularity.bar_start(
                instant(expected.decided_at) - np.timedelta64(1, "us")
            )
        )
        window = max(_SHORTEST_MOMENT, (expected.decided_at - start) / 60)
        for event in self._session.events:
            about = (event["order_key"], event["instrument"])
            late = event["time"] - expected.decided_at
            if about == (None, expected.instrument) and timedelta(0) <= late <= window:
                ticks = event["code"] == "LATE_TICKS"
                if ticks and self._bars_kept:
                    continue
                reason = Reason.MISSED_TICK if ticks else Reason.DENIED
                return reason, f"{event['code']}: {event['detail']}"
        return None

    def _of_its_decision(self, expected: Expected) -> Said | None:
        """Return what was said of another order of the same decision: it kept this one back."""
        keys = self._keys_of_decision(expected)
        for event in self._session.events:
            key = event["order_key"]
            if event["severity"] != "info" and key and parent_key(key) in keys:
                return Reason.DENIED, f"{event['code']} of {key}: {event['detail']}"
        return None

    def _keys_of_decision(self, expected: Expected) -> set[str]:
        names = [
            f"{role}-{number}" if number > 1 else str(role)
            for role in (Role.ENTRY, Role.EXIT)
            for number in range(1, _MOST_ORDERS + 1)
        ]
        session = self._session
        return {
            order_key(
                session.account, session.loaded.name, expected.instrument, expected.decided_at, name
            )
            for name in names
        }

    def _of_an_unknown(self, expected: Expected) -> Said | None:
        """Return which earlier order had no known outcome yet: nothing is sent past it."""
        asked = self._asked_at(expected)
        events = self._session.events
        for event in events:
            about = (event["code"], event["instrument"])
            if about != (Fate.UNKNOWN, expected.instrument) or event["time"] > asked:
                continue
            key = event["order_key"]
            known = [e["time"] for e in events if e["order_key"] == key and e["severity"] == "info"]
            if not known or asked <= min(known):
                return Reason.DENIED, f"what became of {key} was not known yet: {event['detail']}"
        return None
