"""`mbats jobs`: the local Cloud Run's jobs, for people."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table
from mbats.errors import ConfigError, NotReadyError

if TYPE_CHECKING:
    from mbats.local.cloud_run.caller import Caller

app = typer.Typer(
    name="jobs", no_args_is_help=True, help="Jobs of the local Cloud Run: list, run, look, cancel."
)

ExecutionArgument = Annotated[str, typer.Argument(help="an execution, as `mbats jobs executions`")]


@app.command("list", epilog="Example: mbats jobs list")
def list_jobs(as_json: JsonFlag = False) -> None:
    """List the jobs, what they run, and how their latest execution stands."""
    jobs = _caller().jobs()
    if as_json:
        emit_json(jobs)
        return
    columns = ("job", "image", "arguments", "ready", "latest execution", "status")
    people.print(table("Jobs", columns, [_job_row(job) for job in jobs]))


@app.command(epilog="Example: mbats jobs run backtest -- backtest sma_reversal --from 2020-01-01")
def run(
    job: Annotated[str, typer.Argument(help="name of the job")],
    args: Annotated[
        list[str] | None, typer.Argument(help="arguments in place of the job's own, after --")
    ] = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="how many tasks")] = None,
    wait: Annotated[bool, typer.Option(help="wait until it ends, then show its log")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Run a job; exit with 6 if it fails."""
    caller = _caller()
    operation, execution = caller.run(job, args or [], tasks)
    name = _short(execution)
    if not wait:
        emit_json(execution) if as_json else people.print(f"Started {name}.", markup=False)
        return
    try:
        execution = caller.wait(operation)
    finally:
        if not as_json:
            people.print(caller.log(name), markup=False, soft_wrap=True, end="")
    if as_json:
        emit_json(execution)
    else:
        people.print(f"{name}: {_status(execution)}", markup=False)


@app.command(epilog="Example: mbats jobs executions backtest --limit 5")
def executions(
    job: Annotated[str | None, typer.Argument(help="name of the job; all jobs without")] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many, the newest first")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List the newest executions and how they ended."""
    found = _caller().executions(job, limit)
    if as_json:
        emit_json(found)
        return
    columns = ("execution", "created", "status", "done", "failed", "tasks", "message")
    rows = [
        (
            _short(each),
            each["createTime"][:19].replace("T", " "),
            _status(each),
            each.get("succeededCount", 0),
            each.get("failedCount", 0),
            each["taskCount"],
            _completed(each).get("message", ""),
        )
        for each in found
    ]
    people.print(table("Executions", columns, rows, right=("done", "failed", "tasks")))


@app.command(epilog="Example: mbats jobs logs backtest-x7k2q")
def logs(execution: ExecutionArgument, as_json: JsonFlag = False) -> None:
    """Print what every task of an execution wrote, attempt by attempt."""
    text = _caller().log(execution)
    if as_json:
        emit_json({"execution": execution, "log": text})
    else:
        typer.echo(text, nl=False)


@app.command(epilog="Example: mbats jobs cancel backtest-x7k2q")
def cancel(execution: ExecutionArgument, as_json: JsonFlag = False) -> None:
    """End an execution: SIGTERM, then SIGKILL; return when it has ended."""
    ended = _caller().cancel(execution)
    if as_json:
        emit_json(ended)
    else:
        people.print(f"{execution}: {_status(ended)}", markup=False)


def _caller() -> "Caller":
    from mbats.local.cloud_run.caller import Caller

    settings = context.settings()
    if settings.profile != "local":
        raise ConfigError(
            "These are the jobs of the local Cloud Run.",
            mend="use `gcloud run jobs` in the cloud, or profile `local`",
        )
    if settings.cloud_run_endpoint is None:
        raise NotReadyError("The local Cloud Run does not run.", mend="mbats up")
    return Caller(settings.cloud_run_endpoint, settings.project)


def _job_row(job: dict[str, Any]) -> tuple[object, ...]:
    [container] = job["template"]["template"]["containers"]
    latest = job.get("latestCreatedExecution", {})
    ready = job["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    return (
        _short(job),
        container["image"].rsplit("/", 1)[1],
        " ".join(container.get("args", ())),
        "yes" if ready else "no",
        latest.get("name", ""),
        latest.get("completionStatus", "").removeprefix("EXECUTION_").lower(),
    )


def _short(resource: dict[str, Any]) -> str:
    return str(resource["name"]).rsplit("/", 1)[1]


def _completed(execution: dict[str, Any]) -> dict[str, Any]:
    return next((c for c in execution["conditions"] if c["type"] == "Completed"), {})


def _status(execution: dict[str, Any]) -> str:
    condition = _completed(execution)
    if condition.get("executionReason") == "CANCELLED":
        return "cancelled"
    states = {"CONDITION_SUCCEEDED": "succeeded", "CONDITION_FAILED": "failed"}
    return states.get(condition.get("state", ""), "running")
