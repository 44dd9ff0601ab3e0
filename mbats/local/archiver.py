"""The archiver: what is on the bus into BigQuery, where no BigQuery subscription runs.

In the cloud a subscription of Pub/Sub writes to the tables; the emulator runs none. A batch is
pulled, stored by an idempotent merge on the natural key, then acknowledged: killed at any point,
the same messages come again and change nothing. A message that is no row of its table goes to the
topic's dead letters, in words that say why.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.api_core import exceptions
from google.cloud.pubsub_v1 import SubscriberClient

from mbats import schemas
from mbats.errors import DataError, NotReadyError
from mbats.gcp import messages
from mbats.gcp.batch import prepare, table_of
from mbats.gcp.connection import speaking
from mbats.gcp.publisher import Publisher
from mbats.gcp.warehouse import Warehouse
from mbats.local import topology
from mbats.schemas import TableSchema

PULL_MESSAGES = 1_000  # the most that Pub/Sub gives at once
BATCH_MESSAGES = 5_000
PULL_SECONDS = 30.0
"""How long a pull may take. What it finds it brings at once; one that is given up takes messages
with it that do not come again for a minute."""

IDLE_SECONDS = 0.25
ACK_SECONDS = 60
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0

Row = dict[str, Any]
Say = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class _Dead:
    """A message that is no row, as it was published, and why."""

    data: bytes
    reason: str
    key: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Batch:
    """Messages of one topic, sorted into rows by table and dead letters."""

    ack_ids: list[str] = field(default_factory=list)
    rows: dict[str, dict[tuple[Any, ...], Row]] = field(default_factory=dict)
    dead: list[_Dead] = field(default_factory=list)


class Archiver:
    """Stores the messages of ``subscriptions`` (topic to subscription name).

    ``say`` is told of every batch, every dead letter and every wait.
    """

    def __init__(
        self,
        project: str,
        client: SubscriberClient,
        publisher: Publisher,
        warehouse: Warehouse,
        say: Say,
        subscriptions: Mapping[str, str] | None = None,
    ) -> None:
        self._project = project
        self._client = client
        self._publisher = publisher
        self._warehouse = warehouse
        self._say = say
        self._subscriptions = subscriptions or {t: topology.archive(t) for t in topology.ARCHIVED}

    def run(self, stopping: threading.Event) -> None:
        """Archive until ``stopping`` is set; a service that does not answer is waited for."""
        pause_s = FIRST_PAUSE_S
        while not stopping.is_set():
            try:
                count = self.drain(stopping, once=True)
                pause_s = FIRST_PAUSE_S
                if not count:
                    stopping.wait(IDLE_SECONDS)
            except NotReadyError as error:
                self._say("waiting", {"cause": error.cause, "mend": error.mend})
                stopping.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def drain(self, stopping: threading.Event | None = None, *, once: bool = False) -> int:
        """Store what waits, until nothing does (or one batch a topic with ``once``).

        Returns the number of messages.
        """
        total = 0
        while True:
            count = 0
            for topic, name in self._subscriptions.items():
                pulled = self._pull(name)
                if pulled:
                    self._store(topic, name, _sorted(topic, pulled), stopping)
                    count += len(pulled)
            total += count
            if once or not count:
                return total

    def _pull(self, name: str) -> list[Any]:
        """Return up to a batch of messages; fewer as soon as no more wait.

        An answer alone says that none do: silence is a service that is slow, or away.
        """
        found: list[Any] = []
        while len(found) < BATCH_MESSAGES:
            try:
                more = self._pull_once(name)
            except NotReadyError:
                if found:
                    return found  # they are stored first: the next pull tells what is wrong
                raise
            if not more:
                return found
            found += more
        return found

    def _pull_once(self, name: str) -> list[Any]:
        with speaking(f"Pull {name}"):
            answer = self._client.pull(
                request={
                    "subscription": self._path(name),
                    "max_messages": PULL_MESSAGES,
                    "return_immediately": True,  # of Google's own service that is not advised
                },
                retry=None,
                timeout=PULL_SECONDS,
            )
        return list(answer.received_messages)

    def _store(
        self, topic: str, name: str, batch: _Batch, stopping: threading.Event | None
    ) -> None:
        """Store, then acknowledge. A store that does not answer is asked again: pulling the
        messages anew would count as a delivery in vain.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                for table, rows in batch.rows.items():
                    self._merge(topic, table, list(rows.values()), batch.dead)
                self._bury(topic, batch.dead)
                break
            except NotReadyError as error:
                if stopping is None or stopping.is_set():
                    raise
                self._say("waiting", {"cause": error.cause, "mend": error.mend})
                self._prolong(name, batch.ack_ids)
                stopping.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        with speaking(f"Acknowledge {name}"):
            self._client.acknowledge(subscription=self._path(name), ack_ids=batch.ack_ids)
        counts = {table: len(rows) for table, rows in batch.rows.items()}
        self._say("archived", {"topic": topic, "messages": len(batch.ack_ids), **counts})

    def _merge(self, topic: str, table: str, rows: Sequence[Row], dead: list[_Dead]) -> None:
        schema = _schema(topic, table)
        try:
            self._warehouse.merge(schema, table_of(schema, rows), insert_only=True)
        except DataError:
            good = []
            for row in rows:
                try:
                    prepare(schema, table_of(schema, [row]))
                    good.append(row)
                except DataError as error:
                    dead.append(_Dead(repr(row).encode(), error.cause))
            if len(good) == len(rows):
                raise
            self._warehouse.merge(schema, table_of(schema, good), insert_only=True)

    def _bury(self, topic: str, dead: list[_Dead]) -> None:
        """Send what is no row to the topic's dead letters."""
        while dead:
            each = dead.pop()
            self._say("dead_letter", {"topic": topic, "reason": each.reason})
            about = {**each.attributes, "reason": each.reason[:1000]}
            where = topology.Topic(topic).dead_letter
            self._publisher.publish(where, each.data, each.key, **about)
        self._publisher.flush()

    def _prolong(self, name: str, ack_ids: list[str]) -> None:
        try:
            self._client.modify_ack_deadline(
                subscription=self._path(name), ack_ids=ack_ids, ack_deadline_seconds=ACK_SECONDS
            )
        except exceptions.GoogleAPICallError as error:
            self._say("waiting", {"cause": f"Pub/Sub: {error}"})

    def _path(self, name: str) -> str:
        return f"projects/{self._project}/subscriptions/{name}"


def _sorted(topic: str, pulled: Sequence[Any]) -> _Batch:
    """Sort messages into rows, one of each natural key: the first, as the views have it."""
    batch = _Batch()
    for received in pulled:
        batch.ack_ids.append(received.ack_id)
        message = received.message
        table = "tick" if topic == messages.TICKS else message.attributes.get(messages.TABLE, "")
        try:
            row = _row(topic, table, message.data)
        except DataError as error:
            attributes = dict(message.attributes)
            dead = _Dead(message.data, error.cause, message.ordering_key, attributes)
            batch.dead.append(dead)
            continue
        key = tuple(row.get(column) for column in _schema(topic, table).primary_key)
        batch.rows.setdefault(table, {}).setdefault(key, row)
    return batch


def _row(topic: str, table: str, data: bytes) -> Row:
    if topic == messages.TICKS:
        return messages.decode_tick(data)
    if messages.TOPIC_OF_TABLE.get(table) != topic:
        raise DataError(f"A message on {topic} names the table {table!r}.")
    return messages.decode_event(table, data)


def _schema(topic: str, table: str) -> TableSchema:
    return schemas.table("security_master" if topic == messages.TICKS else "risk", table)
