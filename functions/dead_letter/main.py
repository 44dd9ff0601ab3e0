"""The keeper of dead letters: store what could not be used, for `mbats replay`."""

import functions_framework
from cloudevents.http import CloudEvent

from mbats.desk.events import wiring


@functions_framework.cloud_event
def dead_letter(event: CloudEvent) -> None:
    """Take a message of a dead-letter topic."""
    wiring.dead_letter(event)
