"""Every method of the API, once: gRPC and REST are both read off this table.

Paths are those of Google's own http annotations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.cloud.run_v2 import types as run
from google.longrunning import operations_pb2 as ops
from google.protobuf.message import Message

from mbats.local.cloud_run.api import Api

RUN = "google.cloud.run.v2"
_LOCATION = "projects/*/locations/*"
_JOB = f"{_LOCATION}/jobs/*"
_EXECUTION = f"{_JOB}/executions/*"
_TASK = f"{_EXECUTION}/tasks/*"
_OPERATION = f"{_LOCATION}/operations/*"


@dataclass(frozen=True)
class Method:
    """One method.

    ``request`` is a message class, Google's generated or proto-plus. ``path`` is that of REST,
    ``{field=pattern}`` its one resource name; ``body`` the field that the body fills, ``*`` the
    whole request.
    """

    service: str
    name: str
    request: Any
    call: Callable[[Api, Any], Any]
    verb: str
    path: str
    body: str = ""

    def parse(self, data: bytes) -> Any:
        """Return the request from its bytes."""
        if _is_plain(self.request):
            return self.request.FromString(data)
        return self.request.deserialize(data)

    def blank(self) -> Message:
        """Return an empty request as a plain message."""
        made = self.request()
        return made if isinstance(made, Message) else self.request.pb(made)

    def wrapped(self, message: Message) -> Any:
        """Return a plain message as the request that ``call`` takes."""
        return message if _is_plain(self.request) else self.request.wrap(message)


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def plain(answer: Any) -> Message:
    """Return an answer as a plain message."""
    return answer if isinstance(answer, Message) else type(answer).pb(answer)


def _jobs(name: str, *rest: Any) -> Method:
    return Method(f"{RUN}.Jobs", name, *rest)


def _executions(name: str, *rest: Any) -> Method:
    return Method(f"{RUN}.Executions", name, *rest)


def _tasks(name: str, *rest: Any) -> Method:
    return Method(f"{RUN}.Tasks", name, *rest)


def _operations(name: str, *rest: Any) -> Method:
    return Method("google.longrunning.Operations", name, *rest)


METHODS = (
    _jobs("CreateJob", run.CreateJobRequest, Api.create_job,
          "POST", f"/v2/{{parent={_LOCATION}}}/jobs", "job"),
    _jobs("GetJob", run.GetJobRequest, Api.get_job, "GET", f"/v2/{{name={_JOB}}}"),
    _jobs("ListJobs", run.ListJobsRequest, Api.list_jobs,
          "GET", f"/v2/{{parent={_LOCATION}}}/jobs"),
    _jobs("UpdateJob", run.UpdateJobRequest, Api.update_job,
          "PATCH", f"/v2/{{job.name={_JOB}}}", "job"),
    _jobs("DeleteJob", run.DeleteJobRequest, Api.delete_job, "DELETE", f"/v2/{{name={_JOB}}}"),
    _jobs("RunJob", run.RunJobRequest, Api.run_job, "POST", f"/v2/{{name={_JOB}}}:run", "*"),
    _executions("GetExecution", run.GetExecutionRequest, Api.get_execution,
                "GET", f"/v2/{{name={_EXECUTION}}}"),
    _executions("ListExecutions", run.ListExecutionsRequest, Api.list_executions,
                "GET", f"/v2/{{parent={_JOB}}}/executions"),
    _executions("DeleteExecution", run.DeleteExecutionRequest, Api.delete_execution,
                "DELETE", f"/v2/{{name={_EXECUTION}}}"),
    _executions("CancelExecution", run.CancelExecutionRequest, Api.cancel_execution,
                "POST", f"/v2/{{name={_EXECUTION}}}:cancel", "*"),
    _tasks("GetTask", run.GetTaskRequest, Api.get_task, "GET", f"/v2/{{name={_TASK}}}"),
    _tasks("ListTasks", run.ListTasksRequest, Api.list_tasks,
           "GET", f"/v2/{{parent={_EXECUTION}}}/tasks"),
    _operations("GetOperation", ops.GetOperationRequest, Api.get_operation,
                "GET", f"/v2/{{name={_OPERATION}}}"),
    _operations("ListOperations", ops.ListOperationsRequest, Api.list_operations,
                "GET", f"/v2/{{name={_LOCATION}}}/operations"),
    _operations("WaitOperation", ops.WaitOperationRequest, Api.wait_operation,
                "POST", f"/v2/{{name={_OPERATION}}}:wait", "*"),
    _operations("DeleteOperation", ops.DeleteOperationRequest, Api.delete_operation,
                "DELETE", f"/v2/{{name={_OPERATION}}}"),
    _operations("CancelOperation", ops.CancelOperationRequest, Api.cancel_operation,
                "POST", f"/v2/{{name={_OPERATION}}}:cancel", "*"),
)  # fmt: skip


def by_service() -> Mapping[str, list[Method]]:
    """Return the methods by the full name of their service."""
    found: dict[str, list[Method]] = {}
    for method in METHODS:
        found.setdefault(method.service, []).append(method)
    return found
