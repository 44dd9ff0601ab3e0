"""`gcloud run jobs` against the local Cloud Run, by the environment alone."""

import json
import os
import shutil
import subprocess

import pytest
from local.cloud_run.conftest import clients_of, log_of, read_pid

from mbats.local.cloud_run.clients import client_env

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("gcloud") is None,
        reason="GCLOUD IS NOT TESTED: there is none on this machine",
    ),
]


@pytest.fixture
def gcloud(cloud_run, tmp_path):
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    environ = kept | client_env(cloud_run.addresses, "mbats-test")
    environ |= {"CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}

    def run(*words):
        command = ["gcloud", "run", "jobs", *words]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    return run


def document(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def clients(cloud_run):
    return clients_of(cloud_run.addresses, "grpc")


def test_list_and_describe(gcloud, clients, cloud_run):
    clients.create("greet", "say=hello")
    [job] = document(gcloud("list", "--format=json"))
    assert (job["metadata"]["name"], job["kind"]) == ("greet", "Job")
    one = document(gcloud("describe", "greet", "--format=json"))
    template = one["spec"]["template"]["spec"]["template"]["spec"]
    assert template["containers"][0]["args"] == ["say=hello"]
    assert one["status"]["conditions"][0]["status"] == "True"
    assert gcloud("describe", "nope").returncode == 1
    assert cloud_run.refused == []


def test_execute_with_overrides_waits_and_tells(gcloud, clients, config):
    clients.create("greet", "say=hello")
    done = gcloud(
        "execute", "greet", "--wait", "--args=say=run,env", "--update-env-vars=A=9", "--tasks=2",
        "--task-timeout=99s", "--format=json",
    )  # fmt: skip
    name = document(done)["metadata"]["name"]
    execution = clients.executions.get_execution(
        name=f"projects/mbats-test/locations/europe-west1/jobs/greet/executions/{name}"
    )
    assert (execution.succeeded_count, execution.template.timeout.total_seconds()) == (2, 99)
    said, environ = log_of(config, execution, index=1).splitlines()
    assert (said, json.loads(environ)["A"]) == ("run", "9")


def test_a_failed_execution_fails_the_command(gcloud, clients):
    clients.create("fail", "exit=3")
    done = gcloud("execute", "fail", "--wait")
    assert done.returncode == 1
    assert "The execution failed" in done.stderr


def test_executions_and_tasks_are_listed_and_cancelled(gcloud, clients, pipe):
    clients.create("long", f"ready={pipe}", "pause")
    name = document(gcloud("execute", "long", "--async", "--format=json"))["metadata"]["name"]
    read_pid(pipe)
    [found] = document(gcloud("executions", "list", "--job=long", "--format=json"))
    assert (found["metadata"]["name"], found["status"]["runningCount"]) == (name, 1)
    assert gcloud("executions", "cancel", name).returncode == 0
    one = document(gcloud("executions", "describe", name, "--format=json"))
    completed = next(c for c in one["status"]["conditions"] if c["type"] == "Completed")
    assert (completed["status"], completed["reason"]) == ("False", "Cancelled")
    [task] = document(gcloud("executions", "tasks", "list", f"--execution={name}", "--format=json"))
    assert task["metadata"]["name"] == f"{name}-task0"
