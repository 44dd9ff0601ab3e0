"""Dead letters through a real push: stored whole, counted, and replayed once."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from google.api_core.exceptions import DeadlineExceeded

from mbats.desk.events.dead_letter import replay
from mbats.errors import RefusedError
from mbats.gcp.connection import subscriber_client
from mbats.gcp.dead_letters import DeadLetter, DeadLetters
from mbats.gcp.messages import encode_tick, tick_row
from mbats.market.tick import Tick
from tests.functions.rig import eventually, publish

pytestmark = pytest.mark.emulators

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def stored(desk, topic="order-events"):
    return list(DeadLetters(desk.objects).find(topic))


def letter(number, data=b"{}", topic="order-events", **more):
    return DeadLetter(topic, str(number), NOON, data, "because", "a test", **more)


class Ear:
    """Hears what is published on a topic."""

    def __init__(self, settings, topic):
        self._settings = settings
        self._name = f"projects/{settings.project}/subscriptions/ear-{topic}"
        with subscriber_client(settings) as client:
            client.create_subscription(
                name=self._name, topic=f"projects/{settings.project}/topics/{topic}"
            )

    def hear(self):
        with subscriber_client(self._settings) as client:
            try:
                found = client.pull(
                    subscription=self._name, max_messages=100, timeout=2, retry=None
                ).received_messages
            except DeadlineExceeded:
                return []
            if found:
                ids = [received.ack_id for received in found]
                client.acknowledge(subscription=self._name, ack_ids=ids)
        return [received.message for received in found]


def test_a_dead_letter_is_stored_with_attributes_and_reason_and_counted_in_the_log(
    project, desk, start
):
    keeper = start("dead_letter", project).hears("order-events-dead-letter")
    began = datetime.now(UTC).date()

    publish(project, "order-events-dead-letter", b"\xff", table="fill", reason="no JSON")

    (found,) = eventually(lambda: stored(desk))
    kept = found.letter
    assert (kept.topic, kept.data, kept.reason) == ("order-events", b"\xff", "no JSON")
    assert kept.attributes["table"] == "fill"
    day = date.fromisoformat(kept.name.removeprefix("dead-letters/order-events/").split("/")[0])
    assert began <= day <= datetime.now(UTC).date()
    (line,) = keeper.said("dead_letter")
    assert (line["topic"], line["object"], line["severity"]) == ("order-events", kept.name, "ERROR")


def test_a_message_that_a_push_endpoint_never_takes_ends_as_a_dead_letter(project, desk, start):
    start("dead_letter", project).hears("risk-events-dead-letter")
    with subscriber_client(project) as client:
        root = f"projects/{project.project}"
        client.create_subscription(
            request={
                "name": f"{root}/subscriptions/nobody",
                "topic": f"{root}/topics/risk-events",
                "push_config": {"push_endpoint": "http://127.0.0.1:9/"},
                "dead_letter_policy": {
                    "dead_letter_topic": f"{root}/topics/risk-events-dead-letter",
                    "max_delivery_attempts": 5,
                },
            }
        )

    publish(project, "risk-events", b'{"a": 1}', table="risk_event")

    (found,) = eventually(lambda: stored(desk, "risk-events"))
    assert found.letter.data == b'{"a": 1}'
    assert found.letter.reason.endswith("in vain to nobody")


def test_a_keeper_killed_before_it_answers_keeps_one(project, desk, start):
    keeper = start("dead_letter", project, dying=True).hears("order-events-dead-letter")

    publish(project, "order-events-dead-letter", b"{}", reason="x")

    eventually(lambda: len(keeper.said("dead_letter")) == 2)
    assert [line["new"] for line in keeper.said("dead_letter")] == [True, False]
    assert len(stored(desk)) == 1


def test_an_event_of_eventarc_keeps_its_ordering_key_and_one_without_a_message_is_kept_whole(
    project, desk, start
):
    keeper = start("dead_letter", project)
    source = f"//pubsub.googleapis.com/projects/{project.project}/topics/ticks-dead-letter"
    kind = "google.cloud.pubsub.topic.v1.messagePublished"
    message = {
        "messageId": "77",
        "publishTime": "2026-11-23T12:00:00.123Z",
        "orderingKey": "EUR_USD",
        "data": "e30=",
        "attributes": {"instrument": "EUR_USD"},
    }

    assert keeper.send({"message": message, "subscription": "s"}, kind, source) == 200
    assert keeper.send({"message": {"data": "§"}}, kind, source, number="odd") == 200

    first, second = sorted(stored(desk, "ticks"), key=lambda s: s.letter.message_id)
    assert (first.letter.ordering_key, first.letter.data) == ("EUR_USD", b"{}")
    assert second.letter.message_id == "event-odd"
    assert "no message" in second.letter.reason


def test_a_replay_publishes_each_content_once_with_its_attributes_and_key_and_then_never_again(
    project, desk
):
    letters, ear = DeadLetters(desk.objects), Ear(project, "order-events")
    about = {"table": "fill", "reason": "x", "CloudPubSubDeadLetterSourceSubscription": "s"}
    letters.keep(letter(1, b'{"event_id": "a"}', attributes=about, ordering_key="k"))
    letters.keep(letter(2, b'{"event_id": "b"}', attributes={"table": "fill"}))
    # The same message, given up by another reader too.
    letters.keep(letter(3, b'{"event_id": "b"}', attributes={"table": "fill", "reason": "y"}))

    first = replay(desk, "order-events", by="me")
    heard = ear.hear()
    second = replay(desk, "order-events", by="me")

    assert (first.found, first.already, first.published) == (3, 0, 2)
    assert (second.found, second.already, second.published) == (3, 3, 0)
    assert ear.hear() == []
    assert {m.data for m in heard} == {b'{"event_id": "a"}', b'{"event_id": "b"}'}
    (keyed,) = [m for m in heard if m.ordering_key]
    assert dict(keyed.attributes) == {"table": "fill", "replayed_from": "1"}


def test_what_comes_back_after_a_replay_waits_until_it_is_asked_for_again(project, desk):
    letters = DeadLetters(desk.objects)
    letters.keep(letter(1, attributes={"table": "fill"}))
    replay(desk, "order-events", by="me")
    # Nothing was mended: the replayed message is given up by two readers.
    for number, reader in ((2, "a"), (3, "b")):
        about = {"table": "fill", "replayed_from": "1", "reason": reader}
        letters.keep(letter(number, attributes=about))

    left = replay(desk, "order-events", by="me")
    asked = replay(desk, "order-events", by="me", again=True)

    assert (left.back, left.published) == (2, 0)
    assert (asked.back, asked.published) == (0, 1)
    assert replay(desk, "order-events", by="me", again=True).published == 0


def test_a_dry_run_publishes_and_marks_nothing(project, desk):
    ear = Ear(project, "order-events")
    DeadLetters(desk.objects).keep(letter(1))

    would = replay(desk, "order-events", dry_run=True, by="me")

    assert [found.message_id for found in would.letters] == ["1"]
    assert would.published == 0
    assert ear.hear() == []
    assert replay(desk, "order-events", by="me").published == 1


def test_since_leaves_out_what_is_older(project, desk):
    letters = DeadLetters(desk.objects)
    letters.keep(letter(1))
    old = NOON - timedelta(days=3)
    letters.keep(DeadLetter("order-events", "2", old, b"old", "r", "t"))

    assert replay(desk, "order-events", date(2026, 11, 22), by="me", dry_run=True).found == 1
    assert replay(desk, "order-events", by="me", dry_run=True).found == 2


def test_what_waits_in_the_dead_letter_subscription_is_stored_and_replayed_too(project, desk):
    ear = Ear(project, "risk-events")
    publish(project, "risk-events-dead-letter", b'{"event_id": "z"}', table="risk_event")

    assert eventually(lambda: replay(desk, "risk-events", by="me").published)

    assert [m.data for m in ear.hear()] == [b'{"event_id": "z"}']
    assert len(stored(desk, "risk-events")) == 1


def test_what_the_topic_refuses_is_named_and_stays_and_the_others_go(project, desk):
    letters = DeadLetters(desk.objects)
    tick = Tick("EUR_USD", NOON, Decimal("1.1"), Decimal("1.2"))
    good = encode_tick(tick_row(tick, "oanda", NOON) | {"published_at": NOON})
    letters.keep(letter(1, b"no tick", topic="ticks", ordering_key="EUR_USD"))
    letters.keep(letter(2, good, topic="ticks", ordering_key="EUR_USD"))

    done = replay(desk, "ticks", by="me")

    ((name, reason),) = done.refused
    assert name.endswith("/1.json")
    assert reason
    again = replay(desk, "ticks", by="me")
    assert done.published + again.published == 1
    assert [s.replayed for s in stored(desk, "ticks")] == [False, True]


def test_old_announcements_are_never_replayed(project, desk):
    with pytest.raises(RefusedError, match="not replayed"):
        replay(desk, "control", by="me")


def test_a_dead_letter_survives_its_record():
    whole = letter(1, b"\xff\x00", attributes={"table": "fill"}, ordering_key="k")

    assert DeadLetter.from_record(json.loads(json.dumps(whole.to_record()))) == whole
