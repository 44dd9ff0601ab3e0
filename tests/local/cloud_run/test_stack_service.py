"""The local Cloud Run as a service of the stack: started, furnished, known to env and doctor."""

import json
import subprocess
import sys

import pytest
import requests

from mbats.config import Settings, load
from mbats.errors import NotReadyError
from mbats.local import cloud_run_service, doctor
from mbats.local.cloud_run.jobs_file import containers, read_jobs
from mbats.local.cloud_run_service import CLOUD_RUN_SERVICE
from mbats.local.exports import cloud_run_exports
from mbats.local.service import Launch, Service
from mbats.local.stack import SERVICES, Stack


def stand_in(name, *ports):
    """A service that Cloud Run's launch names; nothing here asks it anything."""

    def launch(site):
        program = "import socket, sys, signal\n"
        program += "s = [socket.create_server(('127.0.0.1', int(p))) for p in sys.argv[1:]]\n"
        words = [str(site.ports[name][port]) for port in ports]
        return Launch((sys.executable, "-c", program + "signal.pause()", *words))

    return Service(name=name, title=name, ports=dict.fromkeys(ports, 1), launch=launch)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    home = tmp_path_factory.mktemp("desk") / ".mbats"
    needed = (
        stand_in("storage", "http"),
        stand_in("bigquery", "http", "grpc"),
        stand_in("pubsub", "http"),
    )
    stack = Stack(
        Settings(home=home, project="mbats-test"),
        (*needed, CLOUD_RUN_SERVICE),
        any_ports=True,
    )
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def jobs(stack):
    endpoint = load(environ={}, flags={"home": stack.home}).settings.cloud_run_endpoint
    url = f"{endpoint}/v2/projects/mbats-test/locations/europe-west1/jobs"
    return requests.get(url, timeout=30).json()["jobs"]


def test_it_is_one_of_the_stack_but_not_of_the_emulators(stack):
    assert CLOUD_RUN_SERVICE in SERVICES
    [status] = [each for each in stack.status() if each.service == "cloud-run"]
    assert status.condition == "running"
    assert set(status.addresses) == {"http", "grpc", "proxy"}


def test_up_makes_the_desks_jobs_and_a_second_up_changes_nothing(stack):
    names = {job["name"].rsplit("/", 1)[1] for job in jobs(stack)}
    assert names == {*read_jobs(containers() / "jobs.yaml"), "bot-paper"}
    before = jobs(stack)
    assert stack.up().started == ()
    assert jobs(stack) == before


def test_the_exports_lead_a_stock_client_to_it(stack):
    program = """
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
client = run_v2.JobsClient(credentials=AnonymousCredentials())
print(len(list(client.list_jobs(parent="projects/mbats-test/locations/europe-west1"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=cloud_run_exports(stack),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(jobs(stack))


def test_the_exports_name_the_project(stack):
    made = cloud_run_exports(stack)
    assert made["GOOGLE_CLOUD_PROJECT"] == made["CLOUDSDK_CORE_PROJECT"] == "mbats-test"
    connection = json.loads(made["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])
    assert connection["extra"] == {"project": "mbats-test", "is_anonymous": True}


def test_without_it_the_exports_say_so(tmp_path):
    stack = Stack(Settings(home=tmp_path / ".mbats"), (CLOUD_RUN_SERVICE,))
    with pytest.raises(NotReadyError, match="does not run"):
        cloud_run_exports(stack)


@pytest.mark.parametrize(
    ("dockerfile", "level", "said"),
    [
        ('FROM x\nENTRYPOINT ["mbats"]\n', "ok", "desk"),
        ("FROM x\nENTRYPOINT mbats\n", "wrong", "shell form"),
        (None, "wrong", "no image 'desk'"),
    ],
)
def test_doctor_looks_at_the_images_of_the_jobs(tmp_path, monkeypatch, dockerfile, level, said):
    (tmp_path / "desk").mkdir()
    (tmp_path / "jobs.yaml").write_text((containers() / "jobs.yaml").read_text())
    if dockerfile:
        (tmp_path / "desk" / "Dockerfile").write_text(dockerfile)
    monkeypatch.setattr(doctor, "containers", lambda: tmp_path)
    stack = Stack(Settings(home=tmp_path / ".mbats"), (CLOUD_RUN_SERVICE,))
    [finding] = [f for f in doctor.examine(stack, {}) if f.check == "containers"]
    assert finding.level == level
    assert said in finding.what
    assert bool(finding.mend) == (level == "wrong")


def test_a_secret_is_in_no_launch(stack):
    launch = cloud_run_service.CLOUD_RUN_SERVICE.launch(
        type(stack.site)(
            stack.settings.model_copy(update={"oanda_token": "a-token"}),
            {each.service: dict.fromkeys(each.addresses, 1) for each in stack.status()},
        )
    )
    assert "a-token" not in json.dumps([launch.command, dict(launch.environment)])
