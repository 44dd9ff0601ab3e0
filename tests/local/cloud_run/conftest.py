"""A local Cloud Run with a clock in the test's hand, and Google's clients over both transports."""

import asyncio
import heapq
import json
import os
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from google.cloud.run_v2.services.executions import transports as executions_transports
from google.cloud.run_v2.services.jobs import transports as jobs_transports
from google.cloud.run_v2.services.tasks import transports as tasks_transports
from google.longrunning import operations_pb2

from mbats.local.cloud_run.running import serving
from mbats.local.cloud_run.server import Config

WORKER = Path(__file__).parent / "worker.py"
PARENT = "projects/mbats-test/locations/europe-west1"
START = datetime(2026, 11, 23, 12, tzinfo=UTC)


class HandClock:
    """Stands still until the test lets time pass."""

    def __init__(self):
        self._now = START
        self._sleepers = []
        self._changed = asyncio.Condition()
        self._count = 0

    def now(self):
        return self._now

    async def sleep(self, seconds):
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        entry = (self._now + timedelta(seconds=seconds), self._count, future)
        heapq.heappush(self._sleepers, entry)
        async with self._changed:
            self._changed.notify_all()
        await future

    async def let_pass(self, seconds):
        """Wait until somebody sleeps until then or earlier; then let the time pass."""
        until = self._now + timedelta(seconds=seconds)
        async with self._changed:
            await self._changed.wait_for(lambda: any(s[0] <= until for s in self._living()))
        self._now = until
        for _, _, future in [s for s in self._living() if s[0] <= until]:
            future.set_result(None)

    def _living(self):
        self._sleepers = [s for s in self._sleepers if not s[2].done()]
        return self._sleepers


@dataclass
class Clients:
    """Google's clients of one server over one transport."""

    jobs: run_v2.JobsClient
    executions: run_v2.ExecutionsClient
    tasks: run_v2.TasksClient

    def create(self, job_id, *args, task_count=1, parallelism=0, retries=0, timeout=600, **job):
        """Create a job whose container gets ``args``."""
        container = run_v2.Container(image="host/project/desk:1", args=list(args))
        template = run_v2.ExecutionTemplate(
            task_count=task_count,
            parallelism=parallelism,
            template=run_v2.TaskTemplate(
                containers=[container], max_retries=retries, timeout=timedelta(seconds=timeout)
            ),
        )
        made = run_v2.Job(template=template, **job)
        return self.jobs.create_job(parent=PARENT, job=made, job_id=job_id).result()

    def run(self, job_id, **overrides):
        """Start an execution; return its operation's name and its own."""
        request = run_v2.RunJobRequest(name=f"{PARENT}/jobs/{job_id}", overrides=overrides)
        operation = self.jobs.run_job(request=request)
        return operation.operation.name, operation.metadata.name

    def wait(self, operation):
        """Wait, in the server, until an operation is done; return it."""
        request = operations_pb2.WaitOperationRequest(name=operation)
        done = self.jobs.wait_operation(request)
        if isinstance(done, bytes):  # Google's gRPC client forgets to read this one answer
            done = operations_pb2.Operation.FromString(done)
        assert done.done
        return done

    def finish(self, job_id, **overrides):
        """Run a job to its end; return the execution."""
        operation, execution = self.run(job_id, **overrides)
        self.wait(operation)
        return self.executions.get_execution(name=execution)


def clients_of(addresses, transport):
    """Return Google's clients, over an insecure channel or plain HTTP."""
    modules = (jobs_transports, executions_transports, tasks_transports)
    names = ("Jobs", "Executions", "Tasks")
    if transport == "grpc":
        channel = grpc.insecure_channel(addresses.grpc)
        made = [
            getattr(module, f"{name}GrpcTransport")(channel=channel)
            for module, name in zip(modules, names, strict=True)
        ]
    else:
        made = [
            getattr(module, f"{name}RestTransport")(
                host=addresses.http, url_scheme="http", credentials=AnonymousCredentials()
            )
            for module, name in zip(modules, names, strict=True)
        ]
    jobs, executions, tasks = made
    return Clients(
        run_v2.JobsClient(transport=jobs),
        run_v2.ExecutionsClient(transport=executions),
        run_v2.TasksClient(transport=tasks),
    )


@pytest.fixture(scope="session")
def containers(tmp_path_factory):
    """A containers folder with the images `desk` (the worker) and `shell` (no exec form)."""
    folder = tmp_path_factory.mktemp("containers")
    for image in ("desk", "shell"):
        (folder / image).mkdir()
    entry = json.dumps(["python", str(WORKER)])
    (folder / "desk" / "Dockerfile").write_text(
        f'FROM scratch\nENTRYPOINT {entry}\nCMD ["say=cmd"]\n'
    )
    (folder / "shell" / "Dockerfile").write_text("FROM scratch\nENTRYPOINT python worker.py\n")
    return folder


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def config(tmp_path, containers, clock):
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MBATS_PROJECT": "mbats-test",
        "MBATS_OANDA_TOKEN": "a-token",
        "SOMETHING_ELSE": "x",
    }
    return Config(
        folder=tmp_path / "state",
        containers=containers,
        workdir=tmp_path,
        variables=variables,
        width=2,
        clock=clock,
        chance=random.Random(7),
    )


@pytest.fixture
def cloud_run(config):
    with serving(config) as running:
        yield running


@pytest.fixture(params=["grpc", "rest"])
def clients(request, cloud_run):
    return clients_of(cloud_run.addresses, request.param)


@pytest.fixture
def let_pass(cloud_run, clock):
    """Let time pass in the server, once somebody waits for it."""

    def act(seconds):
        cloud_run.call(lambda server: clock.let_pass(seconds))

    return act


@pytest.fixture
def pipe(tmp_path):
    """A named pipe: ``ready=PIPE`` in a worker, ``read_pid(PIPE)`` in the test."""
    path = tmp_path / "ready"
    os.mkfifo(path)
    return path


def read_pid(pipe):
    """Wait until a worker is ready; return its process id."""
    return int(pipe.read_text())


def log_of(config, execution, index=0, attempt=0):
    """Return what a task wrote."""
    name = execution.name.rsplit("/", 1)[1]
    return (config.folder / "logs" / name / f"task-{index}-attempt-{attempt}.log").read_text()
