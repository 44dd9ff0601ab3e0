import subprocess
import sys

from mbats.local import processes, state
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
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert keeper.stdout.readline() == READY
    fake_stack(service("airflow")).up()
    (record,) = state.read(home).values()
    keeper.stdin.close()  # what the system does to a killed process's end of the pipe
    while keeper.poll() is None:
        processes.reap()
    assert keeper.returncode == 0
    assert record.process() is None
    assert state.read(home) == {}
