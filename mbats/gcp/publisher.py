"""Publishing over Pub/Sub so that nothing is dropped: what failed is sent again, in its order.

Google's client pauses an ordering key after an error and fails all that follows on it. Here every
message is kept until it is confirmed; :meth:`Publisher.flush` resumes the key and sends again what
failed, within a bounded time. A message may so arrive twice: its event id tells.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime

from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1 import types as pubsub_types

from mbats.config import Settings
from mbats.errors import DataError, NotReadyError
from mbats.gcp import connection, messages
from mbats.live.events import Event
from mbats.live.streams import Mark
from mbats.market.tick import Tick

BATCH_SECONDS = 0.005
"""How long a message waits for others to travel with: a tick is worth little when late."""

PATIENCE_SECONDS = 60.0
REQUEST_SECONDS = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

# What sending again cannot mend.
_REFUSED = (exceptions.InvalidArgument, exceptions.PermissionDenied, exceptions.Unauthenticated)


@dataclass
class _Sent:
    topic: str
    data: bytes
    key: str
    attributes: Mapping[str, str]
    future: Future[str]


class Publisher:
    """Publishes for one thread. ``patience_s`` is how long :meth:`flush` tries."""

    def __init__(
        self,
        settings: Settings,
        *,
        patience_s: float = PATIENCE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect. Raises :class:`NotReadyError` where nothing answers."""
        self._project = settings.project
        self._client: PublisherClient = connection.publisher_client(
            settings,
            batch_settings=pubsub_types.BatchSettings(max_latency=BATCH_SECONDS),
            publisher_options=pubsub_types.PublisherOptions(
                enable_message_ordering=True,
                # With a retry of its own the client would repeat for ever: flush does, in bounds.
                retry=None,
                timeout=REQUEST_SECONDS,
                flow_control=pubsub_types.PublishFlowControl(
                    message_limit=10_000,
                    byte_limit=50_000_000,
                    limit_exceeded_behavior=pubsub_types.LimitExceededBehavior.BLOCK,
                ),
            ),
        )
        self._sent: deque[_Sent] = deque()
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock

    @property
    def unconfirmed(self) -> int:
        """How many messages are not known to be stored."""
        self._forget_confirmed()
        return len(self._sent)

    def publish(self, topic: str, data: bytes, key: str = "", **attributes: str) -> None:
        """Send one message without waiting. Equal keys keep their order; "" has none."""
        self._forget_confirmed()
        sent = _Sent(topic, data, key, attributes, Future())
        self._send(sent)
        self._sent.append(sent)

    def flush(self) -> None:
        """Return when everything published is stored.

        Raises :class:`NotReadyError` where it is not within the patience, :class:`DataError` for
        a message that the topic refuses. What is not stored is kept: flush again.
        """
        deadline = self._clock() + self._patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            errors = [error for error in (self._outcome(s, deadline) for s in self._sent) if error]
            self._forget_confirmed()
            if not self._sent:
                return
            refused = [error for error in errors if isinstance(error, _REFUSED)]
            if refused:
                raise DataError(
                    f"Pub/Sub refuses messages on {self._topics()}: {refused[0]}",
                    tried=[f"{len(self._sent)} messages are kept"],
                    mend="look whether the topic's schema is the one of this version of mbats, "
                    "and whether this identity may publish",
                )
            if self._clock() + pause_s > deadline:
                raise NotReadyError(
                    f"Pub/Sub did not take {len(self._sent)} messages on {self._topics()} within "
                    f"{self._patience_s:g} s.",
                    tried=[str(errors[-1]) if errors else "no answer"],
                    mend="mbats status; the messages are kept until they are taken",
                )
            self._sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            self._send_again()

    def close(self) -> None:
        """Flush and close. What :meth:`flush` raises is raised after closing."""
        try:
            self.flush()
        finally:
            self._client.stop()
            self._client.transport.close()

    def _send(self, sent: _Sent) -> None:
        topic = self._client.topic_path(self._project, sent.topic)
        sent.future = self._client.publish(
            topic, sent.data, ordering_key=sent.key, **sent.attributes
        )

    def _send_again(self) -> None:
        """Send what failed, in its first order."""
        for topic, key in {(s.topic, s.key) for s in self._sent if s.key}:
            self._client.resume_publish(self._client.topic_path(self._project, topic), key)
        for sent in self._sent:
            self._send(sent)

    def _outcome(self, sent: _Sent, deadline: float) -> BaseException | None:
        """Wait for an answer. A request that never ends has a timeout of its own."""
        try:
            return sent.future.exception(timeout=max(deadline - self._clock(), REQUEST_SECONDS * 2))
        except FutureTimeoutError as error:
            return error

    def _forget_confirmed(self) -> None:
        while self._sent and _is_stored(self._sent[0]):
            self._sent.popleft()
        if self._sent and all(s.future.done() for s in self._sent):
            self._sent = deque(s for s in self._sent if not _is_stored(s))

    def _topics(self) -> str:
        return ", ".join(sorted({sent.topic for sent in self._sent}))


class TickPublisher:
    """Puts one vendor's ticks on the topic ``ticks``, in order for each instrument."""

    def __init__(
        self,
        publisher: Publisher,
        vendor: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._publisher = publisher
        self._vendor = vendor
        self._now = now

    def tick(self, tick: Tick, received_at: datetime) -> None:
        """Publish one tick, without waiting."""
        row = messages.tick_row(tick, self._vendor, received_at)
        self._publish(row, {})

    def mark(self, instrument: str, mark: Mark, moment: datetime) -> None:
        """Publish that ticks of an instrument were lost, or that they come again."""
        row = messages.mark_row(instrument, mark, self._vendor, moment)
        self._publish(row, {messages.MARK: str(mark)})

    def flush(self) -> None:
        """Return when all is stored; see :meth:`Publisher.flush`."""
        self._publisher.flush()

    def _publish(self, row: messages.Row, attributes: Mapping[str, str]) -> None:
        data = messages.encode_tick(row | {"published_at": self._now()})
        name = row["instrument"]
        self._publisher.publish(
            messages.TICKS, data, name, **{messages.INSTRUMENT: name, **attributes}
        )


class EventPublisher:
    """Puts events of live trading on the topics of their tables; callable as a sink."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def __call__(self, event: Event) -> None:
        """Publish one event, without waiting. Raises :class:`DataError` for one that is wrong."""
        topic = messages.TOPIC_OF_TABLE.get(event.table)
        if topic is None:
            raise DataError(
                f"No topic carries rows of {event.table}.", tried=sorted(messages.TOPIC_OF_TABLE)
            )
        data = messages.encode_event(event.table, event.row)
        self._publisher.publish(topic, data, **{messages.TABLE: event.table})

    @property
    def unconfirmed(self) -> int:
        """How many events are not known to be stored."""
        return self._publisher.unconfirmed

    def flush(self) -> None:
        """Return when all is stored: only then may a checkpoint pass the events."""
        self._publisher.flush()


def _is_stored(sent: _Sent) -> bool:
    return sent.future.done() and sent.future.exception() is None
