"""The functions as a service of the local stack, and the subscriptions that push to them."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from mbats import __version__
from mbats.gcp.messages import ORDER_EVENTS, RISK_EVENTS
from mbats.local import rest
from mbats.local.functions_host import HEALTH
from mbats.local.service import Launch, Service, Site
from mbats.local.topology import OBJECTS, TOPICS, Request

NAME = "functions"
ATTEMPTS = 100  # the most there is; the emulator makes one a second
ACK_SECONDS = 60

PUSHED = (("risk_guard", ORDER_EVENTS), ("risk_guard", RISK_EVENTS), ("notify", RISK_EVENTS))
"""Which function hears of which topic; the keeper of dead letters of every dead-letter topic, and
the one of control files of what is written to their bucket."""

_COMMAND = "from mbats.cli.main import main; main()"


def _launch(site: Site) -> Launch:
    settings = site.settings
    environment = {**site.desk_environment(), "MBATS_GUARD_LIMITS": settings.guard_limits}
    secret = settings.notify_webhook
    told = hashlib.sha256(secret.get_secret_value().encode()).hexdigest() if secret else ""
    version = f"{__version__} {Path(__file__).parent} {told}"  # another secret: started anew
    port = str(site.ports[NAME]["http"])
    return Launch((sys.executable, "-c", _COMMAND, NAME, "--port", port), environment, version)


def subscriptions(project: str, address: str) -> Iterator[Request]:
    """Yield (method, path, body) of the REST calls that make the push subscriptions."""
    root = f"projects/{project}"
    yield "PUT", f"/v1/{root}/topics/{OBJECTS}", {}
    pushed = [(function, topic, f"{topic}-dead-letter") for function, topic in PUSHED]
    pushed += [("control_file", OBJECTS, "")]
    pushed += [("dead_letter", topic.dead_letter, "") for topic in TOPICS]
    for function, topic, dead in pushed:
        endpoint = f"http://{address}/{function}/{root}/topics/{topic}"
        body = {
            "topic": f"{root}/topics/{topic}",
            "pushConfig": {"pushEndpoint": endpoint},
            "ackDeadlineSeconds": ACK_SECONDS,
            "messageRetentionDuration": "604800s",
            "expirationPolicy": {},
        }
        if dead:  # a dead letter itself is delivered until it is kept
            body["deadLetterPolicy"] = {
                "deadLetterTopic": f"{root}/topics/{dead}",
                "maxDeliveryAttempts": ATTEMPTS,
            }
        yield "PUT", f"/v1/{root}/subscriptions/{function.replace('_', '-')}-{topic}", body


def _prepare(site: Site) -> None:
    port = site.ports["pubsub"]["http"]
    for method, path, body in subscriptions(site.settings.project, site.address(NAME)):
        made = rest.make(port, method, path, body)
        if not made and "pushConfig" in body:  # it is there: the port may be another now
            rest.make(port, "POST", f"{path}:modifyPushConfig", {"pushConfig": body["pushConfig"]})


FUNCTIONS_SERVICE = Service(
    name=NAME,
    title="Functions",
    ports={"http": 8090},
    launch=_launch,
    health=HEALTH,
    prepare=_prepare,
)
"""They wait for nothing at their start: each opens what it needs when an event comes."""
