"""`mbats stream`: the broker's prices onto the bus, until told to stop."""

import os
import signal
import socket
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, log_line

WAIT_SECONDS = 60.0


app = typer.Typer()


@app.command(epilog="Example: mbats stream --instruments EUR_USD,USD_JPY")
def stream(
    instruments: Annotated[
        str, typer.Option(help="instruments, with commas; default: the seven of the desk")
    ] = "",
    wait: Annotated[
        float, typer.Option(help="seconds to wait for another streamer to end")
    ] = WAIT_SECONDS,
    as_json: JsonFlag = False,
) -> None:
    """Publish OANDA's prices to the topic `ticks` until SIGTERM or Ctrl-C; one streamer at a time.

    Every line of its output is one JSON object, always: heartbeats, connections, gaps.
    """
    from mbats.gcp.lease import ObjectLease
    from mbats.gcp.objects import Objects
    from mbats.gcp.publisher import EventPublisher, Publisher, TickPublisher
    from mbats.live.inbox import Inbox, Stop
    from mbats.live.streamer import SOURCE, Outlets, Streamer
    from mbats.live.wall_clock import WallClock
    from mbats.market.catalogue import SEED_SEVEN
    from mbats.vendors.oanda import INFO, OandaVendor
    from mbats.vendors.oanda_streams import PriceStream

    settings = context.settings()
    # Prices are the same for every account of a token, so any will do.
    settings = settings.model_copy(update={"oanda_account": OandaVendor(settings).account})
    names = [name.strip() for name in instruments.split(",") if name.strip()] or list(SEED_SEVEN)
    inbox = Inbox()
    prices = PriceStream(settings, names, inbox.put)
    publisher = Publisher(settings)
    lease = ObjectLease(Objects.open(settings), SOURCE)

    def stop(number: int, frame: object) -> None:
        inbox.put(Stop(signal.Signals(number).name))

    def say(event: str, values: Mapping[str, Any]) -> None:
        log_line(event, fencing=lease.fencing, **values)

    lease.acquire(wait_s=wait)
    try:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        outlets = Outlets(TickPublisher(publisher, INFO.vendor), EventPublisher(publisher), say)
        instance = f"{socket.gethostname()}:{os.getpid()}"
        streamer = Streamer(names, inbox.take, outlets, lease, WallClock(), instance)
        say("started", {"instruments": names})
        prices.start()
        streamer.run()
        say("stopped", dict(streamer.counts))
    finally:
        prices.stop()
        lease.release()
