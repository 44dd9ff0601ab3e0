"""The risk guard: portfolio limits from events; it pulls the kill switch."""

import os

import functions_framework
from cloudevents.http import CloudEvent

from mbats.desk.events import wiring


@functions_framework.cloud_event
def risk_guard(event: CloudEvent) -> None:
    """Take a message of `order-events` or `risk-events`."""
    wiring.risk_guard(event, halt_job=os.environ.get("HALT_JOB", ""))
