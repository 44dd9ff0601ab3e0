"""The functions put together: settings from the environment, stores opened once a process."""

import json
import sys
import threading
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from mbats.config import Settings, load
from mbats.desk.events import control_file as control_files
from mbats.desk.events import dead_letter as dead_letters
from mbats.desk.events.delivery import CloudEvent, Delivery, Say, bury, handle, read
from mbats.desk.events.notify import RECORD, Notifier
from mbats.desk.events.risk_guard import ACTOR, Guard
from mbats.desk.stores import Desk
from mbats.desk.switch import kill_switch, state_switch
from mbats.errors import DataError
from mbats.gcp.control import ControlObject
from mbats.gcp.dag_folder import DagFolder
from mbats.gcp.publisher import EventPublisher, Publisher
from mbats.gcp.records import Record
from mbats.gcp.run_jobs import run_job
from mbats.live.events import Event
from mbats.live.killswitch import Report
from mbats.vendors.webhooks import Webhook, parse_webhooks

FLATTEN_WITHIN = timedelta(seconds=20)
TELL_SECONDS = 10.0

_lock = threading.Lock()
_desk: Desk | None = None


def say(event: str, severity: str = "INFO", **values: object) -> None:
    """Write one JSON line, as Cloud Logging reads it."""
    line = {"event": event, "severity": severity, "time": datetime.now(UTC).isoformat(), **values}
    sys.stdout.write(json.dumps(line, default=str) + "\n")
    sys.stdout.flush()


def control_file(event: CloudEvent) -> None:
    """An object was written to the bucket ``control``; locally the strategies are known, too."""
    desk = opened()
    try:
        control_files.take(stores(desk, _strategies(desk.settings)), event)
    except DataError as error:
        bury(desk, whole(event), "control-file", error.cause, say)


def dead_letter(event: CloudEvent) -> None:
    """A message came to a dead-letter topic. What is malformed is kept as it came."""
    dead_letters.keep(opened(), read(event, _now()), say)


def notify(event: CloudEvent) -> None:
    """A message came to ``risk-events``, or an alert was published."""
    desk = opened()
    record = Record(desk.objects, "state", RECORD)
    notifier = Notifier(record, _webhooks(desk.settings), _now, say)
    handle(desk, read(event, _now()), "notify", notifier.take, say)


def risk_guard(event: CloudEvent, halt_job: str = "") -> None:
    """A message came to ``order-events`` or ``risk-events``.

    ``halt_job`` is the Cloud Run job that flattens; without it this process does.
    """
    desk = opened()
    handle(desk, read(event, _now()), "risk-guard", guard(desk, halt_job).take, say)


def guard(desk: Desk, halt_job: str = "") -> Guard:
    """Return the guard of every account of the desk."""

    def halt(account: str, why: str) -> Report:
        return state_switch(desk, account, ACTOR).halt(why, flat=True)

    def flatten(account: str, why: str) -> str:
        if halt_job:
            args = ("flatten", "--account", account, "--why", why, "--yes")
            return f"execution {run_job(halt_job, args)} closes it"
        report = kill_switch(desk, account, ACTOR).flatten(why, FLATTEN_WITHIN)
        return "; ".join(report.done) or "nothing was open"

    return Guard(
        desk.objects,
        lambda account: ControlObject(desk.objects, account),
        halt,
        flatten,
        lambda event: publish(desk.settings, event),
        desk.settings.guard_limits,
        _now,
        say,
    )


def stores(
    desk: Desk, strategies: Collection[str] | None = None, say: Say = say
) -> control_files.Stores:
    """Return what control files are put into. ``strategies`` are the names there are, if known."""
    return control_files.Stores(
        desk.objects,
        desk.warehouse,
        desk.security_master,
        DagFolder(desk.settings),
        lambda event: publish(desk.settings, event),
        say,
        strategies=strategies,
    )


def publish(settings: Settings, event: Event) -> None:
    """Publish an event; return when it is stored. Raises :class:`NotReadyError`."""
    publisher = Publisher(settings, patience_s=TELL_SECONDS)
    EventPublisher(publisher)(event)
    publisher.close()


def whole(event: CloudEvent) -> Delivery:
    """Return an event that carries no message, to be kept as a dead letter."""
    data = json.dumps(event.data, default=str).encode()
    return Delivery("control-files", f"event-{event['id']}", _now(), data)


def opened() -> Desk:
    """Return this process's desk."""
    global _desk
    with _lock:
        if _desk is None:
            _desk = Desk(load().settings)
    return _desk


def _strategies(settings: Settings) -> Collection[str] | None:
    if settings.profile != "local":
        return None
    from mbats.strategy.loading import known_strategies  # backtrader, which no function waits for

    return known_strategies()


def _webhooks(settings: Settings) -> Sequence[Webhook]:
    secret = settings.notify_webhook
    return parse_webhooks(secret.get_secret_value()) if secret else ()


def _now() -> datetime:
    return datetime.now(UTC)
