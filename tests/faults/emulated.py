"""A seed of the fault test through the emulators: nothing of the desk is a stand-in but the wire.

Events go by Pub/Sub and the archiver into BigQuery's tables, the journal and the lease are objects
in Cloud Storage, and the archiver is killed too. The audit asks the views, the journal's objects
and the broker's ledger. What happens to the bot is the seed's alone: it is killed at numbered
questions, and no answer depends on how long a service took.

Each seed is a process of its own, for Google's clients do not survive a fork:

python -m tests.faults.emulated SETTINGS SEED ACCOUNT [VARIANT]   # SETTINGS as JSON
"""

import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from mbats import schemas
from mbats.config import Settings
from mbats.desk import Desk
from mbats.desk.switch import journal_name
from mbats.gcp.connection import subscriber_client
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.lease import RENEWALS, ObjectLease
from mbats.gcp.messages import ORDER_EVENTS, RISK_EVENTS
from mbats.gcp.objects import Objects
from mbats.gcp.publisher import EventPublisher, Publisher
from mbats.gcp.tables import apply_tables
from mbats.gcp.views import FOLDER, apply_views
from mbats.live.orders import compaction
from mbats.local import rest, topology
from mbats.local.archiver import Archiver
from mbats.vendors.oanda_broker import OandaBroker
from tests.faults import audit as auditor
from tests.faults import broken, life
from tests.faults.seeds import Outcome, live_through, memory_folder
from tests.faults.wire import Channel
from tests.faults.world import KILL_POINTS, World

LIVES = 4
SECONDS = 150
LEASE_SECONDS = 5.0
MANY_OBJECTS = 20

# An object is written by the journal, its compaction and the lease. Before and after each of them:
OBJECT_KILLS = {
    ("object", "before"): 60, ("objected", "before"): 60, ("stored", "before"): 8,
    ("compact", "before"): 1, ("compacted", "before"): 1,
}  # fmt: skip
EMULATED_KILL_POINTS = {
    point: most
    for point, most in KILL_POINTS.items()
    if point[0] in ("write", "read", "store", "take") and point[1] != "torn"
} | OBJECT_KILLS

SUBSCRIPTIONS = {topic: topology.archive(topic) for topic in (ORDER_EVENTS, RISK_EVENTS)}


class MortalObjects:
    """Cloud Storage; the world may shoot before and after every change."""

    def __init__(self, objects: Objects, outside: life.Outside) -> None:
        self._objects = objects
        self._outside = outside
        self.read, self.list = objects.read, objects.list

    def write(self, *arguments: Any, **options: Any) -> int:
        return self._changed(lambda: self._objects.write(*arguments, **options))

    def remove(self, *arguments: Any, **options: Any) -> None:
        self._changed(lambda: self._objects.remove(*arguments, **options))

    def _changed(self, change: Callable[[], Any]) -> Any:
        self._outside.ask("object")
        made = change()
        self._outside.ask("objected")
        return made


class MortalObjectJournal(ObjectJournal):
    """The journal in objects; what a compaction forgets is kept aside for the audit."""

    def __init__(self, objects: Any, name: str, folder: Path, outside: life.Outside) -> None:
        super().__init__(objects, name, worth=MANY_OBJECTS)
        self._aside = folder / life.FORGOTTEN
        self._outside = outside

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        self._outside.ask("compact")
        life.keep_aside(self._aside, self._records, kept)
        super().compact(kept)
        self._outside.ask("compacted")


class KeptLease:
    """A lease that is renewed as the world's time passes: its own thread goes by the wall's."""

    def __init__(self, objects: Any, name: str, outside: life.Outside) -> None:
        self._outside = outside
        self._lease = ObjectLease(
            objects, name, ttl_s=LEASE_SECONDS, keep=False, clock=outside.elapsed,
            wall=outside.elapsed, sleep=outside.sleep,
        )  # fmt: skip
        self.fencing = self._lease.acquire(wait_s=60)
        self._renewed_at = outside.elapsed()
        self.release = self._lease.release

    def check(self) -> None:
        if self._outside.elapsed() - self._renewed_at >= LEASE_SECONDS / RENEWALS:
            self._renewed_at = self._outside.elapsed()
            self._lease.renew()
        self._lease.check()

    def regain(self) -> None:
        self._lease.regain()
        self.fencing = self._lease.fencing
        self._renewed_at = self._outside.elapsed()


