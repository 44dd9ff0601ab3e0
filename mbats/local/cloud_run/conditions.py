"""How an execution and its tasks stand, in Cloud Run's words.

The types and messages are those that `gcloud run jobs executions describe` shows; of a failed
execution its operation carries code 10 (ABORTED) and the first failed task's own words, of a
cancelled one no error at all, only counts (apache/airflow#57791).
"""

from datetime import datetime

from google.cloud.run_v2 import types as run
from google.longrunning.operations_pb2 import Operation
from google.rpc import code_pb2, status_pb2

from mbats.local.cloud_run.names import last

STOPPED = "The local Cloud Run server stopped while the execution ran."
BROKEN = "The local Cloud Run broke while the execution ran: its own log says why."
TIMED_OUT = "The configured timeout was reached."

_State = run.Condition.State
_Reason = run.Condition.ExecutionReason


def ready(now: datetime, problem: str = "") -> run.Condition:
    """Return the condition of a job; ``problem`` says why its image cannot run."""
    if problem:
        return run.Condition(
            type_="Ready",
            state=_State.CONDITION_FAILED,
            reason=run.Condition.CommonReason.CONTAINER_MISSING,
            message=problem,
            last_transition_time=now,
        )
    return run.Condition(type_="Ready", state=_State.CONDITION_SUCCEEDED, last_transition_time=now)


def pending(now: datetime) -> list[run.Condition]:
    """Return the conditions of an execution that was just made."""
    return [
        run.Condition(
            type_="Completed", state=_State.CONDITION_RECONCILING, last_transition_time=now
        ),
        _fine("ResourcesAvailable", "Provisioned imported containers.", now),
        run.Condition(type_="Started", state=_State.CONDITION_PENDING, last_transition_time=now),
        _fine("ContainerReady", "Imported container image.", now),
    ]


def start(execution: run.Execution, now: datetime) -> None:
    """Say in ``execution`` that its first task runs."""
    seconds = (now - execution.create_time).total_seconds()
    execution.start_time = execution.update_time = now
    _set(execution, _fine("Started", f"Started deployed execution in {seconds:.2f}s.", now))


def complete(execution: run.Execution, now: datetime, ended: str, reason: int) -> None:
    """Say in ``execution`` how it ended: ``ended`` is empty for a success."""
    execution.completion_time = execution.update_time = now
    execution.reconciling = False
    execution.running_count = 0
    if not ended:
        seconds = (now - execution.create_time).total_seconds()
        done = _fine("Completed", f"Execution completed successfully in {seconds:.2f}s.", now)
    else:
        done = run.Condition(
            type_="Completed",
            state=_State.CONDITION_FAILED,
            message=ended,
            execution_reason=reason,
            last_transition_time=now,
        )
    _set(execution, done)


def was_cancelled(execution: run.Execution) -> bool:
    """Say whether a person, not a task, ended the execution."""
    return bool(completed(execution).execution_reason == _Reason.CANCELLED)


def completed(execution: run.Execution) -> run.Condition:
    """Return the condition that says how the execution ended, or that it has not."""
    return next(each for each in execution.conditions if each.type_ == "Completed")


def completion(execution: run.Execution) -> run.ExecutionReference.CompletionStatus:
    """Return how an execution stands, as a job's reference to it says."""
    status = run.ExecutionReference.CompletionStatus
    if not execution.completion_time:
        return status.EXECUTION_RUNNING if execution.start_time else status.EXECUTION_PENDING
    if completed(execution).state == _State.CONDITION_SUCCEEDED:
        return status.EXECUTION_SUCCEEDED
    if was_cancelled(execution):
        return status.EXECUTION_CANCELLED
    return status.EXECUTION_FAILED


def reference(execution: run.Execution) -> run.ExecutionReference:
    """Return what a job says of its latest execution."""
    return run.ExecutionReference(
        name=last(execution.name),
        create_time=execution.create_time,
        completion_time=execution.completion_time,
        completion_status=completion(execution),
    )


def settle(operation: Operation, execution: run.Execution) -> None:
    """Bring the operation of a run up to date with its execution."""
    operation.metadata.Pack(run.Execution.pb(execution))
    if not execution.completion_time:
        return
    operation.done = True
    if completion(execution) == run.ExecutionReference.CompletionStatus.EXECUTION_FAILED:
        message = completed(execution).message
        operation.error.CopyFrom(status_pb2.Status(code=code_pb2.ABORTED, message=message))
    else:
        operation.response.Pack(run.Execution.pb(execution))


def complete_task(task: run.Task, now: datetime, failure: str = "") -> None:
    """Say in ``task`` that it ended; ``failure`` is empty for a success."""
    task.completion_time = task.update_time = now
    task.reconciling = False
    state = _State.CONDITION_FAILED if failure else _State.CONDITION_SUCCEEDED
    task.conditions = [
        run.Condition(type_="Completed", state=state, message=failure, last_transition_time=now)
    ]


def _fine(kind: str, message: str, now: datetime) -> run.Condition:
    return run.Condition(
        type_=kind,
        state=_State.CONDITION_SUCCEEDED,
        message=message,
        last_transition_time=now,
    )


def _set(execution: run.Execution, condition: run.Condition) -> None:
    execution.conditions = [
        condition if each.type_ == condition.type_ else each for each in execution.conditions
    ]
