"""Jobs, lists and operations as resources: defaults, updates, pages, validate_only, JSON."""

from datetime import timedelta

import pytest
import requests
from google.cloud import run_v2
from google.longrunning import operations_pb2
from local.cloud_run.conftest import PARENT, START, clients_of

from mbats.local.cloud_run.desk_jobs import BOTS, make_jobs
from mbats.local.cloud_run.jobs_file import containers as desk_containers
from mbats.local.cloud_run.jobs_file import read_jobs
from mbats.local.cloud_run.running import serving

JOB = f"{PARENT}/jobs/greet"


def bare(image="desk"):
    return run_v2.Job(
        template=run_v2.ExecutionTemplate(
            template=run_v2.TaskTemplate(containers=[run_v2.Container(image=image)])
        )
    )


def test_a_job_gets_cloud_runs_defaults(clients):
    job = clients.jobs.create_job(parent=PARENT, job=bare(), job_id="greet").result()
    task = job.template.template
    assert (job.template.task_count, task.max_retries, task.timeout) == (
        1,
        3,
        timedelta(minutes=10),
    )
    assert dict(task.containers[0].resources.limits) == {"cpu": "1000m", "memory": "512Mi"}
    assert (job.name, job.generation, job.create_time) == (JOB, 1, START)
    assert job.terminal_condition.state == run_v2.Condition.State.CONDITION_SUCCEEDED
    assert clients.jobs.get_job(name=JOB) == job


def test_no_retries_is_not_the_default(clients):
    job = bare()
    job.template.template.max_retries = 0
    made = clients.jobs.create_job(parent=PARENT, job=job, job_id="greet").result()
    assert made.template.template.max_retries == 0


def test_an_update_counts_a_generation_and_changes_the_etag(clients):
    before = clients.create("greet", "say=a")
    clients.finish("greet")
    ran = clients.jobs.get_job(name=JOB)
    assert ran.etag == before.etag  # running a job is no change of it
    ran.template.template.containers[0].args = ["say=b"]
    after = clients.jobs.update_job(job=ran).result()
    assert (after.generation, after.uid, after.execution_count) == (2, before.uid, 1)
    assert after.etag != before.etag
    assert after.latest_created_execution == ran.latest_created_execution


def test_an_update_that_changes_nothing_is_none(clients):
    before = clients.create("greet", "say=a")
    assert clients.jobs.update_job(job=before).result() == before


def test_an_update_may_create(clients):
    job = bare()
    job.name = JOB
    made = clients.jobs.update_job(request={"job": job, "allow_missing": True}).result()
    assert made == clients.jobs.get_job(name=JOB)


@pytest.mark.parametrize("method", ["create", "update", "delete", "run", "cancel"])
def test_validate_only_answers_and_does_nothing(clients, pipe, method):
    if method != "create":
        clients.create("greet", f"ready={pipe}", "pause")
    if method == "cancel":
        _, name = clients.run("greet")
    before = list(clients.jobs.list_jobs(parent=PARENT))
    only = {"validate_only": True}
    changed = bare("host/desk:2")
    changed.name = JOB
    calls = {
        "create": lambda: clients.jobs.create_job(
            request={"parent": PARENT, "job": bare(), "job_id": "greet", **only}
        ),
        "update": lambda: clients.jobs.update_job(request={"job": changed, **only}),
        "delete": lambda: clients.jobs.delete_job(request={"name": JOB, **only}),
        "run": lambda: clients.jobs.run_job(request={"name": JOB, **only}),
        "cancel": lambda: clients.executions.cancel_execution(request={"name": name, **only}),
    }
    answer = calls[method]().result()
    assert answer.name.startswith(PARENT)
    assert list(clients.jobs.list_jobs(parent=PARENT)) == before
    if method == "cancel":
        assert not clients.executions.get_execution(name=name).completion_time


def test_lists_come_in_pages(clients):
    for letter in "dbeac":
        clients.create(f"job-{letter}")
    pages = list(clients.jobs.list_jobs(request={"parent": PARENT, "page_size": 2}).pages)
    assert [[job.name[-1] for job in page.jobs] for page in pages] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    full = clients.jobs.list_jobs(request={"parent": PARENT, "page_size": 5})
    assert not next(full.pages).next_page_token


