"""The server is killed with -9 while an execution runs: what the next one says and does."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest
from local.cloud_run.conftest import clients_of, log_of, read_pid

from mbats.local import processes
from mbats.local.cloud_run.clients import Addresses
from mbats.local.cloud_run.conditions import STOPPED
from mbats.local.cloud_run.store import Store


@contextmanager
def process(config):
    """Serve in a process of its own; yield it and where it listens."""
    command = [sys.executable, "-m", "mbats.local.cloud_run", "--grace", "0.5"]
    for flag in ("folder", "containers", "workdir"):
        command += [f"--{flag}", str(getattr(config, flag))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
        try:
            said = {}
            while "serves" not in said.get("event", ""):
                said = json.loads(server.stdout.readline())
            _, _, http, _, grpc, _, proxy = said["event"].split()
            authority = config.folder / "tls" / "ca.pem"
            yield server, Addresses(http, grpc, proxy, authority)
        finally:
            server.kill()


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("manners", ["polite", "deaf"])
def test_a_restart_tells_the_truth_and_leaves_nothing_running(config, pipe, manners):
    with process(config) as (server, addresses):
        clients = clients_of(addresses, "grpc")
        clients.create("long", "child", manners, f"ready={pipe}", "pause", task_count=3, retries=2)
        clients.create("greet", "say=hello")
        done = clients.finish("greet")
        operation, name = clients.run("long", task_count=1)
        pid = read_pid(pipe)
        server.kill()
        server.wait()
        assert not gone(pid)  # the kill took the server alone
    execution = name.rsplit("/", 1)[1]
    log = config.folder / "logs" / execution / "task-0-attempt-0.log"
    child = int(log.read_text().split()[1])
    assert not gone(child)
    with process(config) as (_, addresses):
        assert gone(pid)
        assert gone(child)
        clients = clients_of(addresses, "rest")
        failed = clients.executions.get_execution(name=name)
        assert (failed.failed_count, failed.running_count) == (1, 0)
        assert failed.completion_time
        ended = next(each for each in failed.conditions if each.type_ == "Completed")
        assert ended.message == STOPPED
        error = clients.wait(operation).error
        assert (error.code, error.message) == (10, STOPPED)
        assert clients.executions.get_execution(name=done.name) == done
        assert log_of(config, clients.finish("greet")) == "hello\n"


def test_another_process_with_a_remembered_id_is_left_alone(config, pipe):
    """Only the id with its start time names a process: ids are used again."""
    config.folder.mkdir()
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        store = Store(config.folder)
        started = processes.started(stranger.pid)
        store.note_process(stranger.pid, started - 60, "projects/p/locations/l/jobs/j/executions/e")
        store.close()
        with process(config):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_sigterm_ends_the_server_and_what_it_runs(config, pipe):
    with process(config) as (server, addresses):
        clients = clients_of(addresses, "grpc")
        clients.create("long", "polite", f"ready={pipe}", "pause")
        clients.run("long")
        pid = read_pid(pipe)
        server.terminate()
        assert server.wait(timeout=30) == 0
        assert gone(pid)


def test_two_servers_do_not_share_a_folder(config):
    with process(config):
        command = [sys.executable, "-m", "mbats.local.cloud_run"]
        for flag in ("folder", "containers", "workdir"):
            command += [f"--{flag}", str(getattr(config, flag))]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 5
    assert "Another local Cloud Run works in" in second.stdout
