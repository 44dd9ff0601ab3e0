"""Ticks over Pub/Sub into an inbox: one subscription a bot, ordered by instrument.

The filter by instrument is applied here as well as asked of the service: the emulator applies none,
and Google takes none of more than 256 bytes.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta
from typing import Any

from google.api_core import exceptions
from google.cloud.pubsub_v1 import types as pubsub_types
from google.cloud.pubsub_v1.subscriber.message import Message
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler

from mbats.config import Settings
from mbats.errors import DataError, MbatsError
from mbats.gcp import connection, messages
from mbats.gcp.connection import speaking
from mbats.live.inbox import PricesBack, PricesLost
from mbats.live.streams import Mark

ACK_SECONDS = 10
RETENTION = timedelta(minutes=10)  # the least that Pub/Sub takes; older ticks are worth nothing
EXPIRY = timedelta(days=1)  # the least that Pub/Sub takes
FILTER_LIMIT_BYTES = 256
FLOW_MESSAGES = 5_000
# A message that went to a stream that died, and all of its instrument after it, comes again when
# its lease ends: Google's client asks for 60 s where it is not told.
_FLOW = pubsub_types.FlowControl(
    max_messages=FLOW_MESSAGES, max_duration_per_lease_extension=ACK_SECONDS
)
SHUTDOWN_SECONDS = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

Put = Callable[[Any], None]


class TickSubscription(threading.Thread):
    """Keeps a streaming pull open and puts Tick, PricesLost and PricesBack into ``put``.

    ``counts`` tells what came: ticks, filtered, unreadable, breaks. A message is acknowledged
    after it was put.
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
        self._ending = threading.Event()
        self._broken = threading.Event()
        self._reason = ""
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self._ensure()

    def run(self) -> None:
        """Pull until :meth:`stop`; a pull that broke is told and begun again."""
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            began = self._clock()
            self._pull_once()
            if self._ending.is_set():
                break
            self.counts["breaks"] += 1
            self._put(PricesLost(self._reason))
            lasted = self._clock() - began > LONGEST_PAUSE_S
            pause_s = FIRST_PAUSE_S if lasted else min(pause_s * 2, LONGEST_PAUSE_S)
            self._ending.wait(pause_s)
        self._client.close()

    def stop(self) -> None:
        """Ask the thread to end; it does at once."""
        self._ending.set()
        self._broken.set()

    def delete(self) -> None:
        """Delete the subscription: what waits in it is gone."""
        with speaking(f"Delete {self._path}"):
            self._client.delete_subscription(subscription=self._path)

    def _pull_once(self) -> None:
        """Pull until it breaks or :meth:`stop`; ``_reason`` tells why."""
        self._broken.clear()
        if self._ending.is_set():
            return
        try:
            self._ensure()
            # More threads would only contend for the interpreter with the one that trades.
            one = ThreadScheduler(ThreadPoolExecutor(1, thread_name_prefix=self.name))
            pulling = self._client.subscribe(
                self._path, self._take, flow_control=_FLOW, scheduler=one
            )
        except (MbatsError, exceptions.GoogleAPICallError) as error:
            self._reason = str(error)
            return
        self._put(PricesBack())
        pulling.add_done_callback(self._ended)
        self._broken.wait()
        pulling.cancel()
        try:
            ended_by = pulling.exception(timeout=SHUTDOWN_SECONDS)  # its threads have ended then
        except FutureTimeoutError:
            ended_by = None
        self._reason = str(ended_by or "the subscription's pull ended")

    def _ended(self, future: Any) -> None:
        self._broken.set()

    def _take(self, message: Message) -> None:
        """Put what a message means; runs in Google's thread, in order for each instrument."""
        if message.attributes.get(messages.INSTRUMENT) in self._instruments:
            with self._lock:
                for item in self._items(message.data):
                    self._put(item)
        else:
            self.counts["filtered"] += 1
        message.ack()
        time.sleep(0)  # whoever waits for the item goes first: else the interpreter is kept 5 ms

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
