"""The stack's memory, ``<home>/stack.json``: which processes run and where the desk finds them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from mbats.config import STACK_NAME
from mbats.local import processes
from mbats.local.service import Ports


@dataclass(frozen=True)
class Record:
    """A process of the stack.

    ``started`` is its start, as :func:`mbats.local.processes.started` says. ``launch`` is the
    fingerprint of how it was started. ``endpoints`` are the settings that point at it, valid once
    ``ready``.
    """

    service: str
    pid: int
    started: float
    ports: Ports
    launch: str
    endpoints: Mapping[str, str]
    ready: bool = False

    def process(self) -> psutil.Process | None:
        """Return the living process, or None if it ended or its id is someone else's now."""
        return processes.find(self.pid, self.started)


def read(home: Path) -> dict[str, Record]:
    """Return the records by service. An unreadable file counts as none.

    Nothing is lost by that: the processes themselves say whose they are.
    """
    return _parse(home / STACK_NAME) or {}


def is_readable(home: Path) -> bool:
    """Say whether the state, if there is one, can be read."""
    return _parse(home / STACK_NAME) is not None


def _parse(file: Path) -> dict[str, Record] | None:
    try:
        document = json.loads(file.read_text())
        return {each["service"]: Record(**each) for each in document["processes"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        return None


def endpoints(records: Mapping[str, Record]) -> dict[str, str]:
    """Return the settings that point at the services that are ready."""
    return {k: v for r in records.values() if r.ready for k, v in r.endpoints.items()}


def write(home: Path, records: Mapping[str, Record]) -> None:
    """Replace the state at once; remove it when nothing runs."""
    file = home / STACK_NAME
    if not records:
        file.unlink(missing_ok=True)
        return
    home.mkdir(parents=True, exist_ok=True)
    document = {
        "endpoints": endpoints(records),
        "processes": [asdict(record) for record in records.values()],
    }
    draft = file.with_suffix(".new")
    with draft.open("w") as out:
        out.write(json.dumps(document, indent=2) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
