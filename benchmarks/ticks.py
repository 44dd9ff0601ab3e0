"""Ticks through the Pub/Sub emulator, streamer to bot and tick to order, beside its own ceiling.

    .venv/bin/python benchmarks/ticks.py [--seconds 10] [--rounds 5] [--rates 100,1000]

The peer is bare google-cloud-pubsub: 200 bytes, no schema, no parsing, the same rate, batching,
flow control and ordering keys, into a queue. Ours is a Tick -> Avro JSON -> topic `ticks` ->
filter, parse -> the bot's inbox -> store, bars, backtrader, rules, protocol -> an order at the
simulator.
Publishers run in a process of their own on both sides, as a streamer does. Latency is from before
publish to the item in the consumer's hands (delivery), and to the moment that the order leaves
(order); the write of the journal, which is the storage's, and the broker's answer are told apart.
The emulator delivers on a tick of some 50 ms. Inside the bot is from the tick in its inbox to the
order: of a bot in the desk's seven pairs, and of one in all that are streamed. The emulator filters
nothing, so both get every tick.

Emulator, publisher and simulator stand for other machines: they run at a lower priority, for bare
and ours alike. They wake all the time, and still take turns with the bot on its cores; so one way
gives it a core to itself, as a job on Cloud Run has one. All else then shares what is left, and
only what is inside the bot means anything.

Bare and ours take turns within each round, and the last lines are medians over the rounds of
ours / bare: a machine that others use moves both. What is inside the bot is told of all rounds'
orders together: of one round's few, the 99th percentile would be the worst. Starts and stops what
it needs.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import psutil
from google.cloud.pubsub_v1 import types
from ticks_to_orders import AWAY, BAR, orders

from mbats.config import Settings
from mbats.gcp import connection
from mbats.gcp.publisher import BATCH_SECONDS, Publisher, TickPublisher
from mbats.gcp.pull_stream import FLOW_MESSAGES
from mbats.gcp.tickbus import TickSubscription
from mbats.local.stack import EMULATOR_SERVICES, Stack
from mbats.market import catalogue
from mbats.market.catalogue import SEED_SEVEN
from mbats.market.tick import Tick

CHECKOUT = Path(__file__).parents[1]
PATIENCE_S = 60.0
WARM_UP_S = 3.0
LEAD_S = 0.5  # from the producer's readiness to its first message
TICKS_A_SECOND = 4  # of one instrument, at OANDA's most
MOST_NAMES = 60  # of one bot
DESK = len(SEED_SEVEN)
INSIDE, OWN_CORE = "inside", "order, own core"
SERVICES = [service for service in EMULATOR_SERVICES if service.name != "bigquery"]
START = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday noon
_runs = itertools.count(time.time_ns())


def names_at(rate):
    """The instruments of so many ticks a second: as many ordering keys."""
    count = min(MOST_NAMES, max(len(SEED_SEVEN), int(rate / TICKS_A_SECOND)))
    first = ["EUR_USD", *SEED_SEVEN]  # the one that the bot's orders are in
    return list(dict.fromkeys([*first, *catalogue.names()]))[:count]


# The publishing side, in a process of its own.


class BareSender:
    """Google's client, with the options that ours has."""

    def __init__(self, settings, topic, names):
        self._topic, self._names, self._body = topic, names, b"x" * 200
        self._stored = []
        self._client = connection.publisher_client(
            settings,
            batch_settings=types.BatchSettings(max_latency=BATCH_SECONDS),
            publisher_options=types.PublisherOptions(enable_message_ordering=True),
        )

    def send(self, number):
        name = self._names[number % len(self._names)]
        self._stored.append(self._client.publish(self._topic, self._body, name, n=str(number)))

    def close(self):
        for stored in self._stored:
            stored.result(timeout=PATIENCE_S)
        self._client.stop()


