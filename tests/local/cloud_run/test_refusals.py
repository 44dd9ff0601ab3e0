"""What the API refuses, and with which status: a table over gRPC and REST."""

import os
from datetime import timedelta

import pytest
import requests
from google.api_core import exceptions
from google.cloud import run_v2
from google.longrunning import operations_pb2
from grpc import StatusCode
from local.cloud_run.conftest import PARENT, clients_of

from mbats.local.cloud_run.refusals import HTTP_STATUS
from mbats.local.cloud_run.running import serving
from mbats.local.cloud_run.server import Config

BAD, GONE, THERE, STALE, EARLY = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.ALREADY_EXISTS,
    StatusCode.ABORTED,
    StatusCode.FAILED_PRECONDITION,
)
JOB = f"{PARENT}/jobs/greet"
NOWHERE = f"{JOB}/executions/greet-none0"


def refused(act, code, said):
    """Check that Google's client raises what the status stands for, on its transport."""
    with pytest.raises(exceptions.GoogleAPICallError, match=said) as caught:
        act()
    assert caught.value.code == HTTP_STATUS[code]
    assert caught.value.grpc_status_code in (code, None)  # REST has the number alone


def job(image="desk", **task):
    container = {"image": image, **task.pop("container", {})}
    return {"template": {"template": {"containers": [container], **task}}}


def execution(**template):
    return {"template": {**job()["template"], **template}}


def create(body, job_id="other", parent=PARENT):
    return lambda c: c.jobs.create_job(request={"parent": parent, "job": body, "job_id": job_id})


def run(name=JOB, **request):
    return lambda c: c.jobs.run_job(request={"name": name, **request})


def override(**container):
    return run(overrides={"container_overrides": [container]})


REFUSED = {
    "a job that is there": (create(job(), "greet"), THERE, "already exists"),
    "an upper-case id": (create(job(), "Greet"), BAD, "must begin with letter"),
    "an empty id": (create(job(), ""), BAD, "job_id"),
    "an id that is too long": (create(job(), "a" * 64), BAD, "less than 64"),
    "an id that ends with a hyphen": (create(job(), "a-"), BAD, "hyphen"),
    "a location that is none": (create(job(), parent="projects/p/locations/EU"), BAD, "parent"),
    "a job without an image": (create(job("")), BAD, "image"),
    "a job without a container": (create({}), BAD, "one container, not 0"),
    "two containers": (
        create({"template": {"template": {"containers": [{"image": "a"}, {"image": "b"}]}}}),
        BAD,
        "one container, not 2",
    ),
    "eleven retries": (create(job(max_retries=11)), BAD, "max_retries"),
    "a timeout of 169 hours": (create(job(timeout=timedelta(hours=169))), BAD, "timeout"),
    "a negative timeout": (create(job(timeout=timedelta(seconds=-1))), BAD, "timeout"),
    "10,001 tasks": (create(execution(task_count=10_001)), BAD, "task_count"),
    "negative parallelism": (create(execution(parallelism=-1)), BAD, "parallelism"),
    "a reserved variable": (
        create(job(container={"env": [{"name": "CLOUD_RUN_TASK_INDEX", "value": "1"}]})),
        BAD,
        "reserved",
    ),
    "a variable given twice": (
        create(job(container={"env": [{"name": "A", "value": "1"}] * 2})),
        BAD,
        "twice",
    ),
    "a variable without a name": (create(job(container={"env": [{"value": "1"}]})), BAD, "name"),
    "a job that is to run at once": (create({**job(), "run_execution_token": "x"}), BAD, "RunJob"),
    "a job of another name": (create({**job(), "name": f"{PARENT}/jobs/y"}), BAD, "job.name"),
    "reading no job": (lambda c: c.jobs.get_job(name=f"{PARENT}/jobs/none"), GONE, "not found"),
    "deleting no job": (lambda c: c.jobs.delete_job(name=f"{PARENT}/jobs/none"), GONE, "not found"),
    "updating no job": (
        lambda c: c.jobs.update_job(job={**job(), "name": f"{PARENT}/jobs/none"}),
        GONE,
        "not found",
    ),
    "running no job": (run(f"{PARENT}/jobs/none"), GONE, "not found"),
    "executions of no job": (
        lambda c: c.executions.list_executions(parent=f"{PARENT}/jobs/none"),
        GONE,
        "not found",
    ),
    "reading no execution": (lambda c: c.executions.get_execution(name=NOWHERE), GONE, "not found"),
    "cancelling no execution": (
        lambda c: c.executions.cancel_execution(name=NOWHERE),
        GONE,
        "not found",
    ),
    "tasks of no execution": (lambda c: c.tasks.list_tasks(parent=NOWHERE), GONE, "not found"),
    "reading no task": (
        lambda c: c.tasks.get_task(name=f"{NOWHERE}/tasks/greet-none0-task0"),
        GONE,
        "not found",
    ),
    "reading no operation": (
        lambda c: c.jobs.get_operation(
            operations_pb2.GetOperationRequest(name=f"{PARENT}/operations/none")
        ),
        GONE,
        "not found",
    ),
    "an update with an old etag": (
        lambda c: c.jobs.update_job(job={**job(), "name": JOB, "etag": '"old"'}),
        STALE,
        "etag",
    ),
    "a delete with an old etag": (
        lambda c: c.jobs.delete_job(request={"name": JOB, "etag": '"old"'}),
        STALE,
        "etag",
    ),
    "a run with an old etag": (run(etag='"old"'), STALE, "etag"),
    "a page of minus one": (
        lambda c: c.jobs.list_jobs(request={"parent": PARENT, "page_size": -1}),
        BAD,
        "page_size",
    ),
    "a page token that is none": (
        lambda c: c.jobs.list_jobs(request={"parent": PARENT, "page_token": "a token?"}),
        BAD,
        "page_token",
    ),
    "arguments given and cleared": (override(args=["a"], clear_args=True), BAD, "clear_args"),
    "an override of another container": (override(name="b"), BAD, "'b'"),
    "two overrides of one container": (
        run(overrides={"container_overrides": [{"args": ["a"]}, {"args": ["b"]}]}),
        BAD,
        "twice",
    ),
    "an override of a reserved variable": (
        override(env=[{"name": "PORT", "value": "1"}]),
        BAD,
        "reserved",
    ),
    "an override with too many tasks": (run(overrides={"task_count": 10_001}), BAD, "task_count"),
    "an override with minus one tasks": (run(overrides={"task_count": -1}), BAD, "task_count"),
    "a run of an image that is not there": (run(f"{PARENT}/jobs/lost"), EARLY, "no image 'lost'"),
    "a run of an image in shell form": (run(f"{PARENT}/jobs/shell"), EARLY, "shell form"),
}  # fmt: skip


