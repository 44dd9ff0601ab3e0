"""The methods of run.googleapis.com v2: Jobs, Executions, Tasks, and the operations they start.

https://cloud.google.com/run/docs/reference/rpc/google.cloud.run.v2
"""

import hashlib
import random
import shutil
import string
import uuid

from google.cloud.run_v2 import types as run
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2 import Operation
from google.protobuf import empty_pb2
from grpc import StatusCode

from mbats.errors import DataError
from mbats.local.cloud_run import conditions, images, job_rules, names, overrides
from mbats.local.cloud_run.clock import Clock
from mbats.local.cloud_run.names import last, place
from mbats.local.cloud_run.refusals import Refusal, invalid, not_ready
from mbats.local.cloud_run.runner import Machine, Runner
from mbats.local.cloud_run.store import Store

CREATOR = "local@mbats.invalid"
_LETTERS = string.ascii_lowercase + string.digits
_LONGEST_WAIT = 3600.0  # seconds


class Api:
    """Answers requests from the store; :class:`Refusal` is the answer no."""

    def __init__(
        self, store: Store, runner: Runner, machine: Machine, clock: Clock, chance: random.Random
    ) -> None:
        self._store = store
        self._runner = runner
        self._machine = machine
        self._clock = clock
        self._chance = chance

    # Jobs

    async def create_job(self, request: run.CreateJobRequest) -> Operation:
        """Create a job; done at once."""
        names.checked(request.parent, names.PARENT, "parent")
        name = f"{request.parent}/jobs/{names.checked_job_id(request.job_id)}"
        if request.job.name not in ("", name):
            invalid(f"job.name is {request.job.name!r}, but parent and job_id make {name!r}.")
        if self._store.exists(name):
            raise Refusal(StatusCode.ALREADY_EXISTS, f"Resource '{last(name)}' already exists.")
        return self._keep_job(self._new_job(name, request.job), request.validate_only)

    async def update_job(self, request: run.UpdateJobRequest) -> Operation:
        """Replace what a user may set of a job."""
        name = names.checked(request.job.name, names.JOB, "job.name")
        if not self._store.exists(name) and request.allow_missing:
            return self._keep_job(self._new_job(name, request.job), request.validate_only)
        before = self._store.job(name)
        _match(request.job.etag, before.etag)
        made = self._new_job(name, request.job)
        if _wanted(made) == _wanted(before):
            return self._done(before, request.validate_only)
        for field in ("uid", "create_time", "creator", "execution_count"):
            setattr(made, field, getattr(before, field))
        made.latest_created_execution = before.latest_created_execution
        made.generation = made.observed_generation = before.generation + 1
        made.etag = _etag(made.uid, made.generation)
        return self._keep_job(made, request.validate_only)

    async def get_job(self, request: run.GetJobRequest) -> run.Job:
        """Return a job."""
        return self._seen(self._store.job(names.checked(request.name, names.JOB)))

    async def list_jobs(self, request: run.ListJobsRequest) -> run.ListJobsResponse:
        """Return the jobs of a location by name, a page at a time."""
        where = names.checked(request.parent, names.PARENT, "parent")
        page = self._store.page("Job", where, request.page_size, request.page_token)
        jobs = [self._seen(run.Job.deserialize(body)) for body in page.bodies]
        return run.ListJobsResponse(jobs=jobs, next_page_token=page.next_token)

    async def delete_job(self, request: run.DeleteJobRequest) -> Operation:
        """Delete a job with its executions; those that run are ended first."""
        job = self._store.job(names.checked(request.name, names.JOB))
        _match(request.etag, job.etag)
        if not request.validate_only:
            for execution in self._store.unfinished():
                if names.parent(execution.name) == job.name:
                    await self._runner.halt(execution.name)
            self._store.remove(job.name)
        job.delete_time = self._clock.now()
        return self._done(job, request.validate_only)

    async def run_job(self, request: run.RunJobRequest) -> Operation:
        """Start an execution of a job."""
        job = self._store.job(names.checked(request.name, names.JOB))
        _match(request.etag, job.etag)
        template = overrides.overridden(job.template, request.overrides)
        problem = self._image_problem(template)
        if problem:
            not_ready(f"Job '{last(job.name)}' is not ready and cannot be run: {problem}")
        execution = self._new_execution(job, template)
        if request.validate_only:
            return self._done(execution, True)
        operation = self._waiting(execution)
        job.execution_count += 1
        job.latest_created_execution = conditions.reference(execution)
        with self._store.together():
            for resource in (job, execution, *_tasks(execution)):
                self._store.put(resource)
            self._store.put_operation(operation, execution.name)
        self._machine.log_folder(execution.name).mkdir(parents=True, exist_ok=True)
        self._runner.start(execution)
        return operation

    # Executions and tasks

    async def get_execution(self, request: run.GetExecutionRequest) -> run.Execution:
        """Return an execution."""
        return self._store.execution(names.checked(request.name, names.EXECUTION))

    async def list_executions(
        self, request: run.ListExecutionsRequest
    ) -> run.ListExecutionsResponse:
        """Return the executions of a job, the newest first, a page at a time."""
        job = names.checked(request.parent, names.JOB, "parent")
        self._store.job(job)
        page = self._store.page("Execution", job, request.page_size, request.page_token)
        found = [run.Execution.deserialize(body) for body in page.bodies]
        return run.ListExecutionsResponse(executions=found, next_page_token=page.next_token)

    async def cancel_execution(self, request: run.CancelExecutionRequest) -> Operation:
        """Begin to end an execution: SIGTERM to its tasks, SIGKILL after the grace."""
        execution = self._store.execution(names.checked(request.name, names.EXECUTION))
        _match(request.etag, execution.etag)
        if execution.completion_time:
            not_ready(f"Execution '{last(execution.name)}' is already completed.")
        if request.validate_only:
            return self._done(execution, True)
        operation = self._waiting(execution)
        self._store.put_operation(operation, execution.name)
        self._runner.ask_to_halt(execution.name)
        return operation

    async def delete_execution(self, request: run.DeleteExecutionRequest) -> Operation:
        """Delete an execution, its tasks and logs; one that runs is ended first."""
        execution = self._store.execution(names.checked(request.name, names.EXECUTION))
        _match(request.etag, execution.etag)
        if not request.validate_only:
            await self._runner.halt(execution.name)
            execution = self._store.execution(execution.name)
            self._store.remove(execution.name)
            shutil.rmtree(self._machine.log_folder(execution.name), ignore_errors=True)
        execution.delete_time = self._clock.now()
        return self._done(execution, request.validate_only)

    async def get_task(self, request: run.GetTaskRequest) -> run.Task:
        """Return a task."""
        return self._store.task(names.checked(request.name, names.TASK))

    async def list_tasks(self, request: run.ListTasksRequest) -> run.ListTasksResponse:
        """Return the tasks of an execution by index, a page at a time."""
        execution = names.checked(request.parent, names.EXECUTION, "parent")
        self._store.execution(execution)
        page = self._store.page("Task", execution, request.page_size, request.page_token)
        tasks = [run.Task.deserialize(body) for body in page.bodies]
        return run.ListTasksResponse(tasks=tasks, next_page_token=page.next_token)

    # Operations

    async def get_operation(self, request: operations_pb2.GetOperationRequest) -> Operation:
        """Return an operation as it stands now."""
        return self._operation(request.name)

    async def wait_operation(self, request: operations_pb2.WaitOperationRequest) -> Operation:
        """Return an operation when it is done, or after the request's timeout."""
        operation = self._operation(request.name)
        execution = self._store.execution_of(operation.name)
        if not operation.done and execution:
            given = request.timeout.ToTimedelta().total_seconds()
            await self._runner.finished(execution, min(given or _LONGEST_WAIT, _LONGEST_WAIT))
        return self._operation(request.name)

    async def list_operations(
        self, request: operations_pb2.ListOperationsRequest
    ) -> operations_pb2.ListOperationsResponse:
        """Return the operations of a location."""
        where = names.checked(request.name.removesuffix("/operations"), names.PARENT)
        if request.filter:
            invalid("The local Cloud Run filters no operations.")
        page = self._store.page("Operation", where, request.page_size, request.page_token)
        found = [self._fresh(Operation.FromString(body)) for body in page.bodies]
        return operations_pb2.ListOperationsResponse(
            operations=found, next_page_token=page.next_token
        )

    async def delete_operation(
        self, request: operations_pb2.DeleteOperationRequest
    ) -> empty_pb2.Empty:
        """Forget an operation; what it stands for goes on."""
        self._store.remove(self._operation(request.name).name)
        return empty_pb2.Empty()

    async def cancel_operation(
        self, request: operations_pb2.CancelOperationRequest
    ) -> empty_pb2.Empty:
        """Begin to cancel the execution that an operation waits for."""
        execution = self._store.execution_of(self._operation(request.name).name)
        if execution:
            self._runner.ask_to_halt(execution)
        return empty_pb2.Empty()

    def _operation(self, name: str) -> Operation:
        return self._fresh(self._store.operation(names.checked(name, names.OPERATION)))

    def _fresh(self, operation: Operation) -> Operation:
        execution = None if operation.done else self._store.execution_of(operation.name)
        if execution:
            conditions.settle(operation, self._store.execution(execution))
        return operation

    # What the methods share

    def _operation_name(self, resource: str) -> str:
        return f"{place(resource).parent}/operations/{self._uuid()}"

    def _waiting(self, execution: run.Execution) -> Operation:
        """Return an operation that ends with the execution."""
        operation = Operation(name=self._operation_name(execution.name))
        conditions.settle(operation, execution)
        return operation

    def _done(self, resource: run.Job | run.Execution, validate_only: bool) -> Operation:
        """Return an operation that is done; it is kept unless nothing happened."""
        operation = Operation(name=self._operation_name(resource.name), done=True)
        message = type(resource).pb(resource)
        operation.metadata.Pack(message)
        operation.response.Pack(message)
        if not validate_only:
            self._store.put_operation(operation)
        return operation

    def _keep_job(self, job: run.Job, validate_only: bool) -> Operation:
        if not validate_only:
            self._store.put(job)
        return self._done(job, validate_only)

    def _new_job(self, name: str, wanted: run.Job) -> run.Job:
        if wanted.start_execution_token or wanted.run_execution_token:
            invalid("The local Cloud Run starts no execution with a job: use RunJob.")
        now, uid = self._clock.now(), self._uuid()
        template = job_rules.completed(wanted.template)
        condition = conditions.ready(now, self._image_problem(template))
        return run.Job(
            name=name,
            uid=uid,
            generation=1,
            observed_generation=1,
            labels=dict(wanted.labels),
            annotations=dict(wanted.annotations),
            create_time=now,
            update_time=now,
            creator=CREATOR,
            last_modifier=CREATOR,
            client=wanted.client,
            client_version=wanted.client_version,
            launch_stage=wanted.launch_stage or 4,  # GA
            template=template,
            terminal_condition=condition,
            etag=_etag(uid, 1),
        )

    def _seen(self, job: run.Job) -> run.Job:
        """Return a job as it stands now: its image may have come or gone since it was made."""
        now = conditions.ready(self._clock.now(), self._image_problem(job.template))
        if now.state != job.terminal_condition.state:
            job.terminal_condition = now
        return job

    def _image_problem(self, template: run.ExecutionTemplate) -> str:
        try:
            images.command(self._machine.containers, template.template.containers[0])
        except DataError as error:
            return str(error).replace("\n", " ")
        return ""

    def _new_execution(self, job: run.Job, template: run.ExecutionTemplate) -> run.Execution:
        now, uid = self._clock.now(), self._uuid()
        name = self._execution_name(job.name)
        return run.Execution(
            name=name,
            uid=uid,
            creator=CREATOR,
            generation=1,
            observed_generation=1,
            labels={**job.labels, **template.labels},
            annotations=dict(template.annotations),
            create_time=now,
            update_time=now,
            launch_stage=job.launch_stage,
            job=last(job.name),
            parallelism=template.parallelism,
            task_count=template.task_count,
            template=template.template,
            reconciling=True,
            conditions=conditions.pending(now),
            log_uri=self._machine.log_uri(name),
            etag=_etag(uid, 1),
        )

    def _execution_name(self, job: str) -> str:
        while True:  # executions of one name in two projects would share a folder of logs
            letters = "".join(self._chance.choices(_LETTERS, k=5))
            name = f"{job}/executions/{last(job)}-{letters}"
            if not self._machine.log_folder(name).exists():
                return name

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))


