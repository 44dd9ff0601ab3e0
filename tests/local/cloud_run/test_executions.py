"""What an execution does, over gRPC and REST alike."""

import asyncio
import json
import signal

import psutil
import pytest
from google.cloud import run_v2
from google.longrunning import operations_pb2
from local.cloud_run.conftest import PARENT, START, clients_of, log_of, read_pid

from mbats.local.cloud_run import container
from mbats.local.cloud_run.conditions import BROKEN, STOPPED
from mbats.local.cloud_run.running import serving

Status = run_v2.ExecutionReference.CompletionStatus
State = run_v2.Condition.State
Reason = run_v2.Condition.ExecutionReason


def completed(execution):
    return next(each for each in execution.conditions if each.type_ == "Completed")


def counts(execution):
    return (
        execution.succeeded_count,
        execution.failed_count,
        execution.cancelled_count,
        execution.running_count,
        execution.retried_count,
    )


def tasks_of(clients, execution):
    return list(clients.tasks.list_tasks(parent=execution.name))


def test_a_success(clients, config):
    job = clients.create("greet", "say=hello", labels={"team": "fx"})
    operation, name = clients.run("greet")
    done = clients.wait(operation)
    execution = clients.executions.get_execution(name=name)
    assert counts(execution) == (1, 0, 0, 0, 0)
    assert {c.type_: c.state for c in execution.conditions} == dict.fromkeys(
        ("Completed", "ResourcesAvailable", "Started", "ContainerReady"), State.CONDITION_SUCCEEDED
    )
    assert (execution.create_time, execution.start_time, execution.completion_time) == (START,) * 3
    assert execution.job == "greet"
    assert execution.labels == {"team": "fx"}
    assert not execution.reconciling
    response = run_v2.Execution.deserialize(done.response.value)
    assert response == execution
    assert log_of(config, execution) == "hello\n"
    job = clients.jobs.get_job(name=job.name)
    assert job.execution_count == 1
    assert job.latest_created_execution.name == name.rsplit("/", 1)[1]
    assert job.latest_created_execution.completion_status == Status.EXECUTION_SUCCEEDED
    [task] = tasks_of(clients, execution)
    assert task.name == f"{name}/tasks/{name.rsplit('/', 1)[1]}-task0"
    assert task.last_attempt_result.exit_code == 0
    assert clients.tasks.get_task(name=task.name) == task


def test_googles_future_ends_with_the_execution(clients):
    clients.create("greet")
    execution = clients.jobs.run_job(name=f"{PARENT}/jobs/greet").result(timeout=60)
    assert counts(execution) == (1, 0, 0, 0, 0)


def test_a_failure_ends_the_operation_with_an_error(clients):
    clients.create("fail", "exit=3", retries=2)
    operation, name = clients.run("fail")
    done = clients.wait(operation)
    execution = clients.executions.get_execution(name=name)
    short = name.rsplit("/", 1)[1]
    said = f"Task {short}-task0 failed with exit code: 3"
    assert (done.error.code, done.error.message) == (10, said)
    assert counts(execution) == (0, 1, 0, 0, 2)
    assert completed(execution).state == State.CONDITION_FAILED
    assert completed(execution).execution_reason == Reason.NON_ZERO_EXIT_CODE
    [task] = tasks_of(clients, execution)
    assert (task.retried, task.last_attempt_result.exit_code) == (2, 3)
    status = clients.jobs.get_job(name=f"{PARENT}/jobs/fail").latest_created_execution
    assert status.completion_status == Status.EXECUTION_FAILED


def test_a_retry_that_works_is_a_success(clients, config):
    clients.create("shaky", "say=try", "exit-before=2", "say=done", retries=3)
    execution = clients.finish("shaky")
    assert counts(execution) == (1, 0, 0, 0, 2)
    assert [log_of(config, execution, attempt=n) for n in range(3)] == [
        "try\n",
        "try\n",
        "try\ndone\n",
    ]
    assert tasks_of(clients, execution)[0].retried == 2


def test_all_tasks_run_though_one_fails(clients):
    clients.create("many", "exit-as", task_count=4)
    operation, name = clients.run("many")
    assert "task1 failed with exit code: 1" in clients.wait(operation).error.message
    execution = clients.executions.get_execution(name=name)
    assert counts(execution) == (1, 3, 0, 0, 0)
    codes = {
        task.index: task.last_attempt_result.exit_code for task in tasks_of(clients, execution)
    }
    assert codes == {0: 0, 1: 1, 2: 2, 3: 3}


