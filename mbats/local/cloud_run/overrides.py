"""What an execution runs: the job's template with the overrides of one run.

https://cloud.google.com/run/docs/execute/jobs#override-job-configuration
"""

from google.cloud.run_v2 import types as run

from mbats.local.cloud_run import job_rules
from mbats.local.cloud_run.refusals import invalid


def overridden(
    template: run.ExecutionTemplate, overrides: run.RunJobRequest.Overrides
) -> run.ExecutionTemplate:
    """Return a new template. Arguments replace, variables merge by name, the rest stays.

    Refuses what Cloud Run refuses: a container of another name, arguments given and cleared at
    once, a task count or timeout out of bounds, a reserved variable.
    """
    made = run.ExecutionTemplate(template)
    seen: set[str] = set()
    for override in overrides.container_overrides:
        container = _container(made, override.name)
        if container.name in seen:
            invalid(f"Container {container.name!r} is overridden twice.")
        seen.add(container.name)
        _override(container, override)
    if overrides.task_count:
        made.task_count = overrides.task_count
    if overrides.timeout:
        made.template.timeout = overrides.timeout
    job_rules.check(made)
    return made


def _container(template: run.ExecutionTemplate, name: str) -> run.Container:
    for container in template.template.containers:
        if name in ("", container.name):
            return container
    return invalid(f"The job has no container named {name!r}.")


def _override(
    container: run.Container, override: run.RunJobRequest.Overrides.ContainerOverride
) -> None:
    if override.clear_args and override.args:
        invalid("Only one of args and clear_args may be set in a container override.")
    if override.clear_args or override.args:
        container.args = list(override.args)
    env = {variable.name: variable for variable in container.env}
    env.update({variable.name: variable for variable in override.env})
    container.env = list(env.values())
