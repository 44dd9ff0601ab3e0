"""People are told through a real push: once each, whatever fails, and nothing is lost."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from mbats.desk.events.delivery import Delivery
from mbats.desk.events.notify import RECORD, Notifier
from mbats.errors import DataError, NotReadyError
from mbats.gcp.messages import encode_event
from mbats.gcp.records import Record
from mbats.live.events import denial
from mbats.live.outbox import RATE, WINDOW
from tests.functions.rig import eventually, publish

pytestmark = pytest.mark.emulators

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = "101-001-1234567-001"


def risk_event(number=1, severity="critical"):
    values = {"account": ACCOUNT, "severity": severity, "strategy": "sma_reversal"}
    event = denial(f"run-{number}", "DRAWDOWN", "12% below the peak", NOON, values)
    return encode_event("risk_event", event.row)


def letters(desk):
    return [
        json.loads(desk.objects.read("data", found.name)[0])
        for found in desk.objects.list("data", "dead-letters/")
    ]


def told(project, people):
    return project.model_copy(update={"notify_webhook": SecretStr(f"slack {people.url}")})


def test_a_risk_event_reaches_people_once_though_it_is_published_twice(project, start, people):
    notify = start("notify", told(project, people)).hears("risk-events")

    for _ in range(2):
        publish(project, "risk-events", risk_event(), table="risk_event")
    publish(project, "risk-events", b'{"source":"x"}', table="heartbeat")
    publish(project, "risk-events", risk_event(2), table="risk_event")

    eventually(lambda: len(people.took) == 2 and len(notify.said("notice")) == 3)
    first, second = people.took
    assert first == second
    for part in ("CRITICAL DRAWDOWN", ACCOUNT, "sma_reversal", "what to do"):
        assert part in first


def test_what_is_malformed_is_kept_as_a_dead_letter_and_not_delivered_for_ever(
    project, desk, start, people
):
    notify = start("notify", told(project, people)).hears("risk-events")

    publish(project, "risk-events", b"\xff no json", table="risk_event")
    publish(project, "risk-events", b'{"event_id": "x"}')
    publish(project, "risk-events", risk_event(), table="risk_event")

    eventually(lambda: len(people.took) == 1 and len(letters(desk)) == 2)
    assert {letter["topic"] for letter in letters(desk)} == {"risk-events"}
    assert all(letter["reason"] for letter in letters(desk))
    assert {letter["text"] for letter in letters(desk)} == {None, '{"event_id": "x"}'}
    assert len(notify.said("dead_letter")) == 2


def test_a_webhook_that_is_down_loses_nothing(project, start, people):
    people.status = 503
    notify = start("notify", told(project, people)).hears("risk-events")
    publish(project, "risk-events", risk_event(1), table="risk_event")
    eventually(lambda: people.asked >= 2)
    publish(project, "risk-events", risk_event(2), table="risk_event")
    eventually(lambda: len({line["key"] for line in notify.said("notice")}) == 2)

    people.status = 200

    eventually(lambda: len(people.took) == 2)


def test_a_notifier_killed_between_telling_and_answering_tells_once(project, start, people):
    notify = start("notify", told(project, people), dying=True).hears("risk-events")

    publish(project, "risk-events", risk_event(), table="risk_event")

    eventually(lambda: len(notify.said("notice")) >= 2)
    publish(project, "risk-events", risk_event(2), table="risk_event")
    eventually(lambda: len(people.took) >= 2)
    assert len(people.took) == 2


_numbers = itertools.count()


class Slack:
    name = "slack-1"

    def __init__(self):
        self.took = []

    def post(self, text):
        self.took.append(text)


class Clock:
    def __init__(self):
        self.time = NOON

    def __call__(self):
        return self.time


def delivery(data, **attributes):
    return Delivery("risk-events", str(next(_numbers)), NOON, data, attributes=attributes)


@pytest.fixture
def notifier(desk):
    slack, clock = Slack(), Clock()
    made = Notifier(Record(desk.objects, "state", RECORD), [slack], clock, lambda *_, **__: None)
    made.slack, made.clock = slack, clock
    return made


def test_above_the_rate_the_first_that_waits_comes_back_and_brings_the_digest(notifier):
    for number in range(RATE):
        notifier.take(delivery(risk_event(number, "error"), table="risk_event"))
    waits, another = (delivery(risk_event(n, "error"), table="risk_event") for n in (90, 91))

    with pytest.raises(NotReadyError):
        notifier.take(waits)
    notifier.take(another)
    assert len(notifier.slack.took) == RATE

    notifier.clock.time += WINDOW
    notifier.take(waits)
    notifier.take(another)
    assert len(notifier.slack.took) == RATE + 1
    assert notifier.slack.took[-1].startswith("2 notices")


def test_a_heartbeat_brings_what_waits_once_the_window_is_over(notifier):
    for number in range(RATE):
        notifier.take(delivery(risk_event(number, "error"), table="risk_event"))
    with pytest.raises(NotReadyError):
        notifier.take(delivery(risk_event(90, "error"), table="risk_event"))

    notifier.clock.time += timedelta(minutes=2)
    notifier.take(delivery(b"{}", table="heartbeat"))

    assert len(notifier.slack.took) == RATE + 1


def test_events_below_a_warning_are_nobodys_business(notifier):
    notifier.take(delivery(risk_event(1, "info"), table="risk_event"))

    assert notifier.slack.took == []


def test_an_alert_of_cloud_monitoring_is_told(notifier):
    incident = {"incident_id": "0.x", "state": "open", "policy_name": "MBATS job failed"}

    notifier.take(delivery(json.dumps({"incident": incident, "version": "1.2"}).encode()))

    assert "MBATS job failed" in notifier.slack.took[0]


def test_a_list_is_no_notice(notifier):
    with pytest.raises(DataError):
        notifier.take(delivery(b"[1]"))
