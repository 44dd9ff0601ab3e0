"""Which code made a run: the commit, the container image, and the code itself."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

GIT_SHA = "GIT_SHA"
IMAGE_DIGEST = "IMAGE_DIGEST"
DIRTY = "-dirty"

_ROOMS = ("market", "trading", "strategy", "backtest")
_COMPUTING = ("backtrader", "numpy", "pyarrow")


def git_sha(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> str | None:
    """Return the commit of the code, -dirty where the tree has changes; None outside a checkout.

    An image has no checkout, so the environment variable GIT_SHA, set when it is built, is first.
    """
    environ = os.environ if environ is None else environ
    if environ.get(GIT_SHA):
        return environ[GIT_SHA]
    folder = folder or Path(__file__).parent
    sha = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    if sha is None or changes is None:
        return None
    return f"{sha}{DIRTY}" if changes else sha


def image_digest(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the digest of the container image, from the environment variable IMAGE_DIGEST."""
    return (os.environ if environ is None else environ).get(IMAGE_DIGEST) or None


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Return a hash of all code that a result follows from, committed or not. SHA-256, hex.

    The rooms that a backtest is computed in, and the versions of what computes beside them; the
    strategy's own file is not in it.
    """
    digest = hashlib.sha256()
    for package in _COMPUTING:
        digest.update(f"{package} {version(package)}\n".encode())
    library = Path(__file__).parents[1]
    for room in _ROOMS:
        for file in sorted((library / room).glob("*.py")):
            digest.update(f"{room}/{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no checkout: the run is recorded without a commit
    return done.stdout.strip()
