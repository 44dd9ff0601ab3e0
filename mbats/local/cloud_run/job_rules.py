"""What a job may be: Cloud Run's bounds and defaults.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs
"""

from collections.abc import Iterable
from datetime import timedelta

from google.cloud.run_v2 import types as run

from mbats.local.cloud_run.refusals import invalid

MOST_TASKS = 10_000
MOST_RETRIES = 10
LONGEST = timedelta(hours=168)
DEFAULT_TIMEOUT = timedelta(minutes=10)
DEFAULT_RETRIES = 3
_RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
_RESERVED_BEGINNINGS = ("CLOUD_RUN_", "X_GOOGLE_")


def completed(template: run.ExecutionTemplate) -> run.ExecutionTemplate:
    """Return a checked copy of the template, with Cloud Run's defaults where it says nothing."""
    made = run.ExecutionTemplate(template)
    check(made)
    made.task_count = made.task_count or 1
    task = made.template
    if "max_retries" not in task:
        task.max_retries = DEFAULT_RETRIES
    if not task.timeout:
        task.timeout = DEFAULT_TIMEOUT
    task.execution_environment = run.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2
    for container in task.containers:
        container.resources.limits.setdefault("cpu", "1000m")
        container.resources.limits.setdefault("memory", "512Mi")
    return made


def check(template: run.ExecutionTemplate) -> None:
    """Refuse a template that Cloud Run, or a machine without containers, could not run."""
    task = template.template
    if len(task.containers) != 1:
        invalid(f"A job of the local Cloud Run has one container, not {len(task.containers)}.")
    if not task.containers[0].image:
        invalid("Invalid value for 'template.template.containers[0].image': it is required.")
    if not 0 <= template.task_count <= MOST_TASKS:
        invalid(f"task_count must be between 1 and {MOST_TASKS}, not {template.task_count}.")
    if template.parallelism < 0:
        invalid(f"parallelism must not be negative, not {template.parallelism}.")
    if not 0 <= task.max_retries <= MOST_RETRIES:
        invalid(f"max_retries must be between 0 and {MOST_RETRIES}, not {task.max_retries}.")
    timeout = task.timeout or DEFAULT_TIMEOUT
    if not timedelta(seconds=1) <= timeout <= LONGEST:
        invalid(f"timeout must be between 1s and {LONGEST.total_seconds():g}s.")
    _check_env(task.containers[0].env)


def _check_env(env: Iterable[run.EnvVar]) -> None:
    names: set[str] = set()
    for variable in env:
        name = variable.name
        if not name or "=" in name or "\0" in name + variable.value:
            invalid(f"Invalid name or value of the environment variable {name!r}.")
        if name in _RESERVED or name.startswith(_RESERVED_BEGINNINGS):
            invalid(f"The following reserved env names were provided: {name}.")
        if name in names:
            invalid(f"The environment variable {name} is given twice.")
        names.add(name)
