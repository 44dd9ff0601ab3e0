"""Virtual environments of the local stack, made by ``uv`` from hash-locked requirement sets.

An environment lives in ``<folder>/<name>`` and is made from ``requirements/<name>.txt``. Its stamp,
written last, is a digest of everything it was made from: no stamp or another one means that it
is made anew.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mbats.errors import ConfigError, NotReadyError
from mbats.local.lock import locked

Say = Callable[[str], None]

STAMP = ".made-from"
_PACKAGED = Path(__file__).parents[1] / "_requirements"
_IN_TREE = Path(__file__).parents[2] / "requirements"

_IMPORT_EXTENSIONS = """\
from duckdb_extensions import import_extension
for name in ("icu", "ducklake", "spatial", "avro", "httpfs"):
    import_extension(name)
"""


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Environment:
    """What an environment is made of.

    ``python`` is its version, as ``3.13``. ``finish`` is a Python program that the new
    interpreter runs once, with the folder ``home`` inside the environment as its home.
    """

    name: str
    python: str
    finish: str = ""


# DuckDB downloads an extension on first use unless it finds it in its home.
EMULATORS = Environment("emulators", "3.13", finish=_IMPORT_EXTENSIONS)
JAVA = Environment("java", "3.13")
AIRFLOW = Environment("airflow", "3.11")  # Composer's versions, by date: requirements/airflow.in


@lru_cache(maxsize=1)
def requirements() -> Path:
    """Return the folder of the requirement sets. Raises :class:`ConfigError` if there is none."""
    for place in (_PACKAGED, _IN_TREE):
        if place.is_dir():
            return place
    raise ConfigError(
        "The pinned requirement sets are not where the library looks.",
        tried=[str(_PACKAGED), str(_IN_TREE)],
        mend="install mbats from its wheel, or run it from a checkout",
    )


@dataclass(frozen=True)
class Environments:
    """The environments in one folder. Several processes may use it at once."""

    folder: Path

    def path(self, environment: Environment) -> Path:
        """Return where the environment is, made or not."""
        return self.folder / environment.name

    def home(self, environment: Environment) -> Path:
        """Return the home folder that ``finish`` filled."""
        return self.path(environment) / "home"

    def is_current(self, environment: Environment) -> bool:
        """Say whether the environment is whole and made from today's requirements."""
        made = self.path(environment)
        stamp = made / STAMP
        return (
            (made / "bin" / "python").exists()
            and stamp.is_file()
            and stamp.read_text() == digest(environment)
        )

    def ensure(self, environment: Environment, say: Say = silent) -> Path:
        """Return the environment's folder; make it first where it is missing, half-made or old.

        Raises :class:`NotReadyError` with uv's own words when it cannot be made.
        """
        if not self.is_current(environment):
            with locked(self.folder / f".{environment.name}.lock"):
                if not self.is_current(environment):  # another process may have made it meanwhile
                    say(f"making the environment `{environment.name}` (once)")
                    self._make(environment)
        return self.path(environment)

    def _make(self, environment: Environment) -> None:
        made, uv = self.path(environment), find_uv(self.folder)
        (made / STAMP).unlink(missing_ok=True)
        python = find_python(environment.python, uv)
        _run([uv, "venv", "--quiet", "--clear", "--no-project", "--python", python, str(made)])
        pins = str(requirements() / f"{environment.name}.txt")
        sync = [uv, "pip", "sync", "--quiet", "--require-hashes"]
        _run([*sync, "--python", str(made / "bin" / "python"), pins])
        if environment.finish:
            home = self.home(environment)
            home.mkdir()
            _run([str(made / "bin" / "python"), "-c", environment.finish], home=home)
        (made / STAMP).write_text(digest(environment))


def digest(environment: Environment) -> str:
    """Return the digest of all that the environment is made from."""
    pins = (requirements() / f"{environment.name}.txt").read_bytes()
    recipe = f"{environment.python}\n{environment.finish}\n".encode()
    return hashlib.sha256(recipe + pins).hexdigest()


def find_uv(folder: Path) -> str:
    """Return uv's path: beside this interpreter, in the environment ``uv`` of ``folder``, on PATH.

    Raises :class:`NotReadyError` that names all three.
    """
    beside = _uv_of_this_interpreter()
    made = folder / "uv" / "bin" / "uv"
    for found in (beside, str(made) if made.exists() else None, shutil.which("uv")):
        if found:
            return found
    raise NotReadyError(
        "There is no `uv`, which makes the stack's environments.",
        tried=["the package `uv` of this interpreter", str(made), "uv on PATH"],
        mend="make setup",
    )


def _uv_of_this_interpreter() -> str | None:
    try:
        import uv

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        return None


def machine_python(version: str) -> str | None:
    """Return the path of the machine's Python of ``version`` (as ``3.13``), if it has one.

    ``requirements/find-python`` looks by asking each candidate what it is; it is shared with
    the Makefile, which needs it before there is any environment.
    """
    script = requirements() / "find-python"
    found = subprocess.run(
        ["bash", str(script), version], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else None


def find_python(version: str, uv: str) -> str:
    """Return the path of a Python of ``version``: the machine's, else one that uv fetches.

    Raises :class:`NotReadyError`.
    """
    found = machine_python(version)
    if found:
        return found
    try:
        _run([uv, "python", "install", "--quiet", version])
        return _run([uv, "python", "find", "--managed-python", "--no-project", version]).strip()
    except NotReadyError as error:
        raise NotReadyError(
            f"There is no Python {version} on this machine and uv could not fetch one.",
            tried=["the names on PATH, pyenv's versions, /usr/local/bin", *error.tried],
            mend=f"install Python {version} (https://www.python.org), or give this machine "
            f"a network and run `uv python install {version}`",
        ) from error


def _run(command: Sequence[str], home: Path | None = None) -> str:
    environ = {**os.environ, **({"HOME": str(home)} if home else {})}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
        raise NotReadyError(
            f"`{Path(command[0]).name} {command[1]}` failed with exit code {ran.returncode}.",
            tried=[" ".join(command), *said[-4:]],
            mend="is the package registry reachable, and is there room on the disk? "
            "Then run the command again",
        )
    return ran.stdout
