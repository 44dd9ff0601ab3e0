"""A CloudEvent that carries a Pub/Sub message, and what becomes of one that nobody can use.

https://googleapis.github.io/google-cloudevents/examples/structured/pubsub/MessagePublishedData-complex.json
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from mbats.desk.stores import Desk
from mbats.errors import DataError, MbatsError
from mbats.gcp.dead_letters import DeadLetter, DeadLetters

UNKNOWN = "unknown"

Say = Callable[..., None]
"""Takes the name of an event and its values: one line of the log."""


class CloudEvent(Protocol):
    """An event as functions-framework gives it: attributes by name, and its data."""

    data: Any

    def __getitem__(self, name: str) -> Any:
        """Return an attribute: ``id``, ``source``, ``type``, ``subject``, ``time``."""
        ...


@dataclass(frozen=True)
class Delivery:
    """One message of a topic. ``flaw`` is why it could not be taken apart, empty if it could."""

    topic: str
    message_id: str
    published_at: datetime
    data: bytes
    ordering_key: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    flaw: str = ""

    def json(self) -> dict[str, Any]:
        """Return the data as a JSON object. Raises :class:`DataError`."""
        try:
            document = json.loads(self.data)
        except ValueError as error:
            raise DataError(f"The message is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise DataError(f"The message is no JSON object, but a {type(document).__name__}.")
        return document


def read(event: CloudEvent, now: datetime) -> Delivery:
    """Return the message that an event carries; one that is malformed is returned whole."""
    source = str(event["source"])
    topic = source.rpartition("/topics/")[2].strip("/") if "/topics/" in source else UNKNOWN
    try:
        message = event.data["message"]
        attributes = message.get("attributes") or {}
        return Delivery(
            topic=topic,
            message_id=str(message.get("messageId") or message["message_id"]),
            published_at=_moment(message.get("publishTime") or message.get("publish_time"), now),
            data=base64.b64decode(message.get("data") or "", validate=True),
            ordering_key=str(message.get("orderingKey") or message.get("ordering_key") or ""),
            attributes={str(name): str(value) for name, value in attributes.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        whole = event.data if isinstance(event.data, bytes) else json.dumps(event.data, default=str)
        data = whole if isinstance(whole, bytes) else whole.encode()
        flaw = f"the event holds no message: {error!r}"
        return Delivery(topic, f"event-{event['id']}", now, data, flaw=flaw)


def handle(
    desk: Desk, delivery: Delivery, by: str, work: Callable[[Delivery], object], say: Say
) -> None:
    """Do ``work``; keep the message as a dead letter where the message itself is at fault.

    What returns is acknowledged. A service that does not answer is raised: Pub/Sub delivers again.
    """
    try:
        if delivery.flaw:
            raise DataError(delivery.flaw)
        work(delivery)
    except DataError as error:
        bury(desk, delivery, by, error.cause, say)
    except (MbatsError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - delivered again it would fail again, for ever
        bury(desk, delivery, by, f"{type(error).__name__}: {error}", say)


def bury(desk: Desk, delivery: Delivery, by: str, reason: str, say: Say) -> None:
    """Keep a message as a dead letter, with the cause; one line of the log says so."""
    letter = DeadLetter(
        topic=delivery.topic,
        message_id=delivery.message_id,
        published_at=delivery.published_at,
        data=delivery.data,
        reason=reason,
        kept_by=by,
        ordering_key=delivery.ordering_key,
        attributes=delivery.attributes,
    )
    new = DeadLetters(desk.objects).keep(letter)
    say("dead_letter", severity="ERROR", topic=letter.topic, by=by, reason=reason,
        object=letter.name, new=new)  # fmt: skip


def _moment(text: Any, now: datetime) -> datetime:
    if not text:
        return now
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
