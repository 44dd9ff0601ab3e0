import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mbats import config
from mbats.config import Settings
from mbats.errors import ConfigError, NotReadyError
from mbats.local import ports, processes, state
from mbats.local.stack import Stack
from tests.local.killing import kill


def pids(stack):
    return {each.service: each.pid for each in stack.status()}


def conditions(stack):
    return {each.service: each.condition for each in stack.status()}


def members(home):
    found = processes.tagged(home.resolve())
    return sorted(process.pid for each in found.values() for process in each)


def test_up_returns_when_all_answer_and_the_settings_find_them(fake_stack, home):
    stack = fake_stack()
    up = stack.up()
    assert up.started == ("storage", "bigquery")
    assert set(conditions(stack).values()) == {"running"}
    found = config.load(environ={}, flags={"home": home}).settings
    address = stack.status()[1].addresses["http"]
    assert found.bigquery_endpoint == up.settings.bigquery_endpoint == f"http://{address}"


def test_a_second_up_starts_nothing(fake_stack):
    stack = fake_stack()
    stack.up()
    before = pids(stack)
    assert fake_stack().up().started == ()
    assert pids(stack) == before


def test_down_leaves_no_process_no_state_and_no_listener(fake_stack, home):
    stack = fake_stack()
    stack.up()
    numbers = [int(a.split(":")[1]) for s in stack.status() for a in s.addresses.values()]
    assert stack.down() == ("bigquery", "storage")
    assert members(home) == []
    assert not (home / "stack.json").exists()
    assert all(ports.is_free(number) for number in numbers)
    assert stack.down() == ()


def test_down_stops_only_the_services_named(fake_stack):
    stack = fake_stack()
    stack.up()
    assert stack.down(["storage"]) == ("storage",)
    assert conditions(stack) == {"storage": "stopped", "bigquery": "running"}
    assert stack.running_settings().storage_endpoint is None


def test_a_crashed_service_alone_starts_anew_on_its_port(fake_stack):
    stack = fake_stack()
    stack.up()
    before = stack.status()
    kill(before[1].pid)
    assert conditions(stack) == {"storage": "running", "bigquery": "crashed"}
    assert stack.up().started == ("bigquery",)
    after = stack.status()
    assert after[0].pid == before[0].pid
    assert [each.addresses for each in after] == [each.addresses for each in before]


def test_a_service_that_hangs_starts_anew(fake_stack, service):
    stack = fake_stack(service("storage"), recheck=1)
    stack.up()
    hung = pids(stack)["storage"]
    os.kill(hung, signal.SIGSTOP)
    assert conditions(stack)["storage"] == "not answering"
    assert stack.up().started == ("storage",)
    assert pids(stack)["storage"] != hung


def test_a_service_whose_launch_changed_starts_anew(fake_stack, service):
    fake_stack(service("storage"), service("bigquery")).up()
    changed = fake_stack(service("storage"), service("bigquery", "parent"))
    assert changed.up().started == ("bigquery",)


def test_a_preferred_port_that_somebody_has_is_left_to_them(fake_stack, service):
    with socket.create_server((ports.HOST, 0)) as foreign:
        taken = foreign.getsockname()[1]
        stack = fake_stack(replace(service("storage"), ports={"http": taken}), any_ports=False)
        stack.up()
        assert stack.status()[0].addresses["http"] != f"{ports.HOST}:{taken}"
        socket.create_connection((ports.HOST, taken), timeout=5).close()


def test_a_free_preferred_port_is_used(fake_stack, service):
    with socket.create_server((ports.HOST, 0)) as probe:
        number = probe.getsockname()[1]
    stack = fake_stack(replace(service("storage"), ports={"http": number}), any_ports=False)
    stack.up()
    assert stack.status()[0].addresses["http"] == f"{ports.HOST}:{number}"


def test_when_a_crashed_service_lost_its_port_those_that_need_it_follow(fake_stack, service):
    stack = fake_stack(service("storage"), service("bigquery", needs="storage"))
    stack.up()
    before = stack.status()[0]
    kill(before.pid)
    number = int(before.addresses["http"].split(":")[1])
    with socket.create_server((ports.HOST, number), reuse_port=False):
        assert set(stack.up().started) == {"storage", "bigquery"}
        assert stack.status()[0].addresses != before.addresses


