"""What a container runs, where there are no containers: its Dockerfile's entry point.

The last path part of an image's repository names a folder under ``containers/``. Of its
Dockerfile only ENTRYPOINT and CMD count here; ENV, WORKDIR and USER belong to the image.
https://docs.docker.com/reference/dockerfile/#understand-how-cmd-and-entrypoint-interact
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from google.cloud.run_v2 import types as run

from mbats.errors import DataError


@dataclass(frozen=True)
class EntryPoint:
    """ENTRYPOINT and CMD of an image."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


def repository(image: str) -> str:
    """Return the last path part of an image's repository: ``desk`` of ``host/p/desk:v1@sha256:…``.

    Raises :class:`DataError` for what is no image's name.
    """
    name = image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
    if not re.fullmatch(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*", name):
        raise DataError(f"{image!r} is no name of a container image.", mend="registry/path/name")
    return name


def command(containers: Path, container: run.Container) -> list[str]:
    """Return the command line of a container of the desk.

    As in Cloud Run, the container's command replaces ENTRYPOINT and CMD, its arguments replace CMD.
    Raises :class:`DataError` where the image has no folder or no exec-form entry point.
    """
    file = containers / repository(container.image) / "Dockerfile"
    image = read(file)
    if container.command:
        words = [*container.command, *container.args]
    else:
        words = [*image.entrypoint, *(container.args or image.cmd)]
    if not words:
        raise DataError(f"{file} has no entry point.", mend=f'add ENTRYPOINT ["..."] to {file}')
    return words


def read(file: Path) -> EntryPoint:
    """Return the entry point of a Dockerfile's last stage."""
    try:
        text = file.read_text()
    except OSError as error:
        raise DataError(
            f"There is no image {file.parent.name!r}: {file} cannot be read.",
            tried=[str(error)],
            mend=f"make {file}, or use an image that has a folder in {file.parent.parent}",
        ) from error
    stages: dict[str, EntryPoint] = {}
    now, name = EntryPoint(), ""
    for word, rest in _instructions(text):
        if word == "FROM":
            parts = [part for part in rest.split() if not part.startswith("--")]
            now = stages.get(parts[0].lower(), EntryPoint()) if parts else EntryPoint()
            name = parts[2].lower() if len(parts) > 2 else ""
        elif word == "ENTRYPOINT":
            now = EntryPoint(_exec_form(file, word, rest))  # it also clears an inherited CMD
        elif word == "CMD":
            now = replace(now, cmd=_exec_form(file, word, rest))
        if name:
            stages[name] = now
    return now


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()


def _exec_form(file: Path, word: str, rest: str) -> tuple[str, ...]:
    try:
        words = json.loads(rest)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(each, str) for each in words):
        raise DataError(
            f"{file}: {word} is in shell form: {rest[:80]}",
            mend=f'write it as {word} ["program", "argument"]',
        )
    return tuple(words)
