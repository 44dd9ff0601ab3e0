"""Ticks from streamer to subscriber through the Pub/Sub emulator, beside its own ceiling.

Run: python benchmarks/ticks.py [--seconds 10] [--rates 100,1000]. Uses the running local stack
(`mbats up`). In one run, in turns: bare google-cloud-pubsub (200 bytes, no schema, no parsing) and
ours (Tick -> Avro JSON -> topic `ticks` -> filter, parse -> inbox), at the same rate, over as many
ordering keys. Latency is from before publish to the item in the consumer's hands; the emulator
delivers on a tick of some 50 ms.
"""

import argparse
import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue

import numpy as np
from google.cloud.pubsub_v1 import types

from mbats.config import load
from mbats.gcp import connection
from mbats.gcp.publisher import BATCH_SECONDS, Publisher, TickPublisher
from mbats.gcp.tickbus import FLOW_MESSAGES, TickSubscription
from mbats.market.tick import Tick

PATIENCE_S = 60.0
NAMES = tuple(f"BN{number:02d}_USD" for number in range(10))
START = datetime(2026, 1, 1, tzinfo=UTC)
_runs = itertools.count(time.time_ns())


def paced(rate, seconds, send):
    """Call ``send(number)`` at ``rate`` a second; return when each was sent, in seconds."""
    count, began, sent = int(rate * seconds), time.perf_counter(), []
    for number in range(count):
        wait = began + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        sent.append(time.perf_counter())
        send(number)
    return np.array(sent)


def received(queue, count):
    """Return {number: when it came}, for ``count`` messages or what comes within the patience."""
    got = {}
    while len(got) < count:
        try:
            number, moment = queue.get(timeout=PATIENCE_S)
        except Empty:
            break
        got.setdefault(number, moment)
    return got


def figures(sent, got):
    late = np.array([got[n] - sent[n] for n in sorted(got)]) * 1e3
    span = max(got.values()) - sent[0]
    return {
        "sent": len(sent),
        "received": len(got),
        "per_s": round(len(got) / span, 1),
        "p50_ms": round(float(np.percentile(late, 50)), 1),
        "p99_ms": round(float(np.percentile(late, 99)), 1),
    }


def bare(settings, rate, seconds, ordered):
    """What Google's client and the emulator do by themselves."""
    queue, run = SimpleQueue(), next(_runs)
    options = types.PublisherOptions(enable_message_ordering=True)
    publisher = connection.publisher_client(
        settings,
        batch_settings=types.BatchSettings(max_latency=BATCH_SECONDS),
        publisher_options=options,
    )
    client = connection.subscriber_client(settings)
    topic = publisher.topic_path(settings.project, f"bare-{run}")
    path = client.subscription_path(settings.project, f"bare-{run}")
    publisher.create_topic(name=topic)
    wanted = {"name": path, "topic": topic, "enable_message_ordering": ordered}
    client.create_subscription(request=wanted)

    def take(message):
        queue.put((int(message.attributes["n"]), time.perf_counter()))
        message.ack()

    flow = types.FlowControl(max_messages=FLOW_MESSAGES)
    pulling = client.subscribe(path, take, flow_control=flow)
    body = b"x" * 200
    for name in NAMES:  # warm: channels, threads, keys
        publisher.publish(topic, body, name, n="-1").result()
    queue.get(timeout=PATIENCE_S)

    def send(number):
        publisher.publish(topic, body, NAMES[number % len(NAMES)], n=str(number))

    sent = paced(rate, seconds, send)
    got = received(_Numbered(queue), len(sent))
    pulling.cancel()
    pulling.exception(timeout=PATIENCE_S)
    client.delete_subscription(subscription=path)
    publisher.delete_topic(topic=topic)
    client.close()
    return figures(sent, got)


def ours(settings, rate, seconds, ordered):
    """Tick to Tick, as streamer and bot do it."""
    queue = SimpleQueue()

    def put(item):
        if isinstance(item, Tick):
            queue.put((item.bid_liquidity, time.perf_counter()))

    publisher = Publisher(settings)
    ticks = TickPublisher(publisher, "benchmark")
    bot = TickSubscription(settings, f"bench-{next(_runs)}", NAMES, put, ordered=ordered)
    bot.start()
    for name in NAMES:
        ticks.tick(Tick(name, START, Decimal("1.1"), Decimal("1.2"), -1, None), START)
    ticks.flush()
    queue.get(timeout=PATIENCE_S)

    def send(number):
        moment = START + timedelta(microseconds=number + 1)
        name = NAMES[number % len(NAMES)]
        tick = Tick(name, moment, Decimal("1.10001"), Decimal("1.10013"), number, 1_000_000)
        ticks.tick(tick, datetime.now(UTC))

    sent = paced(rate, seconds, send)
    got = received(_Numbered(queue), len(sent))
    bot.delete()
    bot.stop()
    bot.join(PATIENCE_S)
    publisher.close()
    return figures(sent, got)


class _Numbered:
    """A queue without the warming messages."""

    def __init__(self, queue):
        self._queue = queue

    def get(self, timeout):
        while True:
            item = self._queue.get(timeout=timeout)
            if item[0] >= 0:
                return item


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", default="100,1000")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    settings = load().settings
    for rate in map(float, arguments.rates.split(",")):
        for ordered in (True, False):
            for round_number in range(arguments.rounds):
                for name, run in (("bare", bare), ("ours", ours)):
                    found = run(settings, rate, arguments.seconds, ordered)
                    line = {"rate": rate, "ordered": ordered, "round": round_number, "what": name}
                    print(json.dumps(line | found), flush=True)


if __name__ == "__main__":
    main()
