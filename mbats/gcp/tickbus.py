"""Ticks over Pub/Sub into an inbox: one subscription a bot, ordered by instrument.

The filter by instrument is applied here as well as asked of the service: the emulator applies none,
and Google takes none of more than 256 bytes.
"""

import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

from google.api_core import exceptions

from mbats.config import Settings
from mbats.errors import DataError, MbatsError
from mbats.gcp import connection, messages
from mbats.gcp.connection import speaking
from mbats.gcp.pull_stream import ACK_SECONDS, PullStream
from mbats.live.inbox import PricesBack, PricesLost
from mbats.live.streams import Mark

log = logging.getLogger(__name__)

RETENTION = timedelta(minutes=10)  # the least that Pub/Sub takes; older ticks are worth nothing
EXPIRY = timedelta(days=1)  # the least that Pub/Sub takes
FILTER_LIMIT_BYTES = 256
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

# What Pub/Sub ends a healthy stream with, now and then.
_ROUTINE = (
    exceptions.Aborted,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)

Put = Callable[[Any], None]


class TickSubscription(threading.Thread):
    """Keeps a streaming pull open and puts Tick, PricesLost and PricesBack into ``put``.

    ``counts`` tells what came: ticks, marks, filtered, unreadable, breaks, renewals. A message is
    acknowledged after it was put.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        instruments: Collection[str],
        put: Put,
        *,
        ordered: bool = True,
        create: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the subscription ``name`` where it is missing: from then on ticks wait in it.

        Without ``create`` it is there already: in the cloud Terraform makes it, and a bot may
        not. Raises :class:`NotReadyError` where Pub/Sub or the topic
        does not answer.
        """
        super().__init__(name=f"ticks {name}", daemon=True)
        self._client = connection.subscriber_client(settings)
        self._path = self._client.subscription_path(settings.project, name)
        self._topic = f"projects/{settings.project}/topics/{messages.TICKS}"
        self._instruments = frozenset(instruments)
        self._put = put
        self._ordered = ordered
        self._create = create
        self._clock = clock
        self._client_id = str(uuid.uuid4())
        self._stream: PullStream | None = None
        self._ending = threading.Event()
        self._lost: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._ensure()

    def run(self) -> None:
        """Pull until :meth:`stop`. A pull that broke is told and begun again.

        Pub/Sub ends a stream that has lived for long as a matter of course: the next one takes over
        what waits, and there is nothing to tell.
        """
        pause_s, told = FIRST_PAUSE_S, True
        while not self._ending.is_set():
            began = self._clock()
            broken = self._pull(told)
            if self._ending.is_set():
                break
            lasted = self._clock() - began > LONGEST_PAUSE_S
            told = not (lasted and isinstance(broken, _ROUTINE))
            self.counts["breaks" if told else "renewals"] += 1
            if told:
                self._put(PricesLost(str(broken or "the subscription's pull ended")))
                pause_s = FIRST_PAUSE_S if lasted else min(pause_s * 2, LONGEST_PAUSE_S)
                self._ending.wait(pause_s)
        self._client.close()

    def stop(self) -> None:
        """Ask the thread to end; it does at once."""
        self._ending.set()
        if self._stream:
            self._stream.close()

    def delete(self) -> None:
        """Delete the subscription: what waits in it is gone."""
        with speaking(f"Delete {self._path}"):
            self._client.delete_subscription(subscription=self._path)

    def _pull(self, told: bool) -> Exception | None:
        """Pull until it breaks or :meth:`stop`; return what it broke with."""
        try:
            self._ensure()
            self._stream = PullStream(self._client, self._path, self._client_id)
        except (MbatsError, exceptions.GoogleAPICallError) as error:
            return error
        try:
            if told:
                self._put(PricesBack())
            batches = iter(self._stream)
            while not self._ending.is_set() and (received := next(batches, None)) is not None:
                self._take(received)
        except exceptions.GoogleAPICallError as error:
            return cast(Exception, error)
        except Exception as error:  # a thread that died in silence would be worse
            log.exception("ticks could not be taken")
            return error
        finally:
            self._stream.close()
            self._stream.join()
        return None

    def _take(self, received: Sequence[Any]) -> None:
        """Put what the messages mean, in their order; then acknowledge them."""
        for message in (one.message for one in received):
            if message.attributes.get(messages.INSTRUMENT) not in self._instruments:
                self.counts["filtered"] += 1
                continue
            for item in self._items(message.data):
                self._put(item)
            # Who waits for the item goes first: else the interpreter is kept for 5 ms.
            time.sleep(0)
        assert self._stream
        self._stream.acknowledge([one.ack_id for one in received])

    def _items(self, data: bytes) -> Iterator[Any]:
        """Yield what a message means. A gap of many instruments is one loss and one return."""
        try:
            row = messages.decode_tick(data)
            mark, name = row["mark"], row["instrument"]
            tick = None if mark else messages.tick_of(row)
        except DataError as error:
            self.counts["unreadable"] += 1
            yield PricesLost(error.cause)
            yield PricesBack()
            return
        self.counts["marks" if mark else "ticks"] += 1
        if mark and not self._lost:
            yield PricesLost(f"the streamer lost the prices of {name}")
        if mark == Mark.LOST:
            self._lost.add(name)
        elif mark or name in self._lost:
            self._lost.discard(name)
            if not self._lost:
                yield PricesBack()
        if tick is not None:
            yield tick

    def _ensure(self) -> None:
        if not self._create:
            return
        request = {
            "name": self._path,
            "topic": self._topic,
            "ack_deadline_seconds": ACK_SECONDS,
            "message_retention_duration": RETENTION,
            "expiration_policy": {"ttl": EXPIRY},
            "enable_message_ordering": self._ordered,
            "filter": subscription_filter(self._instruments),
        }
        with speaking(f"Subscribe {self._path}"):
            try:
                self._client.create_subscription(request=request, retry=None, timeout=ACK_SECONDS)
            except exceptions.AlreadyExists:
                return


def subscription_filter(instruments: Collection[str]) -> str:
    """Return the filter for Pub/Sub, or "" where it would be too long: then all ticks come."""
    names = sorted(instruments)
    text = " OR ".join(f'attributes.{messages.INSTRUMENT} = "{name}"' for name in names)
    return text if len(text.encode()) <= FILTER_LIMIT_BYTES else ""
