import subprocess
import sys

import pytest

from mbats.errors import NotReadyError
from mbats.local import keeper, processes, state
from mbats.local.keeper import READY, kept


def test_what_the_block_started_is_stopped_and_what_ran_before_stays(fake_stack, service, home):
    before = fake_stack(service("storage"))
    before.up()
    with kept(home.resolve()):
        fake_stack(service("storage"), service("bigquery")).up()
        assert set(state.read(home)) == {"storage", "bigquery"}
    assert set(state.read(home)) == {"storage"}
    assert before.status()[0].condition == "running"


def test_it_stops_all_that_was_started_when_the_starter_is_killed(fake_stack, service, home):
    command = [sys.executable, "-m", "mbats.local.keeper", str(home.resolve())]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == READY
    fake_stack(service("airflow")).up()
    (record,) = state.read(home).values()
    child.stdin.close()  # what the system does to a killed process's end of the pipe
    while child.poll() is None:
        processes.reap()
    assert child.returncode == 0
    assert record.process() is None
    assert state.read(home) == {}


def test_without_a_keeper_nothing_is_started(home, monkeypatch):
    monkeypatch.setattr(keeper.sys, "executable", "/bin/false")
    with pytest.raises(NotReadyError, match="exit code 1"), kept(home):
        pytest.fail("nobody would stop it")
