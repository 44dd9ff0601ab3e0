"""Runs executions: every task as a process, with retries, parallelism and a time limit.

All of it lives in one event loop, so nothing here needs a lock. Each step is on disk before the
next is taken.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from google.cloud.run_v2 import types as run

from mbats.errors import DataError
from mbats.local.cloud_run import conditions, environ, images
from mbats.local.cloud_run.clock import Clock
from mbats.local.cloud_run.container import GRACE, NOT_STARTED, Container, Exit, end_left_behind
from mbats.local.cloud_run.names import last, parent
from mbats.local.cloud_run.store import Store

_Reason = run.Condition.ExecutionReason
Halt = Literal["cancelled", "stopped", "broken"]


@dataclass(frozen=True)
class Machine:
    """Where containers run: the images, the folder they work in, their variables and logs.

    ``logs_url`` is where people read what ``logs`` holds.

    ``base`` is what every container gets, ``secrets`` what a job may ask for by name. ``width``
    is how many tasks run at once where the job leaves that open; ``grace`` how many seconds a
    task has from SIGTERM to SIGKILL.
    """

    containers: Path
    workdir: Path
    logs: Path
    base: Mapping[str, str]
    secrets: Mapping[str, str]
    logs_url: str
    tag: str
    width: int
    grace: float = GRACE

    def log_folder(self, execution: str) -> Path:
        """Return the folder of an execution's logs, one file an attempt of a task."""
        return self.logs / last(execution)

    def log_uri(self, execution: str) -> str:
        """Return the address of an execution's logs."""
        return f"{self.logs_url}/{last(execution)}"

    def log(self, execution: str, index: int, attempt: int) -> Path:
        """Return the log of an attempt (0 is the first) of a task."""
        return self.log_folder(execution) / f"task-{index}-attempt-{attempt}.log"


@dataclass
class _Active:
    """An execution that runs. ``halt`` is set when it is to end before its time."""

    halted: asyncio.Event = field(default_factory=asyncio.Event)
    why: Halt | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    failures: dict[int, str] = field(default_factory=dict)
    work: asyncio.Task[None] | None = None