def test_a_task_killed_by_a_signal_says_so(clients):
    clients.create("killed", f"kill={signal.SIGKILL.value}")
    [task] = tasks_of(clients, clients.finish("killed"))
    result = task.last_attempt_result
    assert (result.exit_code, result.term_signal) == (137, 9)


def test_a_program_that_cannot_be_started_fails_with_the_shells_code(clients, config):
    clients.create("greet")
    job = clients.jobs.get_job(name=f"{PARENT}/jobs/greet")
    job.template.template.containers[0].command = ["no-such-program"]
    clients.jobs.update_job(job=job).result()
    execution = clients.finish("greet")
    assert tasks_of(clients, execution)[0].last_attempt_result.exit_code == 127
    assert "no-such-program" in log_of(config, execution)


def test_the_environment_of_a_task(clients, config):
    secret = {"secret_key_ref": {"secret": "s", "version": "1"}}
    env = [
        {"name": "A", "value": "job"},
        {"name": "B", "value": "job"},
        {"name": "MBATS_OANDA_TOKEN", "value_source": secret},
    ]
    clients.create("env", "env", task_count=2)
    job = clients.jobs.get_job(name=f"{PARENT}/jobs/env")
    clients.create("plain", "env")
    job.template.template.containers[0].env = env
    clients.jobs.update_job(job=job).result()
    execution = clients.finish(
        "env", container_overrides=[{"env": [{"name": "B", "value": "run"}]}]
    )
    told = json.loads(log_of(config, execution, index=1))
    wanted = {
        "A": "job",
        "B": "run",
        "MBATS_PROJECT": "mbats-test",
        "MBATS_OANDA_TOKEN": "a-token",
        "CLOUD_RUN_JOB": "env",
        "CLOUD_RUN_EXECUTION": execution.name.rsplit("/", 1)[1],
        "CLOUD_RUN_TASK_INDEX": "1",
        "CLOUD_RUN_TASK_COUNT": "2",
        "CLOUD_RUN_TASK_ATTEMPT": "0",
    }
    assert {name: told.get(name) for name in wanted} == wanted
    assert "SOMETHING_ELSE" not in told
    plain = json.loads(log_of(config, clients.finish("plain")))
    assert "MBATS_OANDA_TOKEN" not in plain


def test_overrides_change_this_run_alone(clients, config):
    clients.create("greet", "say=job")
    run = clients.finish(
        "greet",
        container_overrides=[{"args": ["say=run"]}],
        task_count=3,
        timeout={"seconds": 77},
    )
    assert (run.task_count, run.template.timeout.total_seconds()) == (3, 77)
    assert [log_of(config, run, index=n) for n in range(3)] == ["run\n"] * 3
    assert log_of(config, clients.finish("greet")) == "job\n"
    cleared = clients.finish("greet", container_overrides=[{"clear_args": True}])
    assert log_of(config, cleared) == "cmd\n"


def test_parallelism_bounds_what_runs_at_once(clients, let_pass, tmp_path, pipe):
    clients.create("wide", f"ready={pipe}", "pause", task_count=3, parallelism=1, timeout=60)
    operation, name = clients.run("wide")
    seen = []
    for _ in range(3):
        seen.append(read_pid(pipe))
        execution = clients.executions.get_execution(name=name)
        assert execution.running_count == 1
        assert [psutil.pid_exists(pid) for pid in seen] == [False] * (len(seen) - 1) + [True]
        let_pass(60)
    clients.wait(operation)


def test_the_timeout_ends_an_attempt_with_sigterm(clients, config, let_pass, pipe):
    clients.create("slow", "polite", f"ready={pipe}", "pause", timeout=60)
    operation, name = clients.run("slow")
    read_pid(pipe)
    let_pass(60)
    done = clients.wait(operation)
    execution = clients.executions.get_execution(name=name)
    assert done.error.message.endswith("failed with message: The configured timeout was reached.")
    assert log_of(config, execution) == "heard SIGTERM\n"
    assert counts(execution) == (0, 1, 0, 0, 0)


def test_what_does_not_hear_sigterm_is_killed_after_the_grace(clients, let_pass, pipe):
    clients.create("deaf", "deaf", f"ready={pipe}", "pause", timeout=60)
    operation, _ = clients.run("deaf")
    pid = read_pid(pipe)
    let_pass(60)
    let_pass(10)
    clients.wait(operation)
    assert not psutil.pid_exists(pid)


