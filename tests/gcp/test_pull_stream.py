"""The stream beneath the ticks, at a Pub/Sub that does what the test wrote down."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import (
    PubsubMessage,
    ReceivedMessage,
    StreamingPullRequest,
    StreamingPullResponse,
)

from mbats.config import Settings
from mbats.gcp import connection, messages
from mbats.gcp.pull_stream import PullStream
from mbats.gcp.tickbus import FIRST_PAUSE_S, TickSubscription
from mbats.live.inbox import PricesBack, PricesLost
from mbats.market.tick import Tick

NAME, OTHER = "EUR_USD", "USD_JPY"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
EXPECTED = exceptions.ServiceUnavailable("The stream closed for an expected reason")


class Pubsub:
    """Google's client: each stream in turn yields what was written down for it, or raises it."""

    subscription_path = staticmethod("projects/{}/subscriptions/{}".format)

    def __init__(self, *streams):
        self.streams, self.sent, self.made = list(streams), [], []
        self.requests, self.acknowledged = 0, []

    def create_subscription(self, request, **_):
        self.made.append(request)

    def streaming_pull(self, requests, retry, timeout):
        self.sent.append(requests)
        return Call(self.streams.pop(0))

    def acknowledge(self, subscription, ack_ids, retry, timeout):
        self.requests += 1
        self.acknowledged += ack_ids

    def close(self):
        pass


class Call:
    def __init__(self, script):
        self._script = iter(script)

    def __iter__(self) -> Iterator[StreamingPullResponse]:
        return self

    def __next__(self):
        step = next(self._script)
        if callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        return step

    def cancel(self):
        pass


def response(*numbers, name=NAME):
    return StreamingPullResponse(
        received_messages=[
            ReceivedMessage(
                ack_id=f"ack-{name}-{number}",
                message=PubsubMessage(
                    data=messages.encode_tick(messages.tick_row(tick(number), "oanda", NOON)),
                    attributes={messages.INSTRUMENT: name},
                ),
            )
            for number in numbers
        ]
    )


def tick(number):
    return Tick(NAME, NOON, Decimal("1.1"), Decimal("1.2"), number, None)


class Ran:
    """A subscription that ran over ``streams``: what it ``put``, its ``counts``, and Pub/Sub.

    A step of a stream that is a number moves the clock by as many seconds. The last stream ends
    with :meth:`~TickSubscription.stop`.
    """

    def __init__(self, monkeypatch, *streams):
        self.now, self.put = 0.0, []
        *broken, last = streams
        self.pubsub = Pubsub(*(map(self._step, stream) for stream in (*broken, [*last, self._end])))
        monkeypatch.setattr(connection, "subscriber_client", lambda settings: self.pubsub)
        self._one = TickSubscription(
            Settings(project="p"), "bot", [NAME], self.put.append, clock=lambda: self.now
        )
        monkeypatch.setattr(self._one._ending, "wait", self.put.append)  # pauses are put down, too
        self._one.run()
        self.counts = self._one.counts

    def _step(self, step):
        return (lambda: self._move(step)) if isinstance(step, float) else step

    def _move(self, seconds):
        self.now += seconds
        return response()

    def _end(self):
        self._one.stop()
        return exceptions.Cancelled("stopped")


@pytest.mark.parametrize(
    "routine",
    [
        exceptions.Aborted, exceptions.DeadlineExceeded, exceptions.InternalServerError,
        exceptions.ServiceUnavailable, exceptions.Unknown,
    ],
)  # fmt: skip
def test_a_stream_that_ends_as_a_matter_of_course_is_followed_by_the_next_and_nobody_hears_of_it(
    monkeypatch, routine
):
    ran = Ran(monkeypatch, [response(1), 31.0, routine("expected")], [response(2)])
    assert ran.put == [PricesBack(), tick(1), tick(2)]
    assert (ran.counts["renewals"], ran.counts["breaks"]) == (1, 0)
    first, second = (next(requests) for requests in ran.pubsub.sent)
    assert first.client_id == second.client_id != ""


def test_a_stream_that_does_not_last_is_a_loss_of_prices_and_the_pauses_grow(monkeypatch):
    ran = Ran(monkeypatch, [29.0, EXPECTED], [EXPECTED], [31.0, EXPECTED], [EXPECTED], [])
    lost = PricesLost(str(EXPECTED))
    assert ran.put == [
        PricesBack(), lost, 2 * FIRST_PAUSE_S, PricesBack(), lost, 4 * FIRST_PAUSE_S,
        PricesBack(),  # and of the end of this one, which lasted, nothing
        lost, 8 * FIRST_PAUSE_S, PricesBack(),
    ]  # fmt: skip
    assert (ran.counts["renewals"], ran.counts["breaks"]) == (1, 3)


