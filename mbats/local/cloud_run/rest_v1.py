"""The part of the v1 REST API that `gcloud run jobs` needs: read, execute, cancel, delete.

v1 names a resource by its project alone; the location is in the host, as in
``europe-west1-run.googleapis.com``.
"""

import re
from typing import Any

from google.cloud.run_v2 import types as run
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mbats.local.cloud_run import knative
from mbats.local.cloud_run.api import Api
from mbats.local.cloud_run.clients import REGION
from mbats.local.cloud_run.refusals import Refusal, invalid, not_found

_HOST = re.compile(r"([a-z]+-[a-z]+[0-9])-run\.googleapis\.com")
_LABEL = re.compile(r"run\.googleapis\.com/(job|execution)\s*(?:=|in)\s*\(?\s*([a-z0-9-]+)\s*\)?")


class RestV1:
    """Answers v1 requests by the methods of v2."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        path = request.path_params
        found = _HOST.match(request.headers.get("host", ""))
        parent = f"projects/{path['project']}/locations/{found[1] if found else REGION}"
        name, _, verb = str(path.get("name", "")).partition(":")
        act = getattr(self, f"_{path['kind']}_{verb or request.method.lower()}", None)
        try:
            if act is None:
                not_found(f"{request.method} {request.url.path}")
            return JSONResponse(await act(request, parent, name))
        except Refusal as refusal:
            return JSONResponse(refusal.document(), refusal.http_status)

    async def _jobs_get(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        if name:
            wanted = run.GetJobRequest(name=f"{parent}/jobs/{name}")
            return knative.job(await self._api.get_job(wanted))
        page = await self._api.list_jobs(run.ListJobsRequest(parent=parent, **_page(request)))
        return knative.listing("Job", page.jobs, knative.job, page.next_page_token)

    async def _jobs_run(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        wanted = run.RunJobRequest.pb(run.RunJobRequest(name=f"{parent}/jobs/{name}"))
        try:
            json_format.ParseDict(knative.overrides(await request.json()), wanted)
        except (ValueError, json_format.ParseError) as error:
            invalid(f"Invalid JSON payload received. {error}")
        operation = await self._api.run_job(run.RunJobRequest.wrap(wanted))
        started = run.Execution.deserialize(operation.metadata.value)
        return knative.execution(started)

    async def _jobs_delete(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        await self._api.delete_job(run.DeleteJobRequest(name=f"{parent}/jobs/{name}"))
        return {"kind": "Status", "status": "Success"}

    async def _executions_get(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        if name:
            return knative.execution(await self._execution(parent, name))
        job = _label(request, "job")
        jobs = [f"{parent}/jobs/{job}"] if job else await self._all_jobs(parent)
        found = []
        for each in jobs:
            wanted = run.ListExecutionsRequest(parent=each, page_size=1_000)
            found += (await self._api.list_executions(wanted)).executions
        found.sort(key=lambda each: each.create_time, reverse=True)
        return knative.listing("Execution", found, knative.execution, "")

    async def _executions_cancel(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        found = await self._execution(parent, name)
        await self._api.cancel_execution(run.CancelExecutionRequest(name=found.name))
        return knative.execution(await self._execution(parent, name))

    async def _executions_delete(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        found = await self._execution(parent, name)
        await self._api.delete_execution(run.DeleteExecutionRequest(name=found.name))
        return {"kind": "Status", "status": "Success"}

    async def _tasks_get(self, request: Request, parent: str, name: str) -> dict[str, Any]:
        execution = name.rpartition("-task")[0] or _label(request, "execution")
        found = await self._execution(parent, execution)
        if name:
            wanted = run.GetTaskRequest(name=f"{found.name}/tasks/{name}")
            return knative.task(await self._api.get_task(wanted))
        listed = run.ListTasksRequest(parent=found.name, **_page(request))
        page = await self._api.list_tasks(listed)
        return knative.listing("Task", page.tasks, knative.task, page.next_page_token)

    async def _execution(self, parent: str, name: str) -> run.Execution:
        """Return the execution of this short name: the job's name, a hyphen, five letters."""
        job = name.rpartition("-")[0]
        full = f"{parent}/jobs/{job}/executions/{name}"
        return await self._api.get_execution(run.GetExecutionRequest(name=full))

    async def _all_jobs(self, parent: str) -> list[str]:
        wanted = run.ListJobsRequest(parent=parent, page_size=1_000)
        return [job.name for job in (await self._api.list_jobs(wanted)).jobs]


def _page(request: Request) -> dict[str, Any]:
    limit = request.query_params.get("limit", "0")
    if not limit.isdigit():
        invalid(f"Invalid value at 'limit': {limit!r}.")
    return {"page_size": int(limit), "page_token": request.query_params.get("continue", "")}


def _label(request: Request, wanted: str) -> str:
    """Return the job or execution that a label selector asks for; empty where it asks for none."""
    selector = request.query_params.get("labelSelector", "")
    found: dict[str, str] = dict(_LABEL.findall(selector))
    if selector and wanted not in found:
        invalid(f"The local Cloud Run selects by job and execution alone, not by {selector!r}.")
    return found.get(wanted, "")
