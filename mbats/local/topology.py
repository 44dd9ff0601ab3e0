"""The Pub/Sub topics and subscriptions of the desk, in one place.

The emulator keeps nothing across restarts, so the whole topology is made at every start; in the
cloud Terraform makes the same. Every topic has a dead-letter topic, and that one has a
subscription of the same name, so that no dead letter is dropped unread.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mbats.gcp.messages import ORDER_EVENTS, RISK_EVENTS, TICKS, tick_schema

MAX_DELIVERY_ATTEMPTS = 5
_RETENTION = "604800s"  # seven days


@dataclass(frozen=True)
class Subscription:
    """A subscription of every desk. ``options`` are REST fields, as ``ackDeadlineSeconds``.

    A message that was delivered ``attempts`` times in vain becomes a dead letter.
    """

    name: str
    ordered: bool = False
    attempts: int = MAX_DELIVERY_ATTEMPTS
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Topic:
    """A topic. ``avro`` is the text of its Avro schema: messages that break it are refused."""

    name: str
    avro: str | None = None
    subscriptions: tuple[Subscription, ...] = ()

    @property
    def dead_letter(self) -> str:
        """Name of the topic, and of its subscription, where undeliverable messages end."""
        return f"{self.name}-dead-letter"


def archive(topic: str) -> str:
    """Return the subscription that the archiver reads a topic by."""
    return f"{topic}-to-bigquery"


def _archived(topic: str) -> Subscription:
    # The archiver sends dead letters itself: a delivery in vain is a crash, not a bad message.
    return Subscription(archive(topic), attempts=100, options={"ackDeadlineSeconds": 60})


ARCHIVED = (TICKS, ORDER_EVENTS, RISK_EVENTS)
"""Topics whose messages end in BigQuery: in the cloud by subscriptions of its own."""

TOPICS = (
    Topic(TICKS, tick_schema(), (_archived(TICKS),)),
    Topic(ORDER_EVENTS, subscriptions=(_archived(ORDER_EVENTS),)),
    Topic(RISK_EVENTS, subscriptions=(_archived(RISK_EVENTS),)),
    Topic("control"),
)

OBJECTS = "control-objects"
"""Where the local Cloud Storage tells of objects in `control`; Eventarc has its own topic."""

Request = tuple[str, str, dict[str, Any]]


def requests(project: str) -> Iterator[Request]:
    """Yield (method, path, body) of the REST calls that make the topology, in order.

    https://cloud.google.com/pubsub/docs/reference/rest
    """
    for topic in TOPICS:
        yield from _topic(project, topic)


def _topic(project: str, topic: Topic) -> Iterator[Request]:
    root = f"projects/{project}"
    dead = f"{root}/topics/{topic.dead_letter}"
    yield "PUT", f"/v1/{dead}", {}
    yield "PUT", f"/v1/{root}/subscriptions/{topic.dead_letter}", _subscription(dead)
    body: dict[str, Any] = {}
    if topic.avro is not None:
        schema = f"{root}/schemas/{topic.name}"
        avro = {"name": schema, "type": "AVRO", "definition": topic.avro}
        yield "POST", f"/v1/{root}/schemas?schemaId={topic.name}", avro
        body["schemaSettings"] = {"schema": schema, "encoding": "JSON"}
    name = f"{root}/topics/{topic.name}"
    yield "PUT", f"/v1/{name}", body
    for each in topic.subscriptions:
        policy = {"deadLetterTopic": dead, "maxDeliveryAttempts": each.attempts}
        made = _subscription(name) | {"deadLetterPolicy": policy}
        made |= {"enableMessageOrdering": each.ordered, **each.options}
        yield "PUT", f"/v1/{root}/subscriptions/{each.name}", made


def _subscription(topic: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "messageRetentionDuration": _RETENTION,
        "expirationPolicy": {},  # never
    }