def test_executions_are_listed_newest_first_and_tasks_by_index(clients, cloud_run, clock):
    clients.create("greet", task_count=12)
    names = []
    for _ in range(3):
        names.append(clients.finish("greet").name)
        clock._now += timedelta(seconds=1)
    found = clients.executions.list_executions(request={"parent": JOB, "page_size": 2})
    assert [execution.name for execution in found] == names[::-1]
    tasks = clients.tasks.list_tasks(request={"parent": names[0], "page_size": 5})
    assert [task.index for task in tasks] == list(range(12))


def test_another_project_or_location_has_its_own_jobs(clients):
    clients.create("greet")
    for parent in ("projects/mbats-test/locations/us-east1", "projects/x/locations/europe-west1"):
        assert list(clients.jobs.list_jobs(parent=parent)) == []


def test_operations_are_listed_and_forgotten(clients):
    clients.create("greet")
    operation, _ = clients.run("greet")
    clients.wait(operation)
    request = operations_pb2.ListOperationsRequest(name=PARENT)
    names = [each.name for each in clients.jobs.list_operations(request).operations]
    assert operation in names
    assert len(names) == 2
    clients.jobs.delete_operation(operations_pb2.DeleteOperationRequest(name=operation))
    names = [each.name for each in clients.jobs.list_operations(request).operations]
    assert operation not in names


def test_the_log_uri_shows_the_log(clients):
    clients.create("greet", "say=one", task_count=2)
    execution = clients.finish("greet")
    shown = requests.get(execution.log_uri, timeout=30).text
    assert shown == "=== task-0-attempt-0 ===\none\n\n=== task-1-attempt-0 ===\none\n"
    [_, task] = clients.tasks.list_tasks(parent=execution.name)
    assert requests.get(task.log_uri, timeout=30).text == "one\n"
    assert requests.get(f"{execution.log_uri}x", timeout=30).status_code == 404
    assert requests.get(f"{execution.log_uri}/9", timeout=30).status_code == 404


def test_rest_speaks_googles_json(cloud_run):
    url = f"http://{cloud_run.addresses.http}/v2/{PARENT}/jobs"
    body = {
        "labels": {"a": "b"},
        "template": {
            "taskCount": 2,
            "template": {"maxRetries": 0, "timeout": "90s", "containers": [{"image": "desk"}]},
        },
    }
    operation = requests.post(f"{url}?jobId=greet", json=body, timeout=30).json()
    assert operation["done"] is True
    assert operation["response"]["@type"] == "type.googleapis.com/google.cloud.run.v2.Job"
    job = requests.get(f"{url}/greet?prettyPrint=false", timeout=30).json()
    assert job["template"]["taskCount"] == 2
    assert job["template"]["template"]["timeout"] == "90s"
    assert job["template"]["template"]["executionEnvironment"] == "EXECUTION_ENVIRONMENT_GEN2"
    assert job["generation"] == "1"
    assert job["createTime"] == "2026-11-23T12:00:00Z"
    assert job["terminalCondition"]["type"] == "Ready"


def test_everything_is_there_after_a_restart(config):
    with serving(config) as first:
        clients = clients_of(first.addresses, "grpc")
        job = clients.create("greet", "say=x")
        execution = clients.finish("greet")
        job = clients.jobs.get_job(name=job.name)
        authority = first.addresses.authority.read_bytes()
    with serving(config) as second:
        clients = clients_of(second.addresses, "grpc")
        assert clients.jobs.get_job(name=job.name) == job
        assert clients.executions.get_execution(name=execution.name) == execution
        assert second.addresses.authority.read_bytes() == authority


def test_the_desks_own_jobs_are_made_and_kept_up_to_date(cloud_run, clients):
    specs = read_jobs(desk_containers() / "jobs.yaml")
    port = int(cloud_run.addresses.http.split(":")[1])
    for _ in range(2):
        make_jobs(port, specs, "mbats-test", "europe-west1")
    made = {job.name.rsplit("/", 1)[1]: job for job in clients.jobs.list_jobs(parent=PARENT)}
    assert set(made) == {*specs, *BOTS.values()}
    assert {job.generation for job in made.values()} == {1}
    halt = made["halt"].template.template
    assert list(halt.containers[0].args) == ["halt"]
    assert (halt.max_retries, halt.timeout) == (3, timedelta(hours=1))
    assert [variable.name for variable in halt.containers[0].env] == ["MBATS_OANDA_TOKEN"]
    assert not made["backtest"].template.template.containers[0].env
    assert made["sweep"].template.parallelism == 0
