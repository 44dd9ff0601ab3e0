"""Two writers of one table: BigQuery cancels one, which has then done nothing, and asks again.

A transaction that changes rows of a table cancels every other that would, at once: nobody stands
in a line. So each waits a random while, up to a longest one, and tries again; of many that wait
every one has the same chance.
https://cloud.google.com/bigquery/docs/transactions#transaction_concurrency
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from google.api_core.exceptions import GoogleAPICallError

from mbats.errors import NotReadyError

PATIENCE_S = 900.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

_SIGNS = (
    "could not serialize access",
    "due to concurrent update",
    "too many dml statements outstanding",  # 20 may wait for a table
    "failed to commit ducklake transaction",  # the local BigQuery's word for it
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Contention:
    """Asks again for what another writer stood in the way of. ``sleep`` and ``clock`` are in
    seconds, ``chance`` lies in [0, 1).
    """

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    def outlast(self, work: Callable[[], Result], patience_s: float = PATIENCE_S) -> Result:
        """Return what ``work`` returns, done anew as often as another writer comes first.

        Raises :class:`NotReadyError` when ``patience_s`` are over, and what else ``work`` raises.
        """
        begun = self.clock()
        for tries, pause in enumerate(self.pauses(), start=1):
            try:
                return work()
            except GoogleAPICallError as error:
                if not _is_contention(error):
                    raise
                if self.clock() + pause - begun > patience_s:
                    raise _given_up(error, tries, patience_s) from error
            self.sleep(pause)
        raise AssertionError("the pauses have no end")

    def pauses(self) -> Iterator[float]:
        """Yield how long to wait after each try."""
        longest = FIRST_PAUSE_S
        while True:
            yield longest * self.chance()
            longest = min(2 * longest, LONGEST_PAUSE_S)


def _is_contention(error: GoogleAPICallError) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def _given_up(error: GoogleAPICallError, tries: int, patience_s: float) -> NotReadyError:
    return NotReadyError(
        f"Others have kept writing the same table for {patience_s / 60:g} minutes.",
        tried=[f"{tries} times: {error.message}"],
        mend="run it again, nothing of this write is stored; and give a sweep fewer tasks",
    )
