"""The local Cloud Run as a process: ``python -m mbats.local.cloud_run``; `mbats up` runs it.

Its output is one JSON object a line.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from mbats.errors import MbatsError
from mbats.local.cloud_run.container import GRACE
from mbats.local.cloud_run.server import Config, Doors, start


def _say(line: str) -> None:
    print(json.dumps({"time": datetime.now(UTC).isoformat(), "event": line}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mbats.local.cloud_run")
    parser.add_argument("--folder", type=Path, required=True, help="state, logs, certificates")
    parser.add_argument("--containers", type=Path, required=True, help="a folder an image")
    parser.add_argument("--workdir", type=Path, required=True, help="where containers work")
    parser.add_argument("--http", type=int, default=0, help="port of REST")
    parser.add_argument("--grpc", type=int, default=0, help="port of gRPC")
    parser.add_argument("--proxy", type=int, default=0, help="port of the proxy")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds until SIGKILL")
    return parser.parse_args()


async def _serve(given: argparse.Namespace) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    config = Config(
        folder=given.folder,
        containers=given.containers,
        workdir=given.workdir,
        variables=dict(os.environ),
        doors=Doors(given.http, given.grpc, given.proxy),
        width=os.cpu_count() or 1,
        grace=given.grace,
        say=_say,
    )
    server = await start(config)
    at = server.addresses
    _say(f"serves http {at.http} grpc {at.grpc} proxy {at.proxy}")
    await ending.wait()
    _say("stopping")
    await server.close()
    _say("stopped")


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    try:
        asyncio.run(_serve(_arguments()))
    except MbatsError as error:
        _say(str(error))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
