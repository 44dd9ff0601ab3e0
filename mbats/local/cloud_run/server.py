"""The server: gRPC, REST, the TLS front and the proxy, in one event loop over one store."""

import asyncio
import fcntl
import random
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import uvicorn

from mbats.errors import NotReadyError, RefusedError
from mbats.local.cloud_run import certificates, environ, rest, rpc
from mbats.local.cloud_run.api import Api
from mbats.local.cloud_run.clients import Addresses
from mbats.local.cloud_run.clock import Clock, WallClock
from mbats.local.cloud_run.container import GRACE
from mbats.local.cloud_run.log_pages import LogPages
from mbats.local.cloud_run.proxy import Front, Proxy, Say
from mbats.local.cloud_run.runner import Machine, Runner
from mbats.local.cloud_run.store import Store
from mbats.local.environments import silent
from mbats.local.ports import HOST


@dataclass(frozen=True)
class Doors:
    """Ports of the loopback interface; 0 is any free one."""

    http: int = 0
    grpc: int = 0
    proxy: int = 0


@dataclass(frozen=True)
class Config:
    """What a server is made of.

    ``folder`` keeps its state, logs and certificates; ``containers`` holds a folder an image;
    ``workdir`` is where containers work; ``variables`` are the server's own, of which containers
    get a part. ``width`` is how many tasks run at once where a job leaves that open.
    """

    folder: Path
    containers: Path
    workdir: Path
    variables: Mapping[str, str]
    doors: Doors = Doors()
    width: int = 2
    grace: float = GRACE
    clock: Clock = field(default_factory=WallClock)
    chance: random.Random = field(default_factory=random.SystemRandom)
    say: Say = silent


class _Quiet(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        """Capture none."""
        return nullcontext()


class Server:
    """A running local Cloud Run; made by :func:`start`, ended by :meth:`close`."""

    def __init__(self, api: Api, runner: Runner, proxy: Proxy, addresses: Addresses) -> None:
        self.api = api
        self.runner = runner
        self.proxy = proxy
        self.addresses = addresses
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        """End every execution, which counts as failed, and all else."""
        await self.runner.close()
        await self._stack.aclose()


async def start(config: Config) -> Server:
    """Start a server; first it ends and fails what an earlier one, killed, left running.

    Raises :class:`RefusedError` if another server has the folder, :class:`NotReadyError` if a
    port is taken.
    """
    folder = config.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.callback(_lock(folder / "lock").close)
        store = Store(folder)
        stack.callback(store.close)
        listening = _listen(config.doors.http)
        stack.callback(listening.close)
        machine = _machine(config, folder, _port(listening))
        runner = Runner(store, machine, config.clock)
        for name in runner.recover():
            config.say(f"failed {name}: an earlier server stopped while it ran")
        api = Api(store, runner, machine, config.clock, config.chance)
        try:
            await _serve_rest(api, machine, listening, stack)
            server = await _open(config, folder, api, runner, _port(listening), stack)
        except (OSError, RuntimeError) as error:
            raise _taken(error) from error
        server._stack = stack.pop_all()
        return server


async def _open(
    config: Config,
    folder: Path,
    api: Api,
    runner: Runner,
    rest_port: int,
    stack: AsyncExitStack,
) -> Server:
    grpc_server, grpc_port = await rpc.serve(api, HOST, config.doors.grpc)
    stack.push_async_callback(grpc_server.stop, 0.2)
    made = certificates.ensure(folder / "tls", config.clock.now())
    front = await Front(made, grpc_port, rest_port).serve(HOST, 0)
    stack.callback(front.close)
    proxy = Proxy(_port(front.sockets[0]), config.say)
    listening = await proxy.serve(HOST, config.doors.proxy)
    stack.callback(listening.close)
    addresses = Addresses(
        http=f"{HOST}:{rest_port}",
        grpc=f"{HOST}:{grpc_port}",
        proxy=f"{HOST}:{_port(listening.sockets[0])}",
        authority=made.authority,
    )
    return Server(api, runner, proxy, addresses)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise _taken(error) from error


def _taken(error: Exception) -> NotReadyError:
    return NotReadyError(f"The local Cloud Run cannot listen: {error}.", mend="mbats doctor")


async def _serve_rest(
    api: Api, machine: Machine, listening: socket.socket, stack: AsyncExitStack
) -> None:
    application = rest.application(api, LogPages(machine.logs))
    settings = uvicorn.Config(
        application, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Quiet(settings)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))

    async def stop() -> None:
        server.should_exit = True
        await serving

    stack.push_async_callback(stop)


def _machine(config: Config, folder: Path, port: int) -> Machine:
    secrets = {name: config.variables[name] for name in environ.SECRETS if name in config.variables}
    return Machine(
        containers=config.containers.resolve(),
        workdir=config.workdir.resolve(),
        logs=folder / "logs",
        logs_url=f"http://{HOST}:{port}/logs",
        base=environ.base(config.variables),
        secrets=secrets,
        tag=str(folder),
        width=config.width,
        grace=config.grace,
    )


def _lock(file: Path) -> IO[str]:
    holder = file.open("a")
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder.close()
        raise RefusedError(
            f"Another local Cloud Run works in {file.parent}.", mend="mbats status"
        ) from None
    return holder


def _port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])
