"""OANDA's price and transaction streams, as threads that only put items into an inbox.

What oandapyV20 does was measured: its stream is a lazy generator, so that refusals come with the
first message; a clean end by the server ends the loop without a word, a cut raises, a line that is
not JSON kills the generator, and silence is an error only with a read timeout. All of them mean
the same here: :class:`~mbats.live.streams.Broken`, and a new connection after a pause.
"""

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal, InvalidOperation
from typing import Any

import requests
from oandapyV20 import V20Error
from oandapyV20.endpoints.apirequest import APIRequest
from oandapyV20.endpoints.pricing import PricingStream
from oandapyV20.endpoints.transactions import TransactionsStream
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

from mbats.config import Settings
from mbats.errors import ConfigError, DataError, MbatsError
from mbats.live.inbox import Logged, LogReached
from mbats.live.streams import Broken, Connected, Ended, Stream, Unreadable
from mbats.market.tick import Tick
from mbats.vendors import oanda_wire
from mbats.vendors.oanda_client import Backoff, refusal, session

Put = Callable[[Any], None]
Json = Mapping[str, Any]

SILENCE_SECONDS = 10.0
"""OANDA sends a heartbeat every 5 s; its own client gives up after 10."""

CONNECTIONS_PER_SECOND = 2
"""New connections that OANDA allows from one address."""

# What reading a message of another shape than OANDA's may raise.
_MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
_SHOWN = 200  # characters of a message that could not be read


class Pace:
    """Spaces the new connections of all streams of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next_at = clock()

    def wait_s(self) -> float:
        """Take the next place, and return how many seconds away it is."""
        with self._lock:
            now = self._clock()
            place = max(now, self._next_at)
            self._next_at = place + 1 / CONNECTIONS_PER_SECOND
            return place - now


_PACE = Pace()


class OandaStream(threading.Thread, ABC):
    """One stream, kept open until :meth:`stop` or a refusal that repeating cannot mend.

    ``counts`` tells what came: messages by kind, connections, breaks, unreadable messages.
    """

    stream: Stream

    def __init__(
        self,
        settings: Settings,
        put: Put,
        *,
        pace: Pace = _PACE,
        backoff: Backoff | None = None,
        seed: int | None = None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        silence_s: float = SILENCE_SECONDS,
    ) -> None:
        """Read the stream of the settings' account; ``seed`` makes the jitter repeatable."""
        super().__init__(name=f"oanda-{self.stream}", daemon=True)
        if not settings.oanda_account:
            raise ConfigError(
                f"The {self.stream} stream needs an OANDA account.",
                tried=["MBATS_OANDA_ACCOUNT", "oanda_account in mbats.toml"],
                mend="set MBATS_OANDA_ACCOUNT",
            )
        session(settings).close()  # a wrong setting is told here, not by the thread
        self._settings = settings
        self._account = settings.oanda_account
        self._put = put
        self._pace = pace
        self._backoff = backoff or Backoff(first_s=1.0, longest_s=60.0)
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._clock = clock
        self._silence_s = silence_s
        self.counts: Counter[str] = Counter()

    def stop(self) -> None:
        """Ask the thread to end; it does at the next message or silence, 10 s at the latest."""
        self._stopping.set()

    def run(self) -> None:
        """Keep the stream open."""
        failures = 0
        while not self._stopping.is_set():
            self._sleep(self._pause_s(failures))
            if self._stopping.is_set():
                return
            try:
                lasted_s, reason = self._one_connection()
            except MbatsError as error:
                self._put(Ended(self.stream, error))
                return
            # A connection that held for a while was good: what broke it is news.
            failures = 1 if lasted_s >= self._silence_s else failures + 1
            if not self._stopping.is_set():
                self.counts["breaks"] += 1
                self._put(Broken(self.stream, reason))

    def _pause_s(self, failures: int) -> float:
        """Return a backoff with jitter, and no less than OANDA's limit asks for."""
        wait_s = self._backoff.wait_s(failures) * self._random.uniform(0.5, 1) if failures else 0.0
        return max(wait_s, self._pace.wait_s())

    def _one_connection(self) -> tuple[float, str]:
        """Read until it breaks; return how many seconds it gave messages, and why it ended."""
        first_at: float | None = None
        reason = "the server ended the stream"
        try:
            with closing(self._messages()) as messages:
                for message in messages:
                    if first_at is None:
                        first_at = self._clock()
                        self.counts["connections"] += 1
                        self._put(Connected(self.stream))
                    self._take(message)
                    if self._stopping.is_set():
                        break
        except V20Error as error:
            if error.code != 429 and error.code < 500:
                raise refusal(error, f"the {self.stream} stream", self._address) from error
            reason = f"HTTP {error.code}"
        except requests.RequestException as error:
            reason = f"{type(error).__name__}: {str(error)[:_SHOWN]}"
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            reason = f"a line that is not JSON: {error}"
        return (0.0 if first_at is None else self._clock() - first_at), reason

    def _messages(self) -> Generator[Any, None, None]:
        """Yield messages of a new connection; closing the generator closes the connection."""
        with session(self._settings, self._silence_s) as api:
            self._address = TRADING_ENVIRONMENTS[api.environment]["stream"]
            with closing(api.request(self._request())) as lines:
                yield from lines

    def _take(self, message: Any) -> None:
        try:
            kind = message["type"]
            self._understand(kind, message)
        except (MbatsError, *_MALFORMED) as error:
            self.counts["unreadable"] += 1
            reason = error.cause if isinstance(error, MbatsError) else repr(error)
            text = json.dumps(message)[:_SHOWN]
            self._put(Unreadable(self.stream, reason, text))

    @abstractmethod
    def _request(self) -> APIRequest:
        """Return the request that opens the stream."""

    @abstractmethod
    def _understand(self, kind: str, message: Json) -> None:
        """Put what the message means."""