@pytest.fixture(scope="module", params=["grpc", "rest"])
def furnished(request, tmp_path_factory, containers):
    """One server for the whole table: a job that runs, and two whose images cannot."""
    folder = tmp_path_factory.mktemp("refusing")
    config = Config(
        folder=folder, containers=containers, workdir=folder, variables=dict(os.environ)
    )
    with serving(config) as running:
        clients = clients_of(running.addresses, request.param)
        clients.create("greet", "say=x")
        for image in ("lost", "shell"):
            clients.jobs.create_job(parent=PARENT, job=job(f"host/{image}:1"), job_id=image)
        yield clients


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_and_nothing_changes(furnished, case):
    act, code, said = REFUSED[case]
    before = list(furnished.jobs.list_jobs(parent=PARENT))
    refused(lambda: act(furnished), code, said)
    assert list(furnished.jobs.list_jobs(parent=PARENT)) == before
    assert list(furnished.executions.list_executions(parent=JOB)) == []


def test_an_execution_that_is_over_is_not_cancelled(clients):
    clients.create("greet")
    execution = clients.finish("greet")
    refused(
        lambda: clients.executions.cancel_execution(name=execution.name), EARLY, "already completed"
    )


def test_a_deleted_job_is_not_found(clients):
    clients.create("greet")
    clients.jobs.delete_job(name=JOB).result()
    for act in (clients.jobs.get_job, clients.jobs.run_job, clients.jobs.delete_job):
        with pytest.raises(exceptions.NotFound):
            act(name=JOB)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v2/projects/mbats-test/locations/europe-west1/jobs/x", None, 404, "NOT_FOUND"),
        ("GET", "/v2/no/such/path", None, 404, "NOT_FOUND"),
        ("PUT", f"/v2/{JOB}", {}, 404, "NOT_FOUND"),
        ("GET", f"/v2/{PARENT}/jobs?pageSize=x", None, 400, "INVALID_ARGUMENT"),
        ("GET", f"/v2/{PARENT}/jobs?nonsense=1", None, 400, "INVALID_ARGUMENT"),
        ("POST", f"/v2/{PARENT}/jobs?jobId=a&validateOnly=maybe", {}, 400, "INVALID_ARGUMENT"),
        ("POST", f"/v2/{PARENT}/jobs?jobId=a", "{", 400, "INVALID_ARGUMENT"),
        ("POST", f"/v2/{PARENT}/jobs?jobId=a", [1], 400, "INVALID_ARGUMENT"),
        ("POST", f"/v2/{PARENT}/jobs?jobId=a", {"nonsense": 1}, 400, "INVALID_ARGUMENT"),
        ("PATCH", f"/v2/{JOB}", {"name": f"{PARENT}/jobs/y"}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_rest_answers_with_googles_error_document(cloud_run, method, path, body, status, code):
    url = f"http://{cloud_run.addresses.http}{path}"
    sent = {"data": body} if isinstance(body, str) else {"json": body}
    answer = requests.request(method, url, timeout=30, **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, code)
    assert error["message"]


def test_a_method_that_is_not_there_is_unimplemented(cloud_run, clients):
    with pytest.raises((exceptions.MethodNotImplemented, exceptions.NotFound)):
        clients.jobs.get_iam_policy(request={"resource": JOB})


def test_a_job_learns_that_its_image_is_missing(clients):
    made = clients.jobs.create_job(parent=PARENT, job=job("host/lost:1"), job_id="lost").result()
    condition = made.terminal_condition
    assert condition.state == run_v2.Condition.State.CONDITION_FAILED
    assert condition.reason == run_v2.Condition.CommonReason.CONTAINER_MISSING
    assert "lost" in condition.message