def test_what_is_no_matter_of_course_is_told_however_long_it_lasted(monkeypatch):
    denied = exceptions.PermissionDenied("no access")
    ran = Ran(monkeypatch, [31.0, denied], [31.0], [])
    assert [type(item) for item in ran.put] == [
        PricesBack, PricesLost, float, PricesBack, PricesLost, float, PricesBack,
    ]  # fmt: skip
    assert ran.put[1] == PricesLost(str(denied))
    assert ran.put[4] == PricesLost("the subscription's pull ended")


def test_all_is_acknowledged_also_what_came_in_vain(monkeypatch):
    ran = Ran(monkeypatch, [response(1, 2), response(3, name=OTHER)])
    assert ran.pubsub.acknowledged == ["ack-EUR_USD-1", "ack-EUR_USD-2", "ack-USD_JPY-3"]
    assert ran.put == [PricesBack(), tick(1), tick(2)]
    assert (ran.counts["ticks"], ran.counts["filtered"]) == (2, 1)


def test_what_could_not_be_put_is_told_and_not_acknowledged_and_comes_again(monkeypatch):
    def end():
        one.stop()
        return exceptions.Cancelled("stopped")

    pubsub = Pubsub([response(1, 2)], [response(1, 2), end])
    monkeypatch.setattr(connection, "subscriber_client", lambda settings: pubsub)
    got = []

    def put(item):
        if item == tick(2) and len(pubsub.sent) == 1:
            raise ValueError("no room")
        got.append(item)

    one = TickSubscription(Settings(project="p"), "bot", [NAME], put)
    monkeypatch.setattr(one._ending, "wait", lambda seconds: None)
    one.run()
    back, lost = PricesBack(), PricesLost("no room")
    assert got == [back, tick(1), lost, back, tick(1), tick(2)]
    assert pubsub.acknowledged == ["ack-EUR_USD-1", "ack-EUR_USD-2"]


def test_a_dead_stream_s_messages_come_again_after_ten_seconds(monkeypatch):
    """Google's subscriber asks for a minute where it is not told; an instrument waits as long."""
    ran = Ran(monkeypatch, [])
    (requests,) = ran.pubsub.sent
    asked = next(requests)
    assert asked.subscription == "projects/p/subscriptions/bot"
    assert asked.stream_ack_deadline_seconds == 10
    assert {made["ack_deadline_seconds"] for made in ran.pubsub.made} == {10}


def test_a_stop_before_the_stream_is_open_ends_it_as_well(monkeypatch):
    pubsub = Pubsub([response(1)])
    monkeypatch.setattr(connection, "subscriber_client", lambda settings: pubsub)
    put = []
    one = TickSubscription(Settings(project="p"), "bot", [NAME], put.append)
    open_stream = pubsub.streaming_pull

    def stopped_meanwhile(**asked):
        one.stop()
        return open_stream(**asked)

    pubsub.streaming_pull = stopped_meanwhile
    one.run()
    assert put == [PricesBack()]


def test_many_acknowledgements_go_in_requests_that_pubsub_takes():
    pubsub = Pubsub([])
    stream = PullStream(pubsub, "s", "c")
    stream.acknowledge([str(number) for number in range(2_500)])
    stream.close()
    stream.join()
    assert pubsub.requests == 3
    assert pubsub.acknowledged == [str(number) for number in range(2_500)]


def test_acknowledgements_that_were_not_heard_end_nothing():
    pubsub = Pubsub([])
    told = threading.Event()

    def acknowledge(ack_ids, **_):
        if ack_ids == ["1"]:
            told.set()
            raise EXPECTED
        pubsub.acknowledged += ack_ids

    pubsub.acknowledge = acknowledge
    stream = PullStream(pubsub, "s", "c")
    stream.acknowledge(["1"])
    assert told.wait(60)
    stream.acknowledge(["2"])
    stream.close()
    stream.join()
    assert pubsub.acknowledged == ["2"]


def test_a_stream_with_nothing_to_say_is_kept_alive():
    pubsub = Pubsub([])
    stream = PullStream(pubsub, "s", "c", heartbeat_s=0.001)
    requests = pubsub.sent[0]
    assert next(requests).subscription == "s"
    assert next(requests) == next(requests) == StreamingPullRequest()
    stream.close()
    assert list(requests) == []
