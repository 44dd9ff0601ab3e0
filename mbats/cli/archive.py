"""`mbats archive`: ticks and events from the bus into BigQuery."""

import signal
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, log_line
from mbats.errors import ConfigError, NotReadyError

RETRY_SECONDS = 1.0


app = typer.Typer()


@app.command(epilog="Example: mbats archive --until-empty")
def archive(
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="store what waits, then end")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Store ticks, order events and risk events in BigQuery until SIGTERM or Ctrl-C.

    Part of the local stack: `mbats up` runs it. Its output is one JSON object a line, always.
    """
    settings = context.settings()
    if settings.profile != "local":
        raise ConfigError(
            "In the cloud Pub/Sub itself writes to BigQuery.",
            mend="look at the subscriptions ending in -to-bigquery, or use profile `local`",
        )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.is_set():
        try:
            _archive(stopping, until_empty)
            return
        except NotReadyError as error:
            if until_empty:
                raise
            _say("waiting", {"cause": error.cause, "mend": error.mend})
            stopping.wait(RETRY_SECONDS)


def _archive(stopping: threading.Event, until_empty: bool) -> None:
    from mbats.desk import Desk
    from mbats.gcp.connection import subscriber_client
    from mbats.gcp.publisher import Publisher
    from mbats.local.archiver import Archiver

    settings = context.settings()
    with Desk(settings) as desk, subscriber_client(settings) as client:
        publisher = Publisher(settings)
        archiver = Archiver(settings.project, client, publisher, desk.warehouse, _say)
        _say("started", {})
        if until_empty:
            archiver.drain()
        else:
            archiver.run(stopping)
        publisher.close()
        _say("stopped", {})


def _say(event: str, values: Mapping[str, Any]) -> None:
    log_line(event, **values)
