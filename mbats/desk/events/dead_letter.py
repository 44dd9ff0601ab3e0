"""The keeper of dead letters, and their replay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

from mbats.config import Settings
from mbats.desk.events.delivery import Delivery, Say
from mbats.desk.stores import Desk
from mbats.errors import DataError, RefusedError
from mbats.gcp.dead_letters import REASON, REPLAYED_FROM, DeadLetter, DeadLetters
from mbats.gcp.messages import ORDER_EVENTS, RISK_EVENTS, TICKS

SUFFIX = "-dead-letter"
REPLAYED = (TICKS, ORDER_EVENTS, RISK_EVENTS)
"""Topics whose messages carry an id by which the views drop repeats."""

BATCH = 500
SECONDS = 30.0
_COUNT = "CloudPubSubDeadLetterSourceDeliveryCount"
_SUBSCRIPTION = "CloudPubSubDeadLetterSourceSubscription"


def keep(desk: Desk, delivery: Delivery, say: Say) -> bool:
    """Store a message of a dead-letter topic; return False where it is there already.

    Raises :class:`NotReadyError` where it cannot be stored: it must not be acknowledged then.
    """
    letter = letter_of(delivery)
    new = DeadLetters(desk.objects).keep(letter)
    say("dead_letter", severity="ERROR", topic=letter.topic, by="dead-letter",
        reason=letter.reason, object=letter.name, new=new)  # fmt: skip
    return new


def letter_of(delivery: Delivery) -> DeadLetter:
    """Return the dead letter in a message of a dead-letter topic."""
    said = delivery.attributes
    count, subscription = said.get(_COUNT), said.get(_SUBSCRIPTION)
    tried = (
        f"delivered {count or 'several'} times in vain to {subscription}" if subscription else ""
    )
    return DeadLetter(
        topic=delivery.topic.removesuffix(SUFFIX),
        message_id=delivery.message_id,
        published_at=delivery.published_at,
        data=delivery.data,
        reason=delivery.flaw or said.get(REASON) or tried or "not said",
        kept_by="dead-letter",
        ordering_key=delivery.ordering_key,
        attributes=said,
    )


@dataclass
class Replay:
    """What a replay did, or would do. ``refused`` are (name of object, the topic's reason).

    ``back`` are those whose content was replayed before and that came back as dead letters.
    """

    topic: str
    found: int = 0
    already: int = 0
    back: int = 0
    published: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def replay(
    desk: Desk,
    topic: str,
    since: date | None = None,
    *,
    by: str,
    again: bool = False,
    dry_run: bool = False,
) -> Replay:
    """Publish a topic's dead letters again, each content once, and mark them as replayed.

    A content that was replayed before and came back is left where it is, unless ``again``.

    What waits in the dead-letter subscription is stored first. A crash between publishing and
    marking publishes again, with the same event ids: the views drop the repeat. Raises
    :class:`RefusedError` for a topic whose messages mean nothing later.
    """
    if topic not in REPLAYED:
        raise RefusedError(
            f"Messages of {topic!r} are not replayed.",
            tried=list(REPLAYED),
            mend="an old announcement on `control` would say what no longer holds",
        )
    letters = DeadLetters(desk.objects)
    if not dry_run:
        _drain(desk.settings, topic, letters)
    done = Replay(topic)
    found = list(letters.find(topic, since))
    before = {stored.letter.content for stored in found if stored.replayed}
    waiting = [stored.letter for stored in found if not stored.replayed]
    fresh = [letter for letter in waiting if again or letter.content not in before]
    done.found, done.already = len(found), len(found) - len(waiting)
    done.back = len(waiting) - len(fresh)
    copies = _copies(fresh)
    done.letters = [same[0] for same in copies]
    if not dry_run:
        _publish(desk.settings, copies, letters, done, by)
    return done


def _copies(letters: Sequence[DeadLetter]) -> list[list[DeadLetter]]:
    """Return the letters in order of publication, those of equal content together."""
    order = sorted(letters, key=lambda letter: (letter.content, letter.published_at))
    same = [list(group) for _, group in groupby(order, key=lambda letter: letter.content)]
    return sorted(same, key=lambda group: group[0].published_at)


def _publish(
    settings: Settings,
    copies: Sequence[Sequence[DeadLetter]],
    letters: DeadLetters,
    done: Replay,
    by: str,
) -> None:
    """Publish and mark one after the other: what is marked was stored, in the order of before."""
    from google.api_core import exceptions

    from mbats.gcp.connection import request_publisher_client, speaking

    topic = f"projects/{settings.project}/topics/{done.topic}"
    with request_publisher_client(settings) as client:
        for same in copies:
            with speaking(f"Publish on {done.topic}"):
                try:
                    answer = client.publish(
                        topic=topic, messages=[_message(same[0])], timeout=SECONDS
                    )
                except exceptions.InvalidArgument as error:
                    done.refused.append((same[0].name, str(error.message)))
                    continue
            done.published += 1
            how = {"at": datetime.now(UTC).isoformat(), "by": by, "as": answer.message_ids[0]}
            for letter in same:
                letters.mark(letter, how)


def _message(letter: DeadLetter) -> dict[str, Any]:
    return {
        "data": letter.data,
        "ordering_key": letter.ordering_key,
        "attributes": {**letter.own_attributes, REPLAYED_FROM: letter.message_id},
    }


def _drain(settings: Settings, topic: str, letters: DeadLetters) -> None:
    """Store what waits in the dead-letter subscription, then acknowledge it."""
    from mbats.gcp.connection import speaking, subscriber_client

    name = f"projects/{settings.project}/subscriptions/{topic}{SUFFIX}"
    with subscriber_client(settings) as client, speaking(f"Pull {topic}{SUFFIX}"):
        for pulled in _pulled(client, name):
            for received in pulled:
                letters.keep(letter_of(_delivery(topic, received.message)))
            client.acknowledge(subscription=name, ack_ids=[r.ack_id for r in pulled])


def _pulled(client: Any, name: str) -> Iterator[Sequence[Any]]:
    """Yield batches of messages until none waits."""
    from google.api_core import exceptions

    while True:
        try:
            answer = client.pull(subscription=name, max_messages=BATCH, retry=None, timeout=3.0)
        except exceptions.DeadlineExceeded:
            return
        if not answer.received_messages:
            return
        yield list(answer.received_messages)


def _delivery(topic: str, message: Any) -> Delivery:
    if not message.message_id:
        raise DataError(f"A message of {topic}{SUFFIX} has no id.")
    return Delivery(
        topic=f"{topic}{SUFFIX}",
        message_id=message.message_id,
        published_at=message.publish_time.astimezone(UTC),
        data=message.data,
        ordering_key=message.ordering_key,
        attributes=dict(message.attributes),
    )
