"""What a broker's stream tells besides its prices and transactions: how the stream itself does.

After :class:`Broken` whatever happened until the next :class:`Connected` was missed, and must be
read by other means: the transaction log from its cursor, bars from the broker's candles.
"""

from dataclasses import dataclass
from enum import StrEnum

from mbats.errors import MbatsError


class Stream(StrEnum):
    """Which of a broker's streams."""

    PRICES = "prices"
    TRANSACTIONS = "transactions"


class Mark(StrEnum):
    """A gap in one instrument's ticks, as the streamer marks it on the bus."""

    LOST = "lost"
    """From here on prices were missed."""

    BACK = "back"
    """Prices come again: what was missed is to be read as bars."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream gives messages, from now on."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream gives nothing any more; it is being opened again."""

    stream: Stream
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that could not be taken: ``text`` is its beginning. The stream goes on."""

    stream: Stream
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream has ended and will not be opened again: a person must mend ``error``."""

    stream: Stream
    error: MbatsError