def test_what_a_task_started_ends_with_it(clients, config):
    clients.create("parent", "child")
    execution = clients.finish("parent")
    child = int(log_of(config, execution).split()[1])
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_cancel_ends_the_tasks_and_is_no_error_of_the_operation(clients, config, pipe):
    clients.create(
        "long", "polite", f"ready={pipe}", "pause", task_count=3, parallelism=1, retries=2
    )
    operation, name = clients.run("long")
    pid = read_pid(pipe)
    cancel = clients.executions.cancel_execution(name=name)
    done = clients.wait(operation)
    assert not done.HasField("error")
    execution = run_v2.Execution.deserialize(done.response.value)
    assert counts(execution) == (0, 0, 3, 0, 0)
    assert completed(execution).execution_reason == Reason.CANCELLED
    assert not psutil.pid_exists(pid)
    assert clients.wait(cancel.operation.name).response == done.response
    status = clients.jobs.get_job(name=f"{PARENT}/jobs/long").latest_created_execution
    assert status.completion_status == Status.EXECUTION_CANCELLED


def test_cancelling_the_operation_cancels_the_execution(cloud_run, clients, pipe):
    clients.create("long", f"ready={pipe}", "pause")
    operation, name = clients.run("long")
    read_pid(pipe)
    request = operations_pb2.CancelOperationRequest(name=operation)
    cloud_run.call(lambda server: server.api.cancel_operation(request))
    clients.wait(operation)
    assert clients.executions.get_execution(name=name).cancelled_count == 1


def test_a_wait_returns_after_its_timeout(cloud_run, clients, let_pass, pipe):
    clients.create("long", f"ready={pipe}", "pause")
    operation, _ = clients.run("long")
    read_pid(pipe)
    request = operations_pb2.WaitOperationRequest(name=operation)
    request.timeout.seconds = 5

    async def waited(server):
        return asyncio.ensure_future(server.api.wait_operation(request))

    waiting = cloud_run.call(waited)
    let_pass(5)

    async def result(server):
        return await waiting

    assert not cloud_run.call(result).done


def test_deleting_a_job_ends_and_forgets_its_executions(clients, config, pipe):
    clients.create("long", f"ready={pipe}", "pause")
    _, name = clients.run("long")
    pid = read_pid(pipe)
    deleted = clients.jobs.delete_job(name=f"{PARENT}/jobs/long").result()
    assert deleted.delete_time == START
    assert not psutil.pid_exists(pid)
    assert list(clients.jobs.list_jobs(parent=PARENT)) == []
    with pytest.raises(Exception, match="was not found"):
        clients.executions.get_execution(name=name)


def test_deleting_an_execution_takes_its_logs(clients, config):
    clients.create("greet", "say=x")
    execution = clients.finish("greet")
    clients.executions.delete_execution(name=execution.name).result()
    assert list(clients.executions.list_executions(parent=f"{PARENT}/jobs/greet")) == []
    with pytest.raises(FileNotFoundError):
        log_of(config, execution)


def test_a_server_that_is_closed_fails_what_runs(config, pipe):
    with serving(config) as first:
        clients = clients_of(first.addresses, "grpc")
        clients.create("long", "polite", f"ready={pipe}", "pause", retries=3)
        operation, name = clients.run("long")
        pid = read_pid(pipe)
    assert not psutil.pid_exists(pid)
    with serving(config) as second:
        clients = clients_of(second.addresses, "grpc")
        execution = clients.executions.get_execution(name=name)
        assert counts(execution) == (0, 1, 0, 0, 0)
        assert completed(execution).message == STOPPED
        assert clients.wait(operation).error.message == STOPPED


def test_a_fault_of_the_server_leaves_nothing_running_and_is_told(cloud_run, clients, config):
    def full(*process):
        raise OSError("disk full")

    clients.create("long", "child", "pause", task_count=2, parallelism=2)
    cloud_run.server.runner._store.note_process = full
    operation, name = clients.run("long")
    assert clients.wait(operation).error.message == BROKEN
    execution = clients.executions.get_execution(name=name)
    assert counts(execution) == (0, 2, 0, 0, 0)
    assert container.left_behind(str(config.folder.resolve()), []) == []
