"""`mbats jobs` against a local Cloud Run."""

import json
import os

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.errors import ConfigError, DataError, NotReadyError, RunFailedError
from mbats.local.cloud_run.desk_jobs import make_jobs
from mbats.local.cloud_run.jobs_file import JobSpec
from mbats.local.cloud_run.running import serving
from mbats.local.cloud_run.server import Config

SPEC = JobSpec(
    image="desk",
    account="desk",
    args=("print('its own arguments')",),
    cpu="1",
    memory="1Gi",
    hours=1,
    retries=0,
)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "containers" / "desk").mkdir(parents=True)
    dockerfile = folder / "containers" / "desk" / "Dockerfile"
    dockerfile.write_text('FROM scratch\nENTRYPOINT ["python", "-c"]\n')
    config = Config(
        folder=folder / "state",
        containers=folder / "containers",
        workdir=folder,
        variables=dict(os.environ),
    )
    with serving(config) as running:
        port = int(running.addresses.http.split(":")[1])
        make_jobs(port, {"print": SPEC}, "mbats-local", "europe-west1")
        yield f"http://{running.addresses.http}"


@pytest.fixture
def mbats(endpoint, tmp_path):
    def run(*words, **environ):
        given = {"COLUMNS": "200", "MBATS_CLOUD_RUN_ENDPOINT": endpoint, **environ}
        return CliRunner().invoke(app, ["--home", str(tmp_path / ".mbats"), *words], env=given)

    return run


def test_the_jobs_are_listed_with_what_they_run(mbats):
    shown = mbats("jobs", "list").stdout
    assert "print('its own arguments')" in shown
    assert [
        job["name"].rsplit("/", 1)[1] for job in json.loads(mbats("jobs", "list", "--json").stdout)
    ] == [
        "bot-paper",
        "print",
    ]


def test_a_run_shows_its_log_and_how_it_ended(mbats):
    done = mbats("jobs", "run", "print", "--tasks", "2", "--", "print('hello')")
    assert done.exit_code == 0
    assert done.stdout.count("hello") == 2
    assert "its own" not in done.stdout
    assert done.stdout.strip().endswith("succeeded")
    assert "its own arguments" in mbats("jobs", "run", "print").stdout


def test_a_failed_run_is_an_error_with_the_address_of_its_log(mbats):
    done = mbats("jobs", "run", "print", "--", "print('to the end'); raise SystemExit(9)")
    assert isinstance(done.exception, RunFailedError)
    assert "failed with exit code: 9" in done.exception.cause
    assert "/logs/print-" in done.exception.tried[0]
    assert "to the end" in done.stdout


def test_executions_and_logs(mbats):
    ran = json.loads(mbats("jobs", "run", "print", "--json", "--", "print('once')").stdout)
    name = ran["name"].rsplit("/", 1)[1]
    found = json.loads(mbats("jobs", "executions", "print", "--limit", "1", "--json").stdout)
    assert found == [ran]
    assert name in mbats("jobs", "executions").stdout
    assert "once" in mbats("jobs", "logs", name).stdout
    assert "once" in json.loads(mbats("jobs", "logs", name, "--json").stdout)["log"]


def test_a_run_is_cancelled(mbats):
    started = mbats("jobs", "run", "print", "--no-wait", "--", "import signal; signal.pause()")
    name = started.stdout.split()[1].rstrip(".")
    assert mbats("jobs", "cancel", name).stdout.strip() == f"{name}: cancelled"
    assert isinstance(mbats("jobs", "cancel", name).exception, DataError)


def test_what_is_not_there_is_named(mbats):
    assert "nope" in str(mbats("jobs", "run", "nope").exception)
    assert isinstance(mbats("jobs", "logs", "print-zzzzz").exception, DataError)


def test_without_a_stack_or_in_the_cloud_the_mend_is_told(mbats):
    missing = mbats("jobs", "list", MBATS_CLOUD_RUN_ENDPOINT="")
    assert isinstance(missing.exception, NotReadyError)
    dead = mbats("jobs", "list", MBATS_CLOUD_RUN_ENDPOINT="http://127.0.0.1:1")
    assert isinstance(dead.exception, NotReadyError)
    cloud = mbats("--profile", "gcp", "jobs", "list", MBATS_CLOUD_RUN_ENDPOINT="")
    assert isinstance(cloud.exception, ConfigError)
    assert "gcloud run jobs" in cloud.exception.mend
