import itertools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import SimpleQueue

import pytest
from google.api_core import exceptions

from mbats.errors import DataError, NotReadyError
from mbats.gcp import connection, messages
from mbats.gcp.publisher import EventPublisher, Publisher, TickPublisher
from mbats.gcp.tickbus import TickSubscription, subscription_filter
from mbats.live.events import denial
from mbats.live.inbox import PricesBack, PricesLost
from mbats.live.streams import Mark
from mbats.market.tick import Tick

pytestmark = pytest.mark.emulators

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings)
    yield publisher
    publisher.close()


@pytest.fixture
def subscribed(settings):
    """Subscribe to instruments of this test's own; return their names, the taker, the thread."""
    made = []

    def subscribe(count=1):
        names = [f"BUS{next(_numbers)}_USD" for _ in range(count)]
        items = SimpleQueue()
        thread = TickSubscription(settings, f"bot-{next(_numbers)}-ticks", names, items.put)
        made.append(thread)
        thread.start()
        take = lambda: items.get(timeout=30)  # noqa: E731
        assert take() == PricesBack()
        return names, take, thread

    yield subscribe
    for thread in made:
        thread.delete()
        thread.stop()
        thread.join(30)
        assert not thread.is_alive()


def tick(instrument, number=0):
    return Tick(
        instrument, NOW + timedelta(seconds=number), Decimal("1.1"), Decimal("1.2"), 5, None
    )


def test_ticks_arrive_in_order_and_only_those_asked_for(publisher, subscribed):
    (mine,), take, _ = subscribed()
    ticks = TickPublisher(publisher, "oanda")
    for number in range(50):
        ticks.tick(tick("OTHER_USD", number), NOW)
        ticks.tick(tick(mine, number), NOW)
    ticks.flush()
    assert [take() for _ in range(50)] == [tick(mine, number) for number in range(50)]


