"""What a backtest of bars cannot see: in which order prices came within a bar.

backtrader looks at orders once a bar. The legs of a bracket are first looked at in the bar after
their entry's, and where both would fill in one bar it takes the stop. At a broker a leg is active
as soon as its entry has filled, and the first to be touched fills.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from mbats.live.parity.replay import Expected, Row
from mbats.market.granularity import Granularity
from mbats.trading.order import parent_key


class WithinBars:
    """The fills of a session against those of its replay, by the bars they were in."""

    def __init__(
        self,
        granularity: Granularity,
        live: Mapping[str, Sequence[Row]],
        expected: Mapping[str, Expected],
    ) -> None:
        self._granularity = granularity
        self._live = live
        self._replay = {key: e for key, e in expected.items() if e.filled_at is not None}
        self._legs: dict[str, list[str]] = {}  # by their entry, those that either side filled
        for key in {**live, **self._replay}:
            if parent_key(key) != key:
                self._legs.setdefault(parent_key(key), []).append(key)
        known = {key: e.instrument for key, e in expected.items()}
        known |= {key: fills[0]["instrument"] for key, fills in live.items()}
        self._with_legs = {name for key, name in known.items() if parent_key(key) != key}
        self._spans: dict[str, list[tuple[datetime, datetime, str]]] = {}
        for key in live.keys() & self._replay.keys():
            self._note_span(key)

    def leg(self, key: str) -> str | None:
        """Return why only one side filled the leg ``key``; None if bars do not explain it."""
        entry = self._live.get(parent_key(key))
        if parent_key(key) == key or entry is None:
            return None
        for own in self._legs[parent_key(key)]:
            filled = self._live.get(own)
            if filled is None:
                continue
            bar = self._bar(filled)
            if bar == self._bar(entry):
                return "a leg filled within its entry's bar, where a backtest does not look"
            if any(self._replay_bar(o) == bar for o in self._legs[parent_key(key)] if o != own):
                return "both legs were touched within one bar, where a backtest takes the stop"
        return None

    def has_legs(self, instrument: str) -> bool:
        """Tell whether either side's trades in ``instrument`` had stops or targets of their own."""
        return instrument in self._with_legs

    def another_bar(self, key: str) -> str:
        """Say in which bars an order filled, if not in the same; "" if it did."""
        live, replayed = self._bar(self._live[key]), self._replay_bar(key)
        if live == replayed or replayed is None:
            return ""
        return f"filled in the bar of {live:%H:%M:%S} live, of {replayed:%H:%M:%S} in the replay"

    def apart(self, instrument: str, moment: datetime) -> str | None:
        """Return the key of an order that one side had filled at ``moment`` and the other not."""
        for start, end, key in self._spans.get(instrument, ()):
            if start <= moment <= end:
                return key
        return None

    def _note_span(self, key: str) -> None:
        fills, replayed = self._live[key], self._replay[key]
        if not self.another_bar(key) or replayed.filled_at is None:
            return
        times = (fills[0]["time"], fills[-1]["time"], replayed.filled_at)
        span = (min(times), self._granularity.end_of(max(times)), key)
        self._spans.setdefault(replayed.instrument, []).append(span)

    def _bar(self, fills: Sequence[Row]) -> datetime:
        return self._granularity.start_of(fills[0]["time"])

    def _replay_bar(self, key: str) -> datetime | None:
        replayed = self._replay.get(key)
        if replayed is None or replayed.filled_at is None:
            return None
        return self._granularity.start_of(replayed.filled_at)
