import itertools
import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable

from mbats import schemas
from mbats.desk import Desk
from mbats.errors import NotReadyError
from mbats.gcp.connection import subscriber_client
from mbats.gcp.publisher import EventPublisher, Publisher, TickPublisher
from mbats.gcp.tables import apply_tables
from mbats.gcp.views import FOLDER, apply_views
from mbats.live.events import Event, denial
from mbats.live.streams import Mark
from mbats.local.archiver import Archiver
from mbats.local.topology import ARCHIVED
from mbats.market.tick import Tick
from tests.gcp.test_messages import EVENT

pytestmark = pytest.mark.emulators

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
_numbers = itertools.count()
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def desk(settings):
    names = {"security_master": "security_master_archive", "risk": "risk_archive"}
    with Desk(settings.model_copy(update=names)) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        apply_views(desk.warehouse, FOLDER)
        yield desk


class Rig:
    """An archiver with subscriptions of its own, and what publishes to it."""

    def __init__(self, settings, desk):
        self.settings, self.desk, self.said = settings, desk, []
        self.client = subscriber_client(settings)
        number = next(_numbers)
        self.subscriptions = {topic: f"archive-{number}-{topic}" for topic in ARCHIVED}
        for topic, name in self.subscriptions.items():
            self.client.create_subscription(
                name=self.path(name),
                topic=f"projects/{settings.project}/topics/{topic}",
                ack_deadline_seconds=60,
            )
        self.publisher = Publisher(settings)
        self.ticks, self.events = TickPublisher(self.publisher, "t"), EventPublisher(self.publisher)
        self.instrument, self.run = f"ARC{number}_USD", f"arc-{number}"

    def path(self, name):
        return f"projects/{self.settings.project}/subscriptions/{name}"

    def archiver(self, warehouse=None, client=None):
        return Archiver(
            self.settings.project,
            client or self.client,
            self.publisher,
            warehouse or self.desk.warehouse,
            lambda *said: self.said.append(said),
            self.subscriptions,
        )

    def publish(self, count=10):
        """Publish ``count`` ticks, fills, denials and heartbeats, each twice."""
        for _ in range(2):
            for number in range(count):
                moment = NOW + timedelta(seconds=number)
                price = Decimal("1.1") + number
                self.ticks.tick(Tick(self.instrument, moment, price, price + 1, 5, None), NOW)
                fill = EVENT | {"event_id": f"{self.run}-{number}", "run_id": self.run}
                self.events(Event("fill", fill))
                self.events(denial(self.run, f"CODE_{number}", "no", NOW, {"figures": {"a": 1}}))
                self.events(Event("heartbeat", {"source": self.run, "time": moment}))
        self.publisher.flush()

    def count(self, table, view=False):
        tick = table == "tick"
        dataset = self.desk.settings.security_master if tick else self.desk.settings.risk
        column, value = {
            "tick": ("instrument", self.instrument),
            "heartbeat": ("source", self.run),
        }.get(table, ("run_id", self.run))
        name = f"`{self.settings.project}.{dataset}.{'v_' if view else ''}{table}`"
        sql = f"SELECT COUNT(*) AS n FROM {name} WHERE {column} = @value"
        return self.desk.warehouse.query(sql, {"value": value})[0]["n"]

    def counts(self, **options):
        tables = ("tick", "fill", "risk_event", "heartbeat")
        return [self.count(table, **options) for table in tables]

    def deliver_again(self):
        """Make everything that was not acknowledged come again at once."""
        for name in self.subscriptions.values():
            past = datetime.now(UTC) - timedelta(hours=1)
            self.client.seek(request={"subscription": self.path(name), "time": past})

    def close(self):
        for name in self.subscriptions.values():
            self.client.delete_subscription(subscription=self.path(name))
        self.client.close()
        self.publisher.close()


@pytest.fixture
def rig(settings, desk):
    rig = Rig(settings, desk)
    yield rig
    rig.close()


def test_every_message_becomes_one_row_however_often_it_comes(rig):
    rig.publish()
    assert rig.archiver().drain() >= 80
    assert rig.counts() == [10] * 4
    rig.publish()
    rig.archiver().drain()
    assert rig.counts() == [10] * 4
    assert rig.counts(view=True) == [10] * 4
    assert rig.archiver().drain() == 0


def test_rows_hold_what_was_published(rig):
    rig.publish(1)
    rig.ticks.mark(rig.instrument, Mark.LOST, NOW)
    rig.archiver().drain()
    warehouse = rig.desk.warehouse
    ticks = warehouse.query(
        f"SELECT * FROM `{rig.settings.project}.{rig.desk.settings.security_master}.v_tick` "
        "WHERE instrument = @name ORDER BY mark",
        {"name": rig.instrument},
    )
    assert [(t["bid"], t["mark"]) for t in ticks] == [(Decimal("1.1"), None), (None, "lost")]
    assert ticks[0]["time"] == NOW
    (fill,) = warehouse.query(
        f"SELECT * FROM `{rig.settings.project}.{rig.desk.settings.risk}.v_fill` "
        "WHERE run_id = @run",
        {"run": rig.run},
    )
    assert fill["conversion_rate"] == Decimal("0.006666667")
    assert fill["realised_pnl"] == Decimal("-1.23")


