"""All functions in one process, each through functions-framework, as Eventarc would call them.

One process for each would take four times the memory for the same work. A push of the Pub/Sub
emulator to ``/<function>/projects/P/topics/T`` gets the headers that Eventarc gives it:
functions-framework's own conversion of a bare push refuses a message without data. The emulator's
push has no ordering key, which Google's has (measured): a dead letter kept here lacks it. A push
that tells of an object in Cloud Storage becomes the event that Eventarc makes of the object.
https://cloud.google.com/eventarc/docs/cloudevents#pubsub
https://cloud.google.com/storage/docs/pubsub-notifications
"""

import base64
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from mbats.errors import ConfigError
from mbats.local.ports import HOST

FUNCTIONS = ("control_file", "dead_letter", "notify", "risk_guard")
HEALTH = "/"
PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
FINALIZED = "google.cloud.storage.object.v1.finalized"

_PACKAGED = Path(__file__).parents[1] / "_functions"
_IN_TREE = Path(__file__).parents[2] / "functions"

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


def source(name: str) -> Path:
    """Return the file of a function. Raises :class:`ConfigError` where it is missing."""
    for folder in (_IN_TREE, _PACKAGED):
        file = folder / name / "main.py"
        if file.is_file():
            return file
    raise ConfigError(
        f"The function {name} is not where the library looks.",
        tried=[str(_IN_TREE), str(_PACKAGED)],
        mend="install mbats from its wheel, or run it from a checkout",
    )


def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; a request that is under way is finished."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the functions say what they do
    server = make_server(HOST, port, application(), threaded=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    server.serve_forever()


def application() -> App:
    """Return the WSGI application: a function under its name, and 200 at the root."""
    import functions_framework

    make: Callable[[str, str, str], App] = functions_framework.create_app
    apps = {name: make(name, str(source(name)), "cloudevent") for name in FUNCTIONS}

    def dispatch(environ: Environ, start: Any) -> Iterable[bytes]:
        _, name, path = (str(environ.get("PATH_INFO") or "/") + "/").split("/", 2)
        if name not in apps:
            known = environ.get("PATH_INFO") == HEALTH
            start("200 OK" if known else "404 Not Found", [("Content-Type", "text/plain")])
            return [b"functions\n" if known else b"no such function\n"]
        return apps[name](as_eventarc(environ, path.strip("/")), start)

    return dispatch


def as_eventarc(environ: Environ, path: str) -> Environ:
    """Return the request to a function, a bare push as the event that Eventarc makes of it."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    asked = {**environ, "PATH_INFO": "/", "wsgi.input": BytesIO(body)}
    if "HTTP_CE_ID" in environ:
        return asked
    message = _message(body)
    asked |= {
        "HTTP_CE_ID": str(message.get("messageId", "none")),
        "HTTP_CE_SOURCE": f"//pubsub.googleapis.com/{path}",
        "HTTP_CE_TYPE": PUBLISHED,
        "HTTP_CE_SPECVERSION": "1.0",
        "HTTP_CE_TIME": datetime.now(UTC).isoformat(),
        "CONTENT_TYPE": "application/json",
    }
    attributes = message.get("attributes") or {}
    if attributes.get("eventType") != "OBJECT_FINALIZE":
        return asked
    written = base64.b64decode(message.get("data") or "")
    bucket = f"//storage.googleapis.com/projects/_/buckets/{attributes.get('bucketId')}"
    return asked | {
        "HTTP_CE_SOURCE": bucket,
        "HTTP_CE_SUBJECT": f"objects/{attributes.get('objectId')}",
        "HTTP_CE_TYPE": FINALIZED,
        "CONTENT_LENGTH": str(len(written)),
        "wsgi.input": BytesIO(written),
    }


def _message(body: bytes) -> Mapping[str, Any]:
    """Return the message of a push; an empty one where the body is none."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return {}
    return message if isinstance(message, dict) else {}
