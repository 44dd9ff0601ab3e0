import json
import os
import shutil
import signal
import socket
import time
from dataclasses import replace

import pytest

from mbats.config import Settings
from mbats.local import environments, ports, processes, pubsub_jar
from mbats.local.doctor import examine
from mbats.local.environments import EMULATORS, STAMP, digest
from mbats.local.service import Site
from mbats.local.stack import Stack
from tests.local.killing import kill


def wrong(stack, environ=(), clock=time.time):
    return {f.check: f for f in examine(stack, dict(environ), clock) if f.level == "wrong"}


def findings(stack):
    return {f.check: f for f in examine(stack, {})}


@pytest.fixture
def made(home):
    """The environment of the emulators, as far as the doctor looks."""
    path = Site(Settings(home=home)).environments.path(EMULATORS)
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").touch()
    (path / STAMP).write_text(digest(EMULATORS))
    return path


@pytest.fixture
def jar(home, tmp_path, monkeypatch):
    """A jar in the project's cache, and a machine without an SDK."""
    kept = pubsub_jar.cached_jar(Site(Settings(home=home)))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"jar")
    monkeypatch.setattr(pubsub_jar, "SHA256", pubsub_jar.sha256(kept))
    monkeypatch.setattr(pubsub_jar.shutil, "which", lambda name: None)
    return kept


@pytest.fixture
def healthy(fake_stack, made, jar):
    stack = fake_stack()
    stack.up()
    return stack


def test_a_healthy_stack_has_no_finding(healthy):
    assert wrong(healthy) == {}


def test_every_wrong_finding_has_a_mend(fake_stack, made, jar):
    (made / STAMP).unlink()
    jar.write_bytes(b"half")
    found = wrong(fake_stack(), {"HTTP_PROXY": "http://proxy:3128"}, clock=lambda: 0.0)
    assert set(found) == {"environment emulators", "pubsub jar", "clock", "proxy"}
    assert all(each.mend for each in found.values())


def test_a_fresh_clone_is_told_what_up_will_make(fake_stack, jar):
    found = findings(fake_stack())
    assert found["environment emulators"].level == "note"
    assert "mbats up" in found["environment emulators"].what
    assert "does not run" in found["storage"].what


def test_a_python_that_the_environment_wants_and_the_machine_lacks_is_a_note(
    fake_stack, jar, monkeypatch
):
    monkeypatch.setattr(environments, "machine_python", lambda version: None)
    found = findings(fake_stack())[f"python {EMULATORS.python}"]
    assert found.level == "note"
    assert "uv" in found.what


def test_an_environment_of_other_pins_is_old(healthy, made):
    (made / STAMP).write_text("others")
    assert "not of today's pins" in wrong(healthy)["environment emulators"].what


def test_a_jar_that_is_nowhere_is_a_finding(healthy, jar):
    jar.unlink()
    assert "gcloud components install" in wrong(healthy)["pubsub jar"].mend


def test_a_machine_without_java_is_a_note(healthy, monkeypatch):
    monkeypatch.setattr(pubsub_jar, "find_java", lambda: None)
    assert findings(healthy)["java"].level == "note"


def test_uv_missing_is_a_finding(healthy, monkeypatch):
    monkeypatch.setattr(environments, "_uv_of_this_interpreter", lambda: None)
    assert wrong(healthy)["uv"].mend == "make setup"


def test_a_full_disk_is_a_finding(healthy, monkeypatch):
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert "0.0 GB free" in wrong(healthy)["disk"].what


def test_a_clock_that_went_back_is_a_finding(healthy):
    assert "went back" in wrong(healthy, clock=lambda: time.time() - 86_400)["clock"].what


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"https_proxy": "http://p"}, {"proxy"}),
        ({"http_proxy": "http://p"}, {"proxy"}),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "example.com"}, {"proxy"}),
        ({"http_proxy": "http://p", "no_proxy": "example.com, 127.0.0.1"}, set()),
        ({"HTTP_PROXY": "", "NO_PROXY": ""}, set()),
    ],
)
def test_a_proxy_that_would_get_the_emulators_traffic_is_a_finding(healthy, environ, found):
    assert set(wrong(healthy, environ)) == found


def test_a_crash_is_told_with_the_last_line_of_the_log(healthy):
    status = healthy.status()[0]
    status.log.write_text("started\n[/] out of memory\n\n")
    kill(status.pid)
    found = wrong(healthy)
    assert set(found) == {"storage"}
    assert found["storage"].what.endswith("[/] out of memory")
    assert found["storage"].mend == "mbats up"


def test_a_stale_id_that_is_a_strangers_now_is_told(healthy, home, stranger):
    document = json.loads((home / "stack.json").read_text())
    kill(document["processes"][0]["pid"])
    document["processes"][0]["pid"] = stranger.pid
    (home / "stack.json").write_text(json.dumps(document))
    assert f"{stranger.pid} belongs to another program" in wrong(healthy)["storage"].what


def test_a_service_that_hangs_is_told(healthy):
    os.kill(healthy.status()[0].pid, signal.SIGSTOP)
    assert "does not answer" in wrong(healthy)["storage"].what


def test_a_start_that_broke_off_is_told(healthy, home):
    left = processes.spawn(
        home.resolve(), "pubsub", ["sleep", "600"], {}, home / "logs" / "pubsub.log"
    )
    assert f"left pubsub behind: process {left.pid}" in wrong(healthy)["state"].what


def test_a_service_that_never_became_ready_is_told(healthy, home):
    document = json.loads((home / "stack.json").read_text())
    document["processes"][0]["ready"] = False
    (home / "stack.json").write_text(json.dumps(document))
    assert "never became ready" in wrong(healthy)["storage"].what


def test_an_unreadable_state_is_told(fake_stack, made, jar, home):
    (home / "stack.json").write_text("{")
    assert "cannot be read" in wrong(fake_stack())["state"].what


def test_a_preferred_port_that_somebody_has_is_a_note(fake_stack, service, made, jar):
    with socket.create_server((ports.HOST, 0)) as foreign:
        number = foreign.getsockname()[1]
        stack = fake_stack(replace(service("storage"), ports={"http": number}))
        found = findings(stack)["storage"]
        assert found.level == "note"
        assert f"port {number} is" in found.what
        assert str(os.getpid()) in found.what


def test_a_setting_that_points_past_the_running_stack_is_told(healthy, home, service):
    elsewhere = Settings(home=home, storage_endpoint="http://127.0.0.1:1")
    assert set(wrong(Stack(elsewhere, [service("storage"), service("bigquery")]))) == {
        "storage_endpoint"
    }