def test_a_stranger_that_answers_on_the_chosen_port_is_not_taken_for_ours(
    fake_stack, service, home, monkeypatch
):
    foreign = fake_stack(service("risk"))
    foreign.up()
    taken = int(foreign.status()[0].addresses["http"].split(":")[1])
    honest, choices = ports.choose, iter([taken])
    monkeypatch.setattr(ports, "choose", lambda w, t: next(choices, None) or honest(w, t))
    stack = fake_stack(service("storage"))
    assert stack.up().started == ("storage",)
    assert stack.status()[0].addresses["http"] != f"{ports.HOST}:{taken}"
    assert conditions(stack) == {"storage": "running"}
    assert conditions(foreign) == {"risk": "running"}


def test_a_stale_id_that_now_belongs_to_a_stranger_is_never_killed(fake_stack, home, stranger):
    stack = fake_stack()
    stack.up()
    document = json.loads((home / "stack.json").read_text())
    kill(document["processes"][0]["pid"])
    document["processes"][0]["pid"] = stranger.pid
    document["processes"][0]["started"] -= 1  # counted in hundredths: it may be the stranger's too
    (home / "stack.json").write_text(json.dumps(document))
    assert conditions(stack)["storage"] == "crashed"
    assert stack.up().started == ("storage",)
    document["processes"][1]["pid"] = stranger.pid
    document["processes"][1]["started"] -= 1
    (home / "stack.json").write_text(json.dumps(document))
    stack.down()
    assert stranger.is_running()
    assert stranger.status() != psutil.STATUS_ZOMBIE
    assert members(home) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"processes": [{"pid": 1}]}'])
def test_an_unreadable_state_costs_nothing_but_a_restart(fake_stack, home, text):
    stack = fake_stack()
    stack.up()
    before = set(pids(stack).values())
    (home / "stack.json").write_text(text)
    assert stack.up().started == ("storage", "bigquery")
    assert len(members(home)) == 2
    assert not before & set(members(home))


DIES_BEFORE_IT_WRITES = """
import os, sys
sys.path[:0] = [sys.argv[2]]
import conftest
from mbats.config import Settings
from mbats.local import state
from mbats.local.stack import Stack
state.write = lambda *_: os.kill(os.getpid(), 9)
Stack(Settings(home=sys.argv[1]), [conftest.fake_service("storage")], any_ports=True).up()
"""


def dead_start(home):
    ran = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_IT_WRITES, str(home), str(Path(__file__).parent)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    (left,) = members(home)
    return left


def test_up_stops_what_a_start_that_was_killed_left_behind(fake_stack, service, home):
    left = dead_start(home)
    stack = fake_stack(service("storage"))
    stack.up()
    assert members(home) == [pids(stack)["storage"]] != [left]


def test_down_stops_what_a_start_that_was_killed_left_behind(fake_stack, service, home):
    dead_start(home)
    assert fake_stack(service("storage")).down() == ("storage",)
    assert members(home) == []


def test_a_service_that_ends_at_once_is_an_error_with_its_log(fake_stack, service, home):
    stack = fake_stack(service("storage"), service("bigquery", "broken"))
    with pytest.raises(NotReadyError) as caught:
        stack.up()
    assert caught.value.cause == "Bigquery ended at once."
    assert "no room on the disk" in caught.value.tried
    assert caught.value.mend
    assert members(home) == []
    assert not (home / "stack.json").exists()


def test_a_service_that_never_answers_is_an_error_and_what_ran_before_stays(
    fake_stack, service, home
):
    stack = fake_stack(service("storage"))
    stack.up()
    ran = pids(stack)["storage"]
    with pytest.raises(NotReadyError, match="did not answer within"):
        fake_stack(service("storage"), service("bigquery", "silent"), patience=0.5).up()
    assert members(home) == [ran]
    assert conditions(stack) == {"storage": "running"}


def test_a_program_that_cannot_be_run_is_a_clear_error(fake_stack, service):
    from mbats.local.service import Launch

    absent = replace(service("storage"), launch=lambda site: Launch(("/no/such/program",)))
    with pytest.raises(NotReadyError, match="cannot be run"):
        fake_stack(absent).up()


def test_a_service_that_ignores_sigterm_is_killed(fake_stack, service, home):
    stack = fake_stack(service("storage", "stubborn"), grace=0.2)
    stack.up()
    assert stack.down() == ("storage",)
    assert members(home) == []


