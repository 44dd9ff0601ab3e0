"""Threads that look at something now and then, so that no message need arrive."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from mbats.errors import MbatsError
from mbats.live.control import ControlStore
from mbats.live.inbox import Control, Unseen, Valued
from mbats.live.orders.ports import AccountState, Clock

log = logging.getLogger(__name__)

CONTROL_SECONDS = 1.0
ACCOUNT_SECONDS = 60.0

Put = Callable[[Any], None]


class Watch(threading.Thread):
    """Calls :meth:`look` every ``every_seconds`` until :meth:`stop`."""

    def __init__(self, name: str, put: Put, every_seconds: float) -> None:
        super().__init__(name=name, daemon=True)
        self.put = put
        self._every_seconds = every_seconds
        self._ending = threading.Event()

    def run(self) -> None:
        """Look until :meth:`stop`."""
        while not self._ending.wait(self._every_seconds):
            self.look()

    def look(self) -> None:
        """Look once, and put what is seen into the inbox."""
        raise TypeError(f"{type(self).__name__} does not say what it looks at")

    def stop(self) -> None:
        """End at once."""
        self._ending.set()


class ControlWatch(Watch):
    """Puts the trading state into the inbox, or that it could not be read, and since when."""

    def __init__(
        self, store: ControlStore, put: Put, clock: Clock, every_seconds: float = CONTROL_SECONDS
    ) -> None:
        super().__init__("control", put, every_seconds)
        self._store = store
        self._clock = clock
        self._unseen_since: datetime | None = None

    def look(self) -> None:
        """Read the trading state."""
        try:
            self.put(Control(self._store.read()[0]))
            self._unseen_since = None
        except (MbatsError, OSError) as error:
            self._unseen_since = self._unseen_since or self._clock.now()
            self.put(Control(Unseen(self._unseen_since, str(error))))


class AccountWatch(Watch):
    """Puts the account as the broker values it into the inbox; trading never waits for it."""

    def __init__(
        self, read: Callable[[], AccountState], put: Put, every_seconds: float = ACCOUNT_SECONDS
    ) -> None:
        super().__init__("account", put, every_seconds)
        self._read = read

    def look(self) -> None:
        """Read the account; where the broker does not answer, the bot values it itself."""
        try:
            self.put(Control(Valued(self._read())))
        except (MbatsError, OSError) as error:
            log.warning("the account could not be read: %s", error)
