"""Tell people: Slack, Telegram, email by webhook."""

import functions_framework
from cloudevents.http import CloudEvent

from mbats.desk.events import wiring


@functions_framework.cloud_event
def notify(event: CloudEvent) -> None:
    """Take a message of `risk-events`, or an alert of Cloud Monitoring."""
    wiring.notify(event)
