"""The v1 spelling of jobs, executions and tasks, which `gcloud run jobs` speaks.

https://cloud.google.com/run/docs/reference/rest/v1/namespaces.jobs
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from google.cloud.run_v2 import types as run

from mbats.local.cloud_run.names import last, place

API = "run.googleapis.com/v1"
_STATUS = {
    run.Condition.State.CONDITION_SUCCEEDED: "True",
    run.Condition.State.CONDITION_FAILED: "False",
}


def job(message: run.Job) -> dict[str, Any]:
    """Return a job as v1 spells it."""
    latest = message.latest_created_execution
    status = {
        "observedGeneration": message.observed_generation,
        "conditions": _conditions([message.terminal_condition]),
        "executionCount": message.execution_count,
    }
    if latest.name:
        status["latestCreatedExecution"] = {
            "name": latest.name,
            "creationTimestamp": _time(latest.create_time),
            "completionTimestamp": _time(latest.completion_time),
            "completionStatus": latest.completion_status.name,
        }
    template = message.template
    return {
        "apiVersion": API,
        "kind": "Job",
        "metadata": _metadata(message, {}),
        "spec": {
            "template": {
                "metadata": {},
                "spec": _execution_spec(
                    template.parallelism, template.task_count, template.template
                ),
            }
        },
        "status": status,
    }


def execution(message: run.Execution) -> dict[str, Any]:
    """Return an execution as v1 spells it."""
    status = {
        "observedGeneration": message.observed_generation,
        "conditions": _conditions(message.conditions),
        "startTime": _time(message.start_time),
        "completionTime": _time(message.completion_time),
        "runningCount": message.running_count,
        "succeededCount": message.succeeded_count,
        "failedCount": message.failed_count,
        "cancelledCount": message.cancelled_count,
        "retriedCount": message.retried_count,
        "logUri": message.log_uri,
    }
    return {
        "apiVersion": API,
        "kind": "Execution",
        "metadata": _metadata(message, {"run.googleapis.com/job": message.job}),
        "spec": _execution_spec(message.parallelism, message.task_count, message.template),
        "status": {key: value for key, value in status.items() if value is not None},
    }


def task(message: run.Task) -> dict[str, Any]:
    """Return a task as v1 spells it."""
    labels = {
        "run.googleapis.com/job": message.job,
        "run.googleapis.com/execution": message.execution,
    }
    result = message.last_attempt_result
    status = {
        "observedGeneration": message.observed_generation,
        "conditions": _conditions(message.conditions)
        or [{"type": "Completed", "status": "Unknown"}],
        "index": message.index,
        "startTime": _time(message.start_time),
        "completionTime": _time(message.completion_time),
        "retried": message.retried,
        "lastAttemptResult": {
            "exitCode": result.exit_code,
            "status": {"code": result.status.code, "message": result.status.message},
        },
        "logUri": message.log_uri,
    }
    return {
        "apiVersion": API,
        "kind": "Task",
        "metadata": _metadata(message, labels),
        "spec": {"maxRetries": message.max_retries, "containers": _containers(message.containers)},
        "status": {key: value for key, value in status.items() if value is not None},
    }


def listing(
    kind: str, messages: Iterable[Any], spelt: Callable[[Any], dict[str, Any]], token: str
) -> dict[str, Any]:
    """Return a list of resources as v1 spells it."""
    return {
        "apiVersion": API,
        "kind": f"{kind}List",
        "metadata": {"continue": token} if token else {},
        "items": [spelt(message) for message in messages],
    }


def overrides(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the v2 body of a run from the v1 body: only the timeout is spelt otherwise."""
    given = dict(body.get("overrides") or {})
    if "timeoutSeconds" in given:
        given["timeout"] = f"{int(given.pop('timeoutSeconds'))}s"
    return {"overrides": given} if given else {}


def _metadata(message: Any, labels: Mapping[str, str]) -> dict[str, Any]:
    where = place(message.name)
    return {
        "name": last(message.name),
        "namespace": where.project,
        "uid": message.uid,
        "generation": message.generation,
        "resourceVersion": message.etag.strip('"'),
        "creationTimestamp": _time(message.create_time),
        "labels": {
            **message.labels,
            **labels,
            "cloud.googleapis.com/location": where.location,
        },
        "annotations": {"serving.knative.dev/creator": getattr(message, "creator", "")},
    }


def _execution_spec(
    parallelism: int, task_count: int, template: run.TaskTemplate
) -> dict[str, Any]:
    return {
        **({"parallelism": parallelism} if parallelism else {}),
        "taskCount": task_count,
        "template": {
            "spec": {
                "containers": _containers(template.containers),
                "maxRetries": template.max_retries,
                "timeoutSeconds": str(int(template.timeout.total_seconds())),
                "serviceAccountName": template.service_account,
            }
        },
    }


def _containers(containers: Iterable[run.Container]) -> list[dict[str, Any]]:
    return [
        {
            "image": container.image,
            "command": list(container.command),
            "args": list(container.args),
            "env": [_variable(variable) for variable in container.env],
            "resources": {"limits": dict(container.resources.limits)},
        }
        for container in containers
    ]


def _variable(variable: run.EnvVar) -> dict[str, Any]:
    reference = variable.value_source.secret_key_ref
    if reference.secret:
        key = {"name": reference.secret, "key": reference.version}
        return {"name": variable.name, "valueFrom": {"secretKeyRef": key}}
    return {"name": variable.name, "value": variable.value}


def _conditions(conditions: Iterable[run.Condition]) -> list[dict[str, Any]]:
    made = []
    for condition in conditions:
        reason = condition.execution_reason or condition.reason
        made.append(
            {
                "type": condition.type_,
                "status": _STATUS.get(condition.state, "Unknown"),
                "message": condition.message,
                "lastTransitionTime": _time(condition.last_transition_time),
                **({"reason": _camel(reason.name)} if reason else {}),
            }
        )
    return made


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _time(moment: datetime | None) -> str | None:
    if not moment:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
