"""The variables of a container: Cloud Run's own, the job's, the local stack's."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from google.cloud.run_v2 import types as run

from mbats.local.cloud_run.container import TAG
from mbats.local.cloud_run.names import last

_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME")
_STACK = (
    "BIGQUERY_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "PUBSUB_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT",
    "MLFLOW_TRACKING_URI",
    "CLOUD_RUN_JOBS_EMULATOR_HOST",
    "_MBATS_STACK",
    "_MBATS_SERVICE",
)
SECRETS = ("MBATS_OANDA_TOKEN", "MBATS_OANDA_KILL_TOKEN")
"""Variables that a container gets only by asking for them as secrets."""


def base(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every container gets of the server's own variables.

    No secret is among them: a job names those that it wants. The interpreter's folder leads
    PATH, so that an entry point `mbats` or `python` is this installation's.
    """
    kept = {name: environ[name] for name in (*_MACHINE, *_STACK) if name in environ}
    kept |= {n: v for n, v in environ.items() if n.startswith("MBATS_") and n not in SECRETS}
    here = str(Path(sys.executable).parent)
    kept["PATH"] = os.pathsep.join([here, kept.get("PATH", os.defpath)])
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def of_task(
    base: Mapping[str, str],
    secrets: Mapping[str, str],
    execution: run.Execution,
    task: run.Task,
    attempt: int,
    tag: str,
) -> dict[str, str]:
    """Return the variables of one attempt (0 is the first) of a task.

    A variable that refers to a secret takes the variable of its own name from ``secrets``, and
    is left out where there is none. https://cloud.google.com/run/docs/container-contract
    """
    made = dict(base)
    for variable in task.containers[0].env:
        if variable.value_source.secret_key_ref.secret:
            if variable.name in secrets:
                made[variable.name] = secrets[variable.name]
        else:
            made[variable.name] = variable.value
    return made | {
        "CLOUD_RUN_JOB": last(task.job),
        "CLOUD_RUN_EXECUTION": last(execution.name),
        "CLOUD_RUN_TASK_INDEX": str(task.index),
        "CLOUD_RUN_TASK_COUNT": str(execution.task_count),
        "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
        TAG: tag,
    }