class MortalBus:
    """Events on their way to Pub/Sub; the world may shoot before and after they are confirmed.

    ``unconfirmed`` counts to the last flush, not to the last answer: that would be the wall's time.
    """

    def __init__(self, publisher: Publisher, outside: life.Outside) -> None:
        self._publish = EventPublisher(publisher)
        self._outside = outside
        self.unconfirmed = 0

    def __call__(self, event: Any) -> None:
        self._publish(event)
        self.unconfirmed += 1

    def flush(self) -> None:
        self._outside.ask("store")
        self._publish.flush()
        self._outside.ask("stored")
        self.unconfirmed = 0


class AcknowledgesFirst(Archiver):
    """An archiver that is wrong on purpose: what it has acknowledged dies with it."""

    def _store(self, topic: str, name: str, batch: Any, stopping: Any) -> None:
        self._client.acknowledge(subscription=self._path(name), ack_ids=batch.ack_ids)
        super()._store(topic, name, batch, stopping)


ARCHIVERS: dict[str, type[Archiver]] = {"acknowledge": AcknowledgesFirst}


def bus_of(settings: Settings, account: str) -> Settings:
    """Return settings for a Pub/Sub of the account's own: seeds do not hear one another."""
    return settings.model_copy(update={"project": f"faults-{account}"})


def live(
    channel: Channel, settings: Settings, folder: Path, seed: int, account: str, number: int,
    variant: str,
) -> None:  # fmt: skip
    """Be the bot until the world says stop, or shoots."""
    outside = life.Outside(channel)
    with Desk(settings) as desk:
        objects = MortalObjects(desk.objects, outside)
        lease = KeptLease(objects, f"account-{account}", outside)
        journal = MortalObjectJournal(objects, journal_name(account), folder, outside)
        publisher = Publisher(bus_of(settings, account))
        stores = life.Stores(journal, MortalBus(publisher, outside), lease)
        if seed % 2:
            compaction.REFUSABLE = life.SHORT_MEMORY
            stores.proven = partial(life.proved_by, journal)
        duty = life.Duty(f"run-{number}", life.restless(seed), life.FOR_EVER, account=account)
        life.trade(outside, stores, duty, broken.BROKERS.get(variant, OandaBroker))
        lease.release()
        publisher.close()


def archive(settings: Settings, account: str, variant: str, dies: str, number: int) -> None:
    """Archive until killed: by itself at the ``number``-th request or acknowledgement."""
    left = iter(range(number - 1))

    def struck() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    if dies == "request":
        send = requests.Session.send

        def counting(self: Any, request: Any, **options: Any) -> Any:
            answer = send(self, request, **options)
            struck()
            return answer

        requests.Session.send = counting  # type: ignore[method-assign]
    acknowledging = struck if dies == "acknowledge" else None
    with archiver(settings, account, ARCHIVERS.get(variant, Archiver), acknowledging) as made:
        made.run(threading.Event())


@contextmanager
def archiver(
    settings: Settings, account: str, make: type[Archiver] = Archiver,
    before_acknowledging: Callable[[], None] | None = None,
) -> Iterator[Archiver]:  # fmt: skip
    bus = bus_of(settings, account)
    with Desk(settings) as desk, subscriber_client(bus) as client:
        if before_acknowledging is not None:
            acknowledge = client.acknowledge

            def mortal(**options: Any) -> None:
                before_acknowledging()
                acknowledge(**options)

            client.acknowledge = mortal  # type: ignore[method-assign]
        publisher = Publisher(bus)
        quiet = lambda event, values: None  # noqa: E731
        yield make(bus.project, client, publisher, desk.warehouse, quiet, SUBSCRIPTIONS)
        publisher.close()