class PriceStream(OandaStream):
    """Prices of some instruments as :class:`~mbats.market.tick.Tick`, as OANDA sends them."""

    stream = Stream.PRICES

    def __init__(
        self, settings: Settings, instruments: Sequence[str], put: Put, **options: Any
    ) -> None:
        """Read the prices of ``instruments``; ``options`` are those of :class:`OandaStream`."""
        super().__init__(settings, put, **options)
        self._instruments = ",".join(instruments)

    def _request(self) -> APIRequest:
        return PricingStream(self._account, params={"instruments": self._instruments})

    def _understand(self, kind: str, message: Json) -> None:
        if kind == "HEARTBEAT":
            self.counts["heartbeats"] += 1
            return
        if kind != "PRICE":
            raise DataError(f"An unknown kind of message: {kind}.")
        made = tick(message)
        self.counts["ticks"] += 1
        if made.bid is None or made.ask is None:
            self.counts["empty_books"] += 1
        self._put(made)


class TransactionStream(OandaStream):
    """The account's transactions from now on; there is no replay of earlier ones.

    ``LogReached`` tells of a log that is further than what the stream gave.
    """

    stream = Stream.TRANSACTIONS
    _newest = 0

    def _request(self) -> APIRequest:
        return TransactionsStream(self._account)

    def _understand(self, kind: str, message: Json) -> None:
        if kind == "HEARTBEAT":
            self.counts["heartbeats"] += 1
            last_id = int(message["lastTransactionID"])
            if last_id > self._newest:
                self._put(LogReached(last_id))
            return
        made = oanda_wire.transaction(message)
        self._newest = max(self._newest, made.id)
        self.counts["transactions"] += 1
        self._put(Logged((made,)))


def tick(wire: Json) -> Tick:
    """Return OANDA's PRICE in our words. A side without prices is None.

    Raises :class:`DataError` for a price that is no positive number and for a bid above the ask.
    """
    instrument, moment = wire["instrument"], wire["time"]
    bid, bid_liquidity = _best(wire.get("bids"))
    ask, ask_liquidity = _best(wire.get("asks"))
    if bid is not None and ask is not None and bid > ask:
        raise DataError(f"A price of {instrument} has the bid {bid} above the ask {ask}.")
    return Tick(
        instrument=str(instrument),
        time=oanda_wire.parse_time(moment),
        bid=bid,
        ask=ask,
        bid_liquidity=bid_liquidity,
        ask_liquidity=ask_liquidity,
        tradeable=wire.get("tradeable", wire.get("status") == "tradeable") is True,
    )


def _best(ladder: Sequence[Json] | None) -> tuple[Decimal | None, int | None]:
    """Return price and liquidity of the first step of a ladder, best first."""
    if not ladder:
        return None, None
    text = ladder[0]["price"]
    try:
        price = Decimal(text)
    except InvalidOperation as error:
        raise DataError(f"A price is no number: {text!r}.") from error
    liquidity = ladder[0].get("liquidity")
    return price, None if liquidity is None else int(Decimal(liquidity))