def test_losses_and_returns_take_turns_whatever_the_instruments_order(publisher, subscribed):
    names, take, _ = subscribed(3)
    ticks = TickPublisher(publisher, "oanda")
    for mark in (Mark.LOST, Mark.BACK):
        for name in names:
            ticks.mark(name, mark, NOW)
    for name in names:
        ticks.tick(tick(name), NOW)
    ticks.flush()
    items, seen = [], 0
    while seen < 3:
        items.append(take())
        seen += isinstance(items[-1], Tick)
    gaps = [type(item) for item in items if not isinstance(item, Tick)]
    assert gaps == [PricesLost, PricesBack] * (len(gaps) // 2)
    assert 1 <= len(gaps) // 2 <= 3


def test_a_return_whose_loss_nobody_could_tell_is_both(publisher, subscribed):
    (mine,), take, _ = subscribed()
    ticks = TickPublisher(publisher, "oanda")
    ticks.mark(mine, Mark.BACK, NOW)
    ticks.flush()
    assert isinstance(take(), PricesLost)
    assert take() == PricesBack()


def test_an_unreadable_tick_is_a_gap(publisher, subscribed):
    (mine,), take, thread = subscribed()
    row = messages.tick_row(tick(mine), "oanda", NOW)
    document = json.loads(messages.encode_tick(row)) | {"bid": {"string": "no number"}}
    publisher.publish("ticks", json.dumps(document).encode(), mine, instrument=mine)
    publisher.flush()
    assert "no tick" in take().reason
    assert take() == PricesBack()
    assert thread.counts["unreadable"] == 1


def test_a_deleted_subscription_is_told_and_made_anew(publisher, subscribed, settings):
    (mine,), take, thread = subscribed()
    thread.delete()
    assert isinstance(take(), PricesLost)
    assert take() == PricesBack()
    TickPublisher(publisher, "oanda").tick(tick(mine), NOW)
    assert take() == tick(mine)


def test_the_topic_refuses_what_breaks_the_schema_and_the_publisher_says_so(settings):
    publisher = Publisher(settings)
    publisher.publish("ticks", b'{"instrument": 5}', "X_USD")
    with pytest.raises(DataError, match="refuses messages on ticks"):
        publisher.flush()
    assert publisher.unconfirmed == 1
    with pytest.raises(DataError):
        publisher.close()


class FailingClient:
    """Google's client, whose first ``failures`` publishes of each key fail."""

    def __init__(self, client, failures):
        self.client, self.failures, self.resumed = client, failures, []

    def __getattr__(self, name):
        return getattr(self.client, name)

    def publish(self, topic, data, ordering_key="", **attributes):
        if self.failures:
            self.failures -= 1
            topic = topic.replace("ticks", "no-such-topic")
        return self.client.publish(topic, data, ordering_key=ordering_key, **attributes)

    def resume_publish(self, topic, key):
        self.resumed.append(key)
        self.client.resume_publish(topic, key)


def test_what_failed_is_sent_again_in_its_order(settings, subscribed):
    (mine,), take, _ = subscribed()
    pauses = []
    publisher = Publisher(settings, sleep=pauses.append)
    publisher._client = client = FailingClient(publisher._client, failures=3)
    ticks = TickPublisher(publisher, "oanda")
    for number in range(3):
        ticks.tick(tick(mine, number), NOW)
    ticks.flush()
    assert [take() for _ in range(3)] == [tick(mine, number) for number in range(3)]
    assert client.resumed == [mine]
    assert pauses
    assert publisher.unconfirmed == 0
    publisher.close()


def test_a_key_that_an_error_paused_goes_on(settings, subscribed):
    (mine,), take, _ = subscribed()
    publisher = Publisher(settings)
    topic = f"projects/{settings.project}/topics/ticks"
    client = publisher._client
    paused = client.publish(topic, b"breaks the schema", ordering_key=mine)
    assert isinstance(paused.exception(30), exceptions.InvalidArgument)
    ticks = TickPublisher(publisher, "oanda")
    ticks.tick(tick(mine), NOW)
    ticks.flush()
    assert take() == tick(mine)
    publisher.close()


def test_a_dead_pubsub_is_told_after_the_patience_and_nothing_is_dropped(settings):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    publisher = Publisher(settings, patience_s=3, sleep=sleep, clock=lambda: now[0])
    publisher._client = FailingClient(publisher._client, failures=10**6)
    ticks = TickPublisher(publisher, "oanda")
    ticks.tick(tick("EUR_USD"), NOW)
    ticks.tick(tick("USD_JPY"), NOW)
    with pytest.raises(NotReadyError, match="did not take 2 messages"):
        ticks.flush()
    assert publisher.unconfirmed == 2
    publisher._client = publisher._client.client
    publisher._client.stop()


def test_events_go_to_the_topic_of_their_table_and_flush_confirms(settings, publisher):
    client = connection.subscriber_client(settings)
    path = client.subscription_path(settings.project, f"events-{next(_numbers)}")
    topic = client.topic_path(settings.project, "risk-events")
    client.create_subscription(name=path, topic=topic)
    events = EventPublisher(publisher)
    events(denial("run", "STALE_PRICE", "old", NOW, {"account": "A"}))
    events.flush()
    assert events.unconfirmed == 0
    (got,) = client.pull(subscription=path, max_messages=10).received_messages
    assert got.message.attributes["table"] == "risk_event"
    assert messages.decode_event("risk_event", got.message.data)["code"] == "STALE_PRICE"
    client.delete_subscription(subscription=path)
    client.close()


def test_without_pubsub_it_is_told_at_once(settings):
    dead = settings.model_copy(update={"pubsub_endpoint": "127.0.0.1:1"})
    with pytest.raises(NotReadyError, match="Pub/Sub does not answer"):
        Publisher(dead)
    with pytest.raises(NotReadyError, match="Pub/Sub does not answer"):
        TickSubscription(dead, "bot-ticks", ["EUR_USD"], print)


def test_a_filter_that_google_would_refuse_is_left_out():
    assert subscription_filter(["USD_JPY", "EUR_USD"]) == (
        'attributes.instrument = "EUR_USD" OR attributes.instrument = "USD_JPY"'
    )
    assert subscription_filter([f"A{n}_USD" for n in range(20)]) == ""