def test_the_children_of_a_service_end_with_it_even_when_it_crashed(fake_stack, service, home):
    stack = fake_stack(service("storage", "parent"))
    stack.up()
    assert len(members(home)) == 2
    kill(pids(stack)["storage"])
    assert len(members(home)) == 1
    stack.down()
    assert members(home) == []


def is_held(lock):
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_two_ups_at_once_wait_for_each_other(fake_stack, service, home):
    lock, held = home / "stack.lock", []

    def looks(site):
        held.append(is_held(lock))

    fake_stack(service("storage", fetch=looks, prepare=looks)).up()
    assert held == [True, True]
    assert not is_held(lock)


def test_two_stacks_of_one_user_choose_their_ports_one_after_the_other(
    fake_stack, service, tmp_path, monkeypatch
):
    lock, held = tmp_path / "machine.lock", []
    monkeypatch.setattr("mbats.local.stack._machine_lock", lambda: lock)
    watched = service("storage")

    def launch(site):
        held.append(is_held(lock))
        return watched.launch(site)

    fake_stack(replace(watched, launch=launch)).up()
    assert held == [True]
    assert not is_held(lock)


HOLDS = """
import sys, time
from pathlib import Path
from mbats.local.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_goes_when_its_holder_is_killed(tmp_path):
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDS, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_held(lock)
        holder.kill()
    assert not is_held(lock)


def test_prepare_runs_at_every_up(fake_stack, service):
    seen = []
    stack = fake_stack(service("storage", prepare=lambda site: seen.append(site.ports)))
    stack.up()
    stack.up()
    assert len(seen) == 2


def test_a_stack_with_a_failed_prepare_is_not_ready_and_recovers(fake_stack, service):
    def refuse(site):
        raise NotReadyError("refused")

    with pytest.raises(NotReadyError):
        fake_stack(service("storage", prepare=refuse)).up()
    stack = fake_stack(service("storage"))
    assert conditions(stack) == {"storage": "starting"}
    assert stack.running_settings().storage_endpoint is None
    assert stack.up().started == ()
    assert conditions(stack) == {"storage": "running"}


def test_a_stack_leaves_the_services_of_another_caller_alone(fake_stack, service):
    fake_stack(service("storage")).up()
    both = fake_stack(service("storage"), service("bigquery"))
    assert fake_stack(service("bigquery")).up().started == ("bigquery",)
    assert conditions(both) == {"storage": "running", "bigquery": "running"}
    assert both.running_settings().storage_endpoint is not None


def test_the_cloud_profile_has_no_stack(home):
    with pytest.raises(ConfigError, match="no place in profile 'gcp'"):
        Stack(Settings(home=home, profile="gcp")).up()


def test_a_long_log_is_set_aside(fake_stack, service, home):
    log = home / "logs" / "storage.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (processes.LOG_LIMIT + 1))
    fake_stack(service("storage")).up()
    assert log.stat().st_size < processes.LOG_LIMIT
    assert log.with_suffix(".log.1").stat().st_size == processes.LOG_LIMIT + 1


def test_the_state_is_replaced_at_once(fake_stack, home, monkeypatch):
    stack = fake_stack()
    stack.up()
    before = (home / "stack.json").read_text()

    def power_cut(descriptor):
        raise OSError("power cut")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        state.write(home, {"storage": state.read(home)["storage"]})
    assert (home / "stack.json").read_text() == before


def test_a_clock_that_is_set_changes_nothing_about_what_runs(
    fake_stack, home, monkeypatch, stop_abandoned
):
    stack = fake_stack()
    stack.up()
    before = stack.status()
    me = os.getpid()
    (home / "session.json").write_text(json.dumps([me, processes.started(me)]))
    truly = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: truly + 3600)
    stop_abandoned()
    assert stack.up().started == ()
    assert [(s.condition, s.pid) for s in stack.status()] == [("running", s.pid) for s in before]
    moved = [now.since - then.since for now, then in zip(stack.status(), before, strict=True)]
    assert [round(each.total_seconds()) for each in moved] == [3600, 3600]


def test_only_the_stack_of_a_dead_test_session_is_swept_up(
    fake_stack, home, stranger, stop_abandoned
):
    fake_stack().up()
    stop_abandoned()
    assert len(members(home)) == 2
    (home / "session.json").write_text(json.dumps([stranger.pid, processes.started(stranger.pid)]))
    stop_abandoned()
    assert len(members(home)) == 2
    stranger.kill()
    stranger.wait()
    stop_abandoned()
    assert members(home) == []
