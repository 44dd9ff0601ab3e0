"""Which code made a run: the commit and the container image."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

GIT_SHA = "GIT_SHA"
IMAGE_DIGEST = "IMAGE_DIGEST"
DIRTY = "-dirty"


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


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no checkout: the run is recorded without a commit
    return done.stdout.strip()