class Archiving:
    """An archiver beside every life; it dies at a point of the seed, or at the life's end.

    What it dies of otherwise is written to ``said``.
    """

    def __init__(
        self, settings: Settings, seed: int, account: str, variant: str, said: Path
    ) -> None:
        self._archive = partial(archive, settings, account, variant)
        self._said = said
        self._dice = random.Random(f"archiver/{seed}")
        self._pid = 0
        self.kills: list[str] = []

    def begin(self) -> None:
        """Kill the last one, if it lives, and start the next."""
        self.end()
        dies, most = self._dice.choice((("request", 40), ("acknowledge", 4)))
        number = self._dice.randint(1, most)
        self.kills.append(f"archiver {dies} {number}")
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._archive(dies, number)
            except BaseException:  # noqa: BLE001 - the parent is told
                self._said.write_text(traceback.format_exc()[-3000:])
            finally:
                os._exit(1)

    @property
    def problems(self) -> list[str]:
        """What archivers died of that was not the seed."""
        return [f"an archiver: {self._said.read_text()}"] if self._said.exists() else []

    def end(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def run_seed(settings: Settings, seed: int, account: str, variant: str = "") -> Outcome:
    """Live through a seed and return what does not agree at its end."""
    make_bus(settings, account)
    with memory_folder() as folder:
        world = World(
            seed, rate=0.12, lives=LIVES, seconds=SECONDS, account_id=account,
            kill_points=EMULATED_KILL_POINTS,
        )  # fmt: skip
        outcome = Outcome(seed, kills=world.kills)
        archiving = Archiving(settings, seed, account, variant, folder / "archiver")

        def bot(number: int) -> Callable[[Channel], object]:
            archiving.begin()
            return partial(
                live, settings=settings, folder=folder, seed=seed, account=account, number=number,
                variant=variant,
            )  # fmt: skip

        try:
            live_through(world, folder, outcome, bot)
            archiving.end()
            drain(settings, account)
            audit(world, settings, account, folder, outcome)
            outcome.kills = [*world.kills, *archiving.kills]
            outcome.problems += archiving.problems
        except Exception:  # noqa: BLE001 - whatever the audit trips over is a finding
            outcome.problems.append(traceback.format_exc())
        finally:
            archiving.end()
        return outcome


def drain(settings: Settings, account: str) -> None:
    """Deliver everything again that nobody acknowledged, and store it."""
    with archiver(settings, account) as made, subscriber_client(settings) as client:
        past = datetime.now(UTC) - timedelta(hours=1)
        for name in SUBSCRIPTIONS.values():
            path = client.subscription_path(bus_of(settings, account).project, name)
            client.seek(request={"subscription": path, "time": past})
        made.drain()


def audit(
    world: World, settings: Settings, account: str, folder: Path, outcome: Outcome
) -> None:  # fmt: skip
    """Compare the broker's ledger, the journal's objects and the views."""
    with Desk(settings) as desk:
        journal = ObjectJournal(desk.objects, journal_name(account))
        records = auditor.with_forgotten(journal.records(), folder)
        rows, twice = stored_rows(desk, account)
        outcome.problems += twice
        outcome.problems += auditor.disagreements(world, records, rows, life.OWNERS)
        outcome.figures = auditor.figures(world, records)


def stored_rows(desk: Desk, account: str) -> tuple[auditor.Rows, list[str]]:
    """Return the rows of the views by table and event id, and what tables or views have twice."""
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for table in ("fill", "order_event"):
        asked = {"prefix": f"{account}-"}
        names = (
            f"`{desk.settings.project}.{desk.settings.risk}.{n}`" for n in (f"v_{table}", table)
        )
        view, raw = (
            desk.warehouse.query(f"SELECT * FROM {n} WHERE STARTS_WITH(event_id, @prefix)", asked)
            for n in names
        )
        found[table] = {row["event_id"]: row for row in view}
        if not len(found[table]) == len(view) == len(raw):
            problems.append(
                f"{table}: {len(raw)} rows, {len(view)} in the view, {len(found[table])} events"
            )
    return found, problems


def make_bus(settings: Settings, account: str) -> None:
    """Make the topics and subscriptions of an account's own Pub/Sub."""
    port = urlsplit(f"//{settings.pubsub_endpoint}").port
    assert port is not None
    for method, path, body in topology.requests(bus_of(settings, account).project):
        rest.make(port, method, path, body)


def prepare(settings: Settings) -> None:
    """Make the tables, views and buckets that seeds share."""
    with Desk(settings) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        apply_views(desk.warehouse, FOLDER)
        for bucket in desk.objects.missing_buckets():
            desk.objects.make_bucket(bucket)


if __name__ == "__main__":
    document, asked, name, *rest_of = sys.argv[1:]
    done = run_seed(Settings.model_validate_json(document), int(asked), name, *rest_of)
    print(json.dumps(asdict(done)))
