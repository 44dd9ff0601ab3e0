"""The jobs of the desk as the local Cloud Run gets them: what Terraform makes of the same file."""

from collections.abc import Mapping
from typing import Any

from mbats.local import rest
from mbats.local.cloud_run.jobs_file import JobSpec

BOTS = {
    "000-001-0000001-001": "bot-paper",
}
"""Which bot trades an account, as Terraform's ``bots`` say it in the cloud: here the paper one."""

_BOT = JobSpec(
    image="desk",
    account="bot-paper",
    args=("live", "--paper"),
    cpu="1",
    memory="1Gi",
    hours=168,
    retries=0,
    parallelism=1,
    broker="trading",
)
_TOKENS = {"history": "oanda-practice-token", "trading": "oanda-practice-token"}


def make_jobs(port: int, specs: Mapping[str, JobSpec], project: str, region: str) -> None:
    """Create the jobs on the server at a port of this machine, or bring them up to date."""
    parent = f"/v2/projects/{project}/locations/{region}/jobs"
    bots = dict.fromkeys(BOTS.values(), _BOT)
    for name, spec in (bots | dict(specs)).items():
        body = document(spec, project, region)
        rest.make(port, "PATCH", f"{parent}/{name}?allowMissing=true", body)


def document(spec: JobSpec, project: str, region: str) -> dict[str, Any]:
    """Return a job as REST takes it.

    The project's settings come with the stack, so of the broker only the token is named: it is
    the server's own ``MBATS_OANDA_TOKEN``, where that is set, and a job that does not trade or
    load history does not get it.
    """
    secret = _TOKENS.get(spec.broker)
    env = [{"name": "MBATS_OANDA_TOKEN", "valueSource": _reference(secret)}] if secret else []
    container = {
        "image": f"{region}-docker.pkg.dev/{project}/mbats/{spec.image}",
        "args": list(spec.args),
        "env": env,
        "resources": {"limits": {"cpu": spec.cpu, "memory": spec.memory}},
    }
    task = {
        "containers": [container],
        "maxRetries": spec.retries,
        "timeout": f"{spec.hours * 3600}s",
        "serviceAccount": f"mbats-{spec.account}@{project}.iam.gserviceaccount.com",
    }
    return {
        "labels": {"desk": "mbats"},
        "template": {"taskCount": 1, "parallelism": spec.parallelism, "template": task},
    }


def _reference(secret: str) -> dict[str, Any]:
    return {"secretKeyRef": {"secret": secret, "version": "1"}}