def _wanted(job: run.Job) -> run.Job:
    """Return the part of a job that a user sets."""
    return run.Job(labels=job.labels, annotations=job.annotations, template=job.template)


def _tasks(execution: run.Execution) -> list[run.Task]:
    template = execution.template
    return [
        run.Task(
            name=f"{execution.name}/tasks/{last(execution.name)}-task{index}",
            uid=str(uuid.uuid5(uuid.UUID(execution.uid), str(index))),
            generation=1,
            observed_generation=1,
            labels=dict(execution.labels),
            create_time=execution.create_time,
            scheduled_time=execution.create_time,
            update_time=execution.create_time,
            job=execution.job,
            execution=last(execution.name),
            containers=template.containers,
            max_retries=template.max_retries,
            timeout=template.timeout,
            service_account=template.service_account,
            execution_environment=template.execution_environment,
            reconciling=True,
            index=index,
            log_uri=f"{execution.log_uri}/{index}",
            etag=_etag(execution.uid, index),
        )
        for index in range(execution.task_count)
    ]


def _etag(uid: str, generation: int) -> str:
    """Return a fingerprint of what a user set: running a job does not change it."""
    return f'"{hashlib.sha256(f"{uid} {generation}".encode()).hexdigest()[:24]}"'


def _match(given: str, now: str) -> None:
    if given and given != now:
        message = f"The etag {given} is not the current one, {now}: the resource has changed."
        raise Refusal(StatusCode.ABORTED, message)
