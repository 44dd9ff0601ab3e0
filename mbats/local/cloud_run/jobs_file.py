"""The jobs of the desk, read from ``containers/jobs.yaml``: the file that Terraform reads too.

The folder ``containers`` also holds a folder an image; a wheel carries a copy of it.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbats.errors import ConfigError, DataError

_PACKAGED = Path(__file__).parents[2] / "_containers"
_IN_TREE = Path(__file__).parents[3] / "containers"

JOB_NAME = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAME = Annotated[str, Field(pattern=JOB_NAME)]


class JobSpec(BaseModel):
    """One job. ``hours`` limits one attempt of a task; ``parallelism`` 0 is as many as there are.

    ``broker`` says what it needs of the broker: ``trading`` the desk's own and its token,
    ``history`` a practice account, ``none`` nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    image: _NAME
    account: _NAME
    args: tuple[str, ...] = Field(strict=False)
    cpu: str = Field(pattern=r"^([1-9][0-9]*|[1-9][0-9]*m)$")
    memory: str = Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$")
    hours: int = Field(ge=1, le=168)
    retries: int = Field(ge=0, le=10)
    parallelism: int = Field(default=1, ge=0)
    broker: Literal["none", "history", "trading"] = "none"


class _Loader(yaml.SafeLoader):
    """YAML whose mappings name no key twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    made: dict[Hashable, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in made:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} is named twice", key_node.start_mark
            )
        made[key] = loader.construct_object(value_node, deep=True)
    return made


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def containers() -> Path:
    """Return the folder ``containers`` of this desk. Raises :class:`ConfigError` without one."""
    for place in (_PACKAGED, _IN_TREE):
        if place.is_dir():
            return place
    raise ConfigError(
        "The containers of the desk are not where the library looks.",
        tried=[str(_PACKAGED), str(_IN_TREE)],
        mend="install mbats from its wheel, or run it from a checkout",
    )


def read_jobs(file: Path) -> dict[str, JobSpec]:
    """Return the jobs of a file by name, in its order.

    Raises :class:`DataError` that names the file, the job and the field that is wrong.
    """
    try:
        document = yaml.load(file.read_text(), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}.", mend=f"restore {file}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{file} is not valid YAML: {error}", mend=f"correct {file}") from error
    if not isinstance(document, dict):
        raise DataError(f"{file} holds no jobs by name.", mend=f"correct {file}")
    return {_name(file, name): _job(file, str(name), value) for name, value in document.items()}


def _name(file: Path, name: object) -> str:
    if isinstance(name, str) and re.match(JOB_NAME, name):
        return name
    raise DataError(
        f"{file}: {name!r} is no name of a job.",
        mend="a name is lower-case letters, digits and hyphens, and begins with a letter",
    )


def _job(file: Path, name: str, value: object) -> JobSpec:
    try:
        return JobSpec.model_validate(value)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or name}: {e['msg']}" for e in error.errors()]
        raise DataError(
            f"{file}: the job {name!r} is wrong.", tried=problems, mend=f"correct {name} in {file}"
        ) from None
