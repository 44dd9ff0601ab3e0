"""A thread that looks at the trading state, so that no message need arrive."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from mbats.errors import MbatsError
from mbats.live.control import ControlStore
from mbats.live.inbox import Control, Unseen
from mbats.live.ports import Clock

WATCH_SECONDS = 1.0


class ControlWatch(threading.Thread):
    """Puts the trading state into the inbox every second, or that it could not be read."""

    def __init__(
        self,
        store: ControlStore,
        put: Callable[[Any], None],
        clock: Clock,
        every_seconds: float = WATCH_SECONDS,
    ) -> None:
        super().__init__(name="control", daemon=True)
        self._store = store
        self._put = put
        self._clock = clock
        self._every_seconds = every_seconds
        self._ending = threading.Event()
        self._unseen_since: datetime | None = None

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._ending.wait(self._every_seconds):
            try:
                self._put(Control(self._store.read()[0]))
                self._unseen_since = None
            except (MbatsError, OSError) as error:
                self._unseen_since = self._unseen_since or self._clock.now()
                self._put(Control(Unseen(self._unseen_since, str(error))))

    def stop(self) -> None:
        """End at once."""
        self._ending.set()
