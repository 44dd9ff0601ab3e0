"""The tick pipeline on this machine: in an environment of its own, with this library's code."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mbats
from mbats.config import SECRETS, Settings
from mbats.errors import (
    ConfigError,
    DataError,
    MbatsError,
    NotReadyError,
    RefusedError,
    RunFailedError,
)
from mbats.local.environments import Environment, Environments, Say, silent

BEAM = Environment("beam", "3.13")
PROGRAM = "mbats.batch.ticks_to_bars"

_ERRORS: dict[int, type[MbatsError]] = {
    kind.exit_code: kind for kind in (ConfigError, DataError, NotReadyError, RefusedError)
}


def ticks_to_bars(
    settings: Settings, arguments: Sequence[str], say: Say = silent
) -> Iterator[dict[str, Any]]:
    """Run the pipeline; yield what it tells: an object a series and granularity, then the counters.

    ``arguments`` are those of :mod:`mbats.batch.request` and of Beam. Raises the error that the
    pipeline ended with, and :class:`RunFailedError` with the end of its log where that is no error
    of the desk. The process is stopped where the iterator is left before its end.
    """
    environments = Environments(settings.venvs or settings.home / "venvs")
    made = environments.ensure(BEAM, say)
    told = settings.model_dump_json(exclude=set(SECRETS))
    # A file, not a pipe: nobody reads a log while the answers are awaited, and a full pipe blocks.
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            [str(made / "bin" / "python"), "-m", PROGRAM, "--settings", told, *arguments],
            env={**os.environ, "PYTHONPATH": str(_importable(settings.home))},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
            if process.wait():
                log.seek(0)
                raise _error(process.returncode, log.read())
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _error(code: int, log: str) -> MbatsError:
    lines = [line for line in log.splitlines() if line.strip()]
    try:
        told = json.loads(lines[-1])
        return _ERRORS[code](told["cause"], tried=told["tried"], mend=told["mend"])
    except (IndexError, ValueError, KeyError, TypeError):
        return RunFailedError(f"The tick pipeline ended with code {code}.", tried=lines[-6:])


def _importable(home: Path) -> Path:
    """Return a folder from which this library is imported, and nothing of its environment.

    A checkout is one; of an installed library, whose folder holds all its neighbours, a folder with
    a link.
    """
    package = Path(mbats.__file__).resolve().parent
    if (package.parent / "pyproject.toml").is_file():
        return package.parent
    folder = home / "library"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / package.name
    if not link.is_symlink() or link.resolve() != package:
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return folder
