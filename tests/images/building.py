"""Builds the images for real, with buildah, on stand-ins for what they begin with."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
WORK = ROOT / ".mbats" / "images"
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
GO = "docker.io/library/golang:1.26.8-bookworm"
LAUNCHER = (
    "gcr.io/dataflow-templates-base/python311-template-launcher-base"
    ":flex_templates_base_image_release_20260720_RC00"
)
PROXY = "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.23.0"
TOOLS = ("buildah", "debootstrap")

# Each image with what it is built on: its own ARG, and which of ours or of the stand-ins it names.
ORDER: Mapping[str, Mapping[str, str]] = {
    "desk": {"BASE": PYTHON},
    "streamer": {"DESK": "desk"},
    "preview": {"DESK": "desk"},
    "mlflow": {"BASE": PYTHON},
    "model-server": {"BASE": PYTHON, "MLFLOW": "mlflow"},
    "sql-proxy": {"PROXY": PROXY},
    "dataflow": {"BASE": PYTHON, "GO": GO, "LAUNCHER": LAUNCHER},
}


class CannotError(Exception):
    """This machine cannot build images, and why."""


def tag(image: str) -> str:
    """Return the local name of one of our images."""
    return f"localhost/mbats/{image}:local"


def missing_tools() -> list[str]:
    """Return what has to be installed first."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def install_tools(tools: Sequence[str]) -> None:
    """Install Debian's packages. Raises :class:`CannotError` where that is not possible."""
    if os.geteuid() or shutil.which("apt-get") is None:
        raise CannotError(f"{', '.join(tools)}: only root installs them, on Debian or Ubuntu")
    print(f"Installing {', '.join(tools)} from Debian", flush=True)
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "check": True}
    try:
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        words = ["apt-get", "install", "-y", "-qq", *tools]
        subprocess.run(words, stdout=subprocess.DEVNULL, **quiet)
    except subprocess.CalledProcessError as error:
        raise CannotError(f"{' '.join(error.cmd)} ended with {error.returncode}") from error


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own: nothing outside the checkout is touched."""

    folder: Path = WORK

    def words(self, *arguments: str) -> list[str]:
        """Return a command line."""
        storage = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["buildah", *storage, "--storage-driver", "vfs", *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command and return what it says. Raises RuntimeError with the end of it."""
        done = subprocess.run(
            self.words(*arguments), capture_output=True, text=True, check=False, cwd=ROOT
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"[-4000:]
            raise RuntimeError(
                f"buildah {' '.join(arguments)} ended with {done.returncode}:\n{said}"
            )
        return done.stdout

    def has(self, image: str) -> bool:
        """Tell whether there is such an image."""
        return bool(self.run("images", "--quiet", "--filter", f"reference={image}").strip())

    def build(self, folder: Path, dockerfile: Path, name: str, given: Mapping[str, str]) -> None:
        """Build a Dockerfile in the context ``folder``; what it begins with must be there."""
        arguments = [
            word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")
        ]
        self.run(
            *("bud", "--isolation", "chroot", "--pull-never", "--format", "docker", *arguments),
            *("--file", str(dockerfile), "--tag", name, str(folder)),
        )

    def begin(self) -> None:
        """Drop the containers that a run left behind which was killed."""
        self.run("rm", "--all")

    def prune(self) -> None:
        """Drop the images that a build has put another for, of which vfs keeps every layer."""
        self.run("rmi", "--prune", "--force")

    def size(self, image: str) -> int:
        """Return the bytes of an image: of all its layers."""
        found = json.loads(self.run("inspect", "--type", "image", image))
        return sum(_tree_size(self.folder, layer) for layer in self._layers(found))

    def _layers(self, found: Mapping[str, object]) -> list[str]:
        listed = json.loads((self.folder / "storage" / "vfs-images" / "images.json").read_text())
        (top,) = [each["layer"] for each in listed if each["id"] == found["FromImageID"]]
        return [top]  # vfs keeps every layer whole

    def config(self, image: str) -> Mapping[str, object]:
        """Return the image's configuration: Entrypoint, Cmd, User, Env, Labels."""
        document = json.loads(self.run("inspect", "--type", "image", image))
        config: Mapping[str, object] = document["Docker"]["config"]
        return config


def _tree_size(folder: Path, layer: str) -> int:
    tree = folder / "storage" / "vfs" / "dir" / layer
    done = subprocess.run(["du", "-sb", str(tree)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def build(buildah: Buildah, image: str) -> None:
    """Build one of our images of the checkout as it stands."""
    bases = {key: tag(on) if on in ORDER else on for key, on in ORDER[image].items()}
    given = {**bases, "REVISION": revision(), "SOURCE": "checkout"}
    buildah.build(ROOT, CONTAINERS / image / "Dockerfile", tag(image), given)


def revision() -> str:
    """Return the commit of the checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