@pytest.mark.parametrize("when", ["ack", "2", "6"])
def test_killed_at_any_point_nothing_is_lost_or_doubled(rig, when):
    rig.publish()
    settings = rig.desk.settings.model_dump_json(exclude={"oanda_token"})
    script = Path(__file__).with_name("archiving.py")
    killed = subprocess.run(
        [sys.executable, str(script), settings, json.dumps(rig.subscriptions), when],
        cwd=CHECKOUT,
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    rig.deliver_again()
    rig.archiver().drain()
    assert rig.counts() == [10] * 4


def test_what_is_no_row_goes_to_the_dead_letters_and_the_rest_is_stored(rig):
    dead = rig.client.subscription_path(rig.settings.project, "risk-events-dead-letter")
    rig.publisher.publish("risk-events", b"{", table="risk_event")
    rig.publisher.publish("risk-events", b"{}", table="fill")
    rig.publisher.publish("risk-events", b'{"source": "x"}', table="heartbeat")
    rig.events(denial(rig.run, "CODE", "no", NOW, {}))
    rig.publisher.flush()
    rig.archiver().drain()
    assert rig.count("risk_event") == 1
    got = rig.client.pull(subscription=dead, max_messages=100).received_messages
    rig.client.acknowledge(subscription=dead, ack_ids=[m.ack_id for m in got])
    reasons = " ".join(m.message.attributes["reason"] for m in got)
    assert len(got) == 3
    assert "no row of risk.risk_event" in reasons
    assert "names the table 'fill'" in reasons
    assert "required" in reasons
    assert sum(event == "dead_letter" for event, _ in rig.said) == 3


class Flaky:
    """A warehouse that does not answer ``times`` times; then tells ``stop``."""

    def __init__(self, warehouse, times):
        self._warehouse, self._times = warehouse, times

    def merge(self, *arguments, **options):
        if self._times:
            self._times -= 1
            raise NotReadyError("BigQuery does not answer")
        return self._warehouse.merge(*arguments, **options)


class Waiting(threading.Event):
    """Is set once ``said`` tells of all topics archived; its waits take no time."""

    def __init__(self, said):
        super().__init__()
        self._said = said

    def wait(self, timeout=None):
        return self.is_set()

    def is_set(self):
        return {v["topic"] for event, v in self._said if event == "archived"} >= set(ARCHIVED)


def test_a_bigquery_that_does_not_answer_is_waited_for(rig):
    rig.publish(2)
    rig.archiver(Flaky(rig.desk.warehouse, times=3)).run(Waiting(rig.said))
    assert sum(event == "waiting" for event, _ in rig.said) == 3
    assert rig.counts() == [2] * 4


class FirstPause(threading.Event):
    """Is set by its first wait, and remembers how long that was to be."""

    asked_s = None

    def wait(self, timeout=None):
        self.asked_s = timeout
        self.set()
        return True


def test_an_idle_archiver_pauses_between_pulls(rig):
    stopping = FirstPause()
    rig.archiver().run(stopping)
    assert (stopping.asked_s or 0) > 0


class Slow:
    """A Pub/Sub that takes its time over every pull: what a caller gives up is gone with it."""

    def __init__(self, client, seconds, dies_after=10**9):
        self._client, self._seconds, self._left = client, seconds, dies_after
        self.acknowledge = client.acknowledge

    def pull(self, **asked):
        self._left -= 1
        if self._left < 0:
            raise ServiceUnavailable("gone")
        answer = self._client.pull(**asked | {"timeout": 60})
        if asked["timeout"] < self._seconds:
            raise DeadlineExceeded("Deadline Exceeded")
        return answer


def test_all_is_stored_though_pubsub_takes_its_time(rig):
    rig.publish(2)
    assert rig.archiver(client=Slow(rig.client, seconds=20)).drain() >= 16
    assert rig.counts() == [2] * 4


def test_a_pubsub_that_never_answers_is_not_taken_for_an_empty_one(rig):
    with pytest.raises(NotReadyError, match="does not answer"):
        rig.archiver(client=Slow(rig.client, seconds=10**9)).drain()


def test_what_was_pulled_before_pubsub_went_away_is_stored(rig):
    rig.publish(2)
    with pytest.raises(NotReadyError, match="gone"):
        rig.archiver(client=Slow(rig.client, seconds=0, dies_after=1)).drain()
    assert rig.count("tick") == 2
