"""The names of resources, and the rules that Google has for them."""

import re
from dataclasses import dataclass

from mbats.local.cloud_run.refusals import invalid

_PROJECT = r"[a-z0-9][a-z0-9:.-]{0,62}"
_LOCATION = r"[a-z]+-[a-z]+[0-9]"
_ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_RUN_ID = r"[a-z][a-z0-9-]{0,80}"
_PARENT = f"projects/{_PROJECT}/locations/{_LOCATION}"

JOB_ID = re.compile(_ID)
PARENT = re.compile(_PARENT)
JOB = re.compile(f"{_PARENT}/jobs/{_ID}")
EXECUTION = re.compile(f"{_PARENT}/jobs/{_ID}/executions/{_RUN_ID}")
TASK = re.compile(f"{_PARENT}/jobs/{_ID}/executions/{_RUN_ID}/tasks/{_RUN_ID}")
OPERATION = re.compile(f"{_PARENT}/operations/[A-Za-z0-9-]+")

_SHAPES = {
    PARENT: "projects/{project}/locations/{location}",
    JOB: "projects/{project}/locations/{location}/jobs/{job}",
    EXECUTION: "projects/{project}/locations/{location}/jobs/{job}/executions/{execution}",
    TASK: "projects/{project}/locations/{location}/jobs/{job}/executions/{execution}/tasks/{task}",
    OPERATION: "projects/{project}/locations/{location}/operations/{operation}",
}


def checked(name: str, kind: re.Pattern[str], field: str = "name") -> str:
    """Return ``name``; refuse one that is not of the kind."""
    if not kind.fullmatch(name):
        invalid(f"Invalid value for '{field}': {name!r}. Expected {_SHAPES[kind]}.")
    return name


def checked_job_id(job_id: str) -> str:
    """Return the id of a new job; refuse one that breaks Google's rule."""
    if not JOB_ID.fullmatch(job_id):
        invalid(
            f"Violation in CreateJobRequest.job_id: {job_id!r}. Only lowercase, digits, and"
            " hyphens; must begin with letter, and may not end with hyphen; must be less than"
            " 64 characters."
        )
    return job_id


@dataclass(frozen=True)
class Place:
    """Project and location of a resource."""

    project: str
    location: str

    @property
    def parent(self) -> str:
        """The name that jobs and operations begin with."""
        return f"projects/{self.project}/locations/{self.location}"


def place(name: str) -> Place:
    """Return where a resource is."""
    _, project, _, location, *_ = name.split("/")
    return Place(project, location)


def last(name: str) -> str:
    """Return the last part of a name."""
    return name.rsplit("/", 1)[-1]


def parent(name: str) -> str:
    """Return the name of the resource that holds this one."""
    return name.rsplit("/", 2)[0]