class Runner:
    """Runs the executions of a store on this machine."""

    def __init__(self, store: Store, machine: Machine, clock: Clock) -> None:
        self._store = store
        self._machine = machine
        self._clock = clock
        self._active: dict[str, _Active] = {}

    def recover(self) -> list[str]:
        """End what a killed server left running and call its executions failed; return them.

        To be called once, before anything is started.
        """
        remembered = self._store.processes()
        end_left_behind(self._machine.tag, remembered, self._machine.grace)
        for process in remembered:
            self._store.forget_process(*process)
        found = self._store.unfinished()
        for execution in found:
            self._finish(execution, _Active(why="stopped"))
        return [execution.name for execution in found]

    def start(self, execution: run.Execution) -> None:
        """Start an execution that is in the store with its tasks."""
        active = self._active[execution.name] = _Active()
        active.work = asyncio.ensure_future(self._run(execution.name, active))

    async def finished(self, name: str, seconds: float | None = None) -> None:
        """Return when an execution is over, or after so many seconds."""
        active = self._active.get(name)
        if active is None:
            return
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(active.finished.wait())}
        if seconds is not None:
            waiting.add(asyncio.ensure_future(self._clock.sleep(seconds)))
        _, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in left:
            each.cancel()

    async def halt(self, name: str, why: Halt = "cancelled") -> None:
        """End an execution before its time; return when none of its processes is left."""
        active = self._active.get(name)
        if active is None:
            return
        self.ask_to_halt(name, why)
        await active.finished.wait()

    def ask_to_halt(self, name: str, why: Halt = "cancelled") -> None:
        """Begin to end an execution before its time."""
        active = self._active.get(name)
        if active and not active.halted.is_set():
            active.why = why
            active.halted.set()

    async def close(self) -> None:
        """End every execution; they count as failed, for the server stopped."""
        await asyncio.gather(*(self.halt(name, "stopped") for name in list(self._active)))

    async def _run(self, name: str, active: _Active) -> None:
        try:
            execution = self._store.execution(name)
            conditions.start(execution, self._clock.now())
            self._store.put(execution)
            indices = iter(range(execution.task_count))
            width = execution.parallelism or self._machine.width
            workers = min(width, execution.task_count)
            work = [self._work(name, active, indices) for _ in range(workers)]
            for result in await asyncio.gather(*work, return_exceptions=True):
                if result is not None:
                    raise result
        finally:
            self._finish(self._store.execution(name), active)
            del self._active[name]
            active.finished.set()

    async def _work(self, name: str, active: _Active, indices: Iterator[int]) -> None:
        try:
            for index in indices:
                if active.halted.is_set():
                    return
                await self._run_task(name, active, index)
        except BaseException:
            self.ask_to_halt(name, "broken")  # a fault of ours: the other workers end as well
            raise

    async def _run_task(self, name: str, active: _Active, index: int) -> None:
        task = self._store.task(f"{name}/tasks/{last(name)}-task{index}")
        task.start_time = task.update_time = self._clock.now()
        self._count(task, running_count=1)
        for attempt in range(task.max_retries + 1):
            ended, failure = await self._attempt(name, active, task, attempt)
            if active.halted.is_set():
                return  # _finish says how a task ends that was not let to
            task.update_time = self._clock.now()
            task.last_attempt_result = _result(ended, failure)
            if not failure:
                conditions.complete_task(task, self._clock.now())
                self._count(task, running_count=-1, succeeded_count=1)
                return
            if attempt < task.max_retries:
                task.retried = attempt + 1
                self._count(task, retried_count=1)
        active.failures[index] = f"Task {last(task.name)} failed {failure}"
        conditions.complete_task(task, self._clock.now(), active.failures[index])
        self._count(task, running_count=-1, failed_count=1)

    async def _attempt(
        self, name: str, active: _Active, task: run.Task, attempt: int
    ) -> tuple[Exit, str]:
        """Run a task once; return how it ended and what was wrong with that, if anything was."""
        log = self._machine.log(name, task.index, attempt)
        try:
            container = await self._start(name, task, attempt, log)
        except (OSError, ValueError, DataError) as error:
            with log.open("a") as file:
                file.write(f"The container cannot be started: {error}\n")
            return Exit(NOT_STARTED), f"with exit code: {NOT_STARTED}"
        try:
            self._store.note_process(container.pid, container.started, name)
            ended, in_time = await self._until_ended(container, active, task)
        except BaseException:
            await container.kill()  # nothing runs unseen
            raise
        finally:
            self._store.forget_process(container.pid, container.started)
        if not in_time:
            return ended, f"with message: {conditions.TIMED_OUT}"
        return ended, f"with exit code: {ended.code}" if ended.code else ""

    async def _start(self, name: str, task: run.Task, attempt: int, log: Path) -> Container:
        execution, machine = self._store.execution(name), self._machine
        command = images.command(machine.containers, task.containers[0])
        variables = environ.of_task(
            machine.base, machine.secrets, execution, task, attempt, machine.tag
        )
        return await Container.start(command, variables, machine.workdir, log)

    async def _until_ended(
        self, container: Container, active: _Active, task: run.Task
    ) -> tuple[Exit, bool]:
        """Wait for a process; end it when its time is up or its execution is halted."""
        ended = asyncio.ensure_future(container.ended())
        limit = asyncio.ensure_future(self._clock.sleep(task.timeout.total_seconds()))
        halted = asyncio.ensure_future(active.halted.wait())
        try:
            await asyncio.wait({ended, limit, halted}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result(), True
            late = limit.done() and not active.halted.is_set()
            return await container.end(self._clock, self._machine.grace), not late
        finally:
            for each in (ended, limit, halted):
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each

    def _count(self, task: run.Task, **changes: int) -> None:
        """Store a task's new state and, with it, the counts of its execution."""
        execution = self._store.execution(parent(task.name))
        for field_name, change in changes.items():
            setattr(execution, field_name, getattr(execution, field_name) + change)
        execution.update_time = self._clock.now()
        self._store.put_all([task, execution])

    def _finish(self, execution: run.Execution, active: _Active) -> None:
        """Say how an execution ended: its tasks, its operation, its job's reference to it."""
        now = self._clock.now()
        left = self._store.open_tasks(execution.name)
        cancelled = active.why == "cancelled" and bool(left)
        broken = conditions.BROKEN if active.why == "broken" else conditions.STOPPED
        why = "was cancelled." if cancelled else f"was not finished. {broken}"
        for task in left:
            conditions.complete_task(task, now, f"Task {last(task.name)} {why}")
        ended, reason = "", _Reason.EXECUTION_REASON_UNDEFINED
        if cancelled:
            execution.cancelled_count += len(left)
            ended, reason = "Execution was cancelled by user.", _Reason.CANCELLED
        elif left:
            execution.failed_count += len(left)
            ended, reason = broken, _Reason.JOB_STATUS_SERVICE_POLLING_ERROR
        elif active.failures:
            ended, reason = active.failures[min(active.failures)], _Reason.NON_ZERO_EXIT_CODE
        conditions.complete(execution, now, ended, reason)
        with self._store.together():
            for task in left:
                self._store.put(task)
            self._store.put(execution)
            self._tell(execution)

    def _tell(self, execution: run.Execution) -> None:
        for operation in self._store.operations_of(execution.name):
            settled = self._store.operation(operation)
            conditions.settle(settled, execution)
            self._store.put_operation(settled)
        job_name = parent(execution.name)
        if self._store.exists(job_name):
            job = self._store.job(job_name)
            if job.latest_created_execution.name == last(execution.name):
                job.latest_created_execution = conditions.reference(execution)
                self._store.put(job)


def _result(ended: Exit, failure: str) -> run.TaskAttemptResult:
    made = run.TaskAttemptResult(exit_code=ended.code, term_signal=ended.signal)
    if failure:
        made.status.code = 10 if ended.code else 4  # ABORTED, DEADLINE_EXCEEDED
        made.status.message = f"The container {failure}".replace(
            "with exit code", "exited with exit code"
        )
    return made