class OurSender:
    """The streamer's way out; ``step`` is how far the times of two ticks are apart."""

    def __init__(self, settings, names, step, bid):
        self._names, self._step, self._bid = names, step, bid
        self._publisher = Publisher(settings)
        self._ticks = TickPublisher(self._publisher, "benchmark")

    def send(self, number):
        bid = self._bid + Decimal(number % 7).scaleb(-5)
        tick = Tick(
            self._names[number % len(self._names)], START + self._step * (number + 1000), bid,
            bid + Decimal("0.0001"), number + 1000, 1_000_000,
        )  # fmt: skip
        self._ticks.tick(tick, datetime.now(UTC))

    def close(self):
        self._publisher.close()


def produce(make, arguments, warm, rate, seconds, pipe):
    """Send ``warm`` messages, wait for the word, then send at ``rate``; tell when each was sent."""
    os.nice(AWAY)
    sender = make(*arguments)
    for number in range(-warm, 0):
        sender.send(number)
    pipe.send("warm")
    pipe.recv()
    count, began, sent = int(rate * seconds), time.perf_counter() + LEAD_S, []
    for number in range(count):
        wait = began + number / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        sent.append(time.perf_counter())
        sender.send(number)
    sender.close()
    pipe.send(sent)


class Producer:
    """A publishing process. Its clock is this one's: both read the machine's monotonic clock."""

    def __init__(self, make, arguments, warm, rate, seconds):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=produce, args=(make, arguments, warm, rate, seconds, theirs), daemon=True
        )
        self._process.start()
        self._patience = seconds + PATIENCE_S
        self._wait()

    def go(self):
        self._pipe.send("go")

    def sent(self):
        """Return when each message was sent."""
        return np.array(self._wait())

    def _wait(self):
        if not self._pipe.poll(self._patience):
            self._process.kill()
            raise TimeoutError("the publishing process did not answer")
        return self._pipe.recv()


# The taking side.


def collect(queue, count, seconds):
    """Return {number: when it came}, for ``count`` messages or what comes within the patience."""
    got, deadline = {}, time.perf_counter() + seconds + PATIENCE_S
    while len(got) < count and time.perf_counter() < deadline:
        try:
            number, moment = queue.get(timeout=5.0)
        except Empty:
            continue
        if number >= 0:
            got.setdefault(number, moment)
    return got


def warmed(queue, count):
    """Take the warming messages: channels, threads and keys are open then."""
    for _ in range(count):
        queue.get(timeout=PATIENCE_S)


def figures(sent, got):
    late = np.array([got[n] - sent[n] for n in sorted(got)]) * 1e3
    span = max(got.values()) - sent[0]
    return {
        "sent": len(sent),
        "received": len(got),
        "per_s": round(len(got) / span, 1),
        **percentiles(late),
    }


def percentiles(milliseconds, prefix=""):
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {f"{prefix}p50_ms": round(float(p50), 2), f"{prefix}p99_ms": round(float(p99), 2)}


def bare(settings, rate, seconds, ordered):
    """What Google's client and the emulator do by themselves."""
    queue, run, names = SimpleQueue(), next(_runs), names_at(rate)
    client = connection.subscriber_client(settings)
    control = connection.publisher_client(settings)
    topic = control.topic_path(settings.project, f"bare-{run}")
    path = client.subscription_path(settings.project, f"bare-{run}")
    control.create_topic(name=topic)
    client.create_subscription(
        request={"name": path, "topic": topic, "enable_message_ordering": ordered}
    )

    def take(message):
        queue.put((int(message.attributes["n"]), time.perf_counter()))
        message.ack()

    pulling = client.subscribe(
        path, take, flow_control=types.FlowControl(max_messages=FLOW_MESSAGES)
    )
    producer = Producer(BareSender, (settings, topic, names), len(names), rate, seconds)
    warmed(queue, len(names))
    producer.go()
    got = collect(queue, int(rate * seconds), seconds)
    sent = producer.sent()
    pulling.cancel()
    pulling.exception(timeout=PATIENCE_S)
    client.delete_subscription(subscription=path)
    control.delete_topic(topic=topic)
    client.close()
    return figures(sent, got)


