"""A control file changed: validate and load it, or set it aside with a report."""

import functions_framework
from cloudevents.http import CloudEvent

from mbats.desk.events import wiring


@functions_framework.cloud_event
def control_file(event: CloudEvent) -> None:
    """Take the event that an object of the bucket `control` was written."""
    wiring.control_file(event)
