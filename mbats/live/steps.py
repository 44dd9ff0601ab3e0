"""Bars of all feeds in steps: all that end at one instant are seen together, as in a backtest."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from mbats.live.feed import FeedBar, LiveFeed

Step = Mapping[LiveFeed, FeedBar]

_SHORTEST_WINDOW = timedelta(seconds=10)
_WINDOW_SHARE = 60


def decision_window(step: Iterable[FeedBar]) -> timedelta:
    """Return how long after the end of a step's bars a strategy may still decide on them.

    Ten seconds, or a sixtieth of the shortest bar if that is longer: a minute of an hour, 24
    minutes of a day. What is older moves the indicators on, and no more.
    """
    return max(_SHORTEST_WINDOW, min(bar.end - bar.start for bar in step) / _WINDOW_SHARE)


class Steps:
    """Collects complete bars and gives them out step by step, in order of their end.

    A bar that its own next tick completed waits for the bars of other feeds that end no later and
    are still open: until their next ticks come, or ``patience`` after its end, when the clock
    closes them. Patience is for ticks on their way.
    """

    def __init__(self, patience: timedelta) -> None:
        self._patience = patience
        self._feeds: list[LiveFeed] = []
        self._collected: dict[datetime, dict[LiveFeed, FeedBar]] = {}
        self._first_end: datetime | None = None  # of the bars that are open
        self._stale = False  # whether bars opened or closed since that was found out

    def add_feed(self, feed: LiveFeed) -> None:
        """Take part in every step."""
        self._feeds.append(feed)
        self._stale = True

    def moved(self) -> None:
        """Hear that a feed opened or closed a bar, began to build or ceased to."""
        self._stale = True

    def collect(self, feed: LiveFeed, bars: Iterable[FeedBar]) -> None:
        """Take complete bars of one feed."""
        for bar in bars:
            self._collected.setdefault(bar.end, {})[feed] = bar

    def close_until(self, now: datetime) -> None:
        """Close by the clock what ended a patience ago."""
        until = now - self._patience
        first = self._first()
        if first is None or first > until:
            return
        for feed in self._feeds:
            end = feed.builder.open_until if feed.building else None
            if end is not None and end <= until:
                closed = feed.builder.advance(until)
                self.collect(feed, feed.unseen([FeedBar.of(bar) for bar in closed]))
        self._stale = True

    def closes_at(self) -> datetime | None:
        """Return when the clock closes the next bar; None while none is open."""
        first = self._first()
        return None if first is None else first + self._patience

    def _first(self) -> datetime | None:
        """Return the first end of all open bars; asked at every tick, it changes once a bar."""
        if self._stale:
            ends = [f.builder.open_until for f in self._feeds if f.building]
            self._first_end = min((end for end in ends if end is not None), default=None)
            self._stale = False
        return self._first_end

    def drop(self, end: datetime) -> None:
        """Forget a step: it was given out."""
        del self._collected[end]

    def ready(self) -> tuple[datetime, Step] | None:
        """Return the next step and its end, once all of it is there."""
        if not self._collected:
            return None
        end = min(self._collected)
        for feed in self._feeds:
            open_until = feed.builder.open_until if feed.building else None
            if open_until is not None and open_until <= end:
                return None
        return end, self._collected[end]