def ours(settings, rate, seconds, ordered):
    """Tick to Tick, as streamer and bot do it."""
    queue, names = SimpleQueue(), names_at(rate)

    def put(item):
        if isinstance(item, Tick):
            queue.put((item.bid_liquidity - 1000, time.perf_counter()))

    bot = TickSubscription(settings, f"bench-{next(_runs)}", names, put, ordered=ordered)
    bot.start()
    sender = (settings, names, timedelta(milliseconds=1), Decimal("1.1"))
    producer = Producer(OurSender, sender, len(names), rate, seconds)
    warmed(queue, len(names))
    producer.go()
    got = collect(queue, int(rate * seconds), seconds)
    sent = producer.sent()
    end(bot)
    return figures(sent, got)


def end(bot):
    bot.delete()
    bot.stop()
    bot.join(PATIENCE_S)


def to_orders(settings, rate, seconds, ordered, most=DESK, *, own_core=False):
    """Tick to order: a bot in ``most`` instruments, at a simulator of its own."""
    names = names_at(rate)
    traded = names[:most]

    def producer(step, bid):
        step = min(step, BAR / len(names))  # a bar has a tick of each, or nothing would end it
        return Producer(OurSender, (settings, names, step, bid), len(names), rate, seconds)

    def subscription(put):
        return TickSubscription(settings, f"bench-{next(_runs)}", traded, put, ordered=ordered)

    count = sum(names[number % len(names)] in traded for number in range(int(rate * seconds)))
    found = orders(settings, traded, count, rate, subscription, producer, own_core=own_core)
    return {
        "instruments": len(traded),
        "orders": len(found.whole),
        **percentiles(found.whole),
        INSIDE: found.inside,
        **percentiles(found.cpu, "cpu_"),
        **percentiles(found.journal, "journal_"),
        **percentiles(found.answer, "answer_"),
    }


def to_orders_in_all(settings, rate, seconds, ordered):
    """Tick to order: a bot in every instrument that is streamed."""
    return to_orders(settings, rate, seconds, ordered, MOST_NAMES)


WAYS = {
    "bare": bare,
    "delivery": ours,
    "order": to_orders,
    "order, all": to_orders_in_all,
    OWN_CORE: partial(to_orders, own_core=True),
}


def compare(settings, rate, arguments):
    """Run all ways in turns; print each, then the ratios."""
    for run in WAYS.values():  # the emulator's own code warms up
        run(settings, rate, WARM_UP_S, not arguments.unordered)
    found = defaultdict(list)
    for round_number in range(arguments.rounds):
        for name, run in WAYS.items():
            about = {"rate": rate, "round": round_number, "what": name}
            one = run(settings, rate, arguments.seconds, not arguments.unordered)
            found[name].append(one)
            inside = percentiles(one[INSIDE], "inside_") if INSIDE in one else {}
            told = {key: value for key, value in one.items() if key != INSIDE} | inside
            load = {"load": round(os.getloadavg()[0], 1)}
            print(json.dumps(about | told | load), flush=True)
    for name in ("delivery", "order", "order, all"):
        ratios = {key: ratio(found[name], found["bare"], key) for key in ("p50_ms", "p99_ms")}
        print(json.dumps({"rate": rate, "median of ours / bare": name, **ratios}), flush=True)
    for name in list(WAYS)[2:]:
        inside = [each for one in found[name] for each in one[INSIDE]]
        about = {"rate": rate, "inside the bot": name, "orders": len(inside)}
        print(json.dumps(about | percentiles(inside)), flush=True)


def ratio(ours, theirs, key):
    return round(statistics.median(a[key] / b[key] for a, b in zip(ours, theirs, strict=True)), 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", default="100,1000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--unordered", action="store_true", help="without ordering keys' order")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wanted = Settings(
            home=Path(folder), venvs=CHECKOUT / ".mbats" / "venvs", project="mbats-bench"
        )
        stack = Stack(wanted, SERVICES, any_ports=True)
        try:
            stack.up()
            for process in psutil.Process().children(recursive=True):
                process.nice(process.nice() + AWAY)
            for rate in map(float, arguments.rates.split(",")):
                compare(stack.running_settings(), rate, arguments)
        finally:
            stack.down()


if __name__ == "__main__":
    main()
