"""Two writers of one table: BigQuery cancels one, which has then done nothing, and asks again.
So does who finds the project's queue of queries full.

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

_WRITING, _ASKING = "kept writing the same table", "filled the project's queue of queries"
_SIGNS = {
    "could not serialize access": _WRITING,
    "due to concurrent update": _WRITING,
    "too many dml statements outstanding": _WRITING,  # 20 may wait for a table
    "failed to commit ducklake transaction": _WRITING,  # the local BigQuery's word for it
    "max number of jobs that can be queued": _ASKING,  # 1,000 a project and region
}

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
                if not _others_did(error):
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


def _others_did(error: GoogleAPICallError) -> str:
    """Return what others did that stood in the way, or an empty text."""
    text = str(error).lower()
    return next((what for sign, what in _SIGNS.items() if sign in text), "")


def _given_up(error: GoogleAPICallError, tries: int, patience_s: float) -> NotReadyError:
    return NotReadyError(
        f"Others have {_others_did(error)} for {patience_s / 60:g} minutes.",
        tried=[f"{tries} times: {error.message}"],
        mend="run it again when they have ended: nothing of this is stored",
    )
