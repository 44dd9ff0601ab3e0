"""Builds the images for real, with buildah and without a registry.

No image can be pulled where there is no registry, so what a Dockerfile begins with is made here: a
Debian with Python under the name of the official image, and Google's Cloud SQL proxy from its Go
module. The Dockerfiles know nothing of it: their ARGs name what stands in.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
WORK = ROOT / ".mbats" / "images"
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
PROXY = "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.23.0"
PROXY_MODULE = "github.com/GoogleCloudPlatform/cloud-sql-proxy/v2@v2.23.0"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
TOOLS = ("buildah", "debootstrap")

# Each image with what it is built on: its own ARG, and which of ours or of the stand-ins it names.
ORDER: Mapping[str, Mapping[str, str]] = {
    "desk": {"BASE": PYTHON},
    "streamer": {"DESK": "desk"},
    "preview": {"DESK": "desk"},
    "mlflow": {"BASE": PYTHON},
    "model-server": {"BASE": PYTHON, "MLFLOW": "mlflow"},
    "sql-proxy": {"PROXY": PROXY},
}

# Not built with the others: it begins with Beam's and Google's own images, which have no stand-in,
# and only a desk that uses Dataflow needs it (docs/how-to/batch-bars.md).
APART = ("dataflow",)


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
    if not tools:
        return
    if os.geteuid() or shutil.which("apt-get") is None:
        raise CannotError(
            f"{', '.join(tools)} missing: install them, or run this as root on Debian"
        )
    print(f"Installing {', '.join(tools)} from Debian", flush=True)
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "check": True}
    subprocess.run(["apt-get", "update", "-qq"], **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", *tools], stdout=subprocess.DEVNULL, **quiet)


@dataclass(frozen=True)
class Buildah:
    """buildah with a storage of its own: nothing outside the checkout is touched."""

    folder: Path = WORK

    def words(self, *arguments: str) -> list[str]:
        """Return a command line."""
        storage = ["--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")]
        return ["buildah", *storage, "--storage-driver", "vfs", *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command and return what it says. Raises CalledProcessError with its output."""
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


def stand_in(buildah: Buildah, images: Sequence[str]) -> None:
    """Make what these images begin with, where it is not made yet."""
    begins = {base for image in images for base in ORDER[image].values()}
    for base, make in ((PYTHON, _python), (PROXY, _proxy)):
        if base in begins and not buildah.has(base):
            make(buildah)


def _python(buildah: Buildah) -> None:
    print(f"Making a stand-in for {PYTHON}", flush=True)
    folder = _empty(buildah.folder / "python")
    tree = folder / "tree"
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", tree, _mirror()],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotError(f"debootstrap ended with {done.returncode}: {done.stdout[-2000:]}")
    for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(tree / waste, ignore_errors=True)
        (tree / waste).mkdir(parents=True)
    shutil.rmtree(tree / "usr/share/locale", ignore_errors=True)  # as the official slim images
    for file in (CERTIFICATES, Path("/etc/pip.conf")):  # this machine's way to the package index
        if file.is_file():
            shutil.copy(file, tree / file.relative_to("/"))
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY tree/ /\n"
        f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}\n"
        'CMD ["python3"]\n'
    )
    buildah.build(folder, folder / "Dockerfile", PYTHON, {})
    shutil.rmtree(folder)


def _proxy(buildah: Buildah) -> None:
    if shutil.which("go") is None:
        raise CannotError("go is missing, which makes the stand-in of the Cloud SQL proxy")
    print(f"Making a stand-in for {PROXY}", flush=True)
    folder = _empty(buildah.folder / "proxy")
    # The checksum database is not reached from everywhere, and nothing made here is deployed.
    environ = {**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder), "GONOSUMDB": "*"}
    done = subprocess.run(
        ["go", "install", PROXY_MODULE], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotError(f"go install {PROXY_MODULE}: {done.stderr[-2000:]}")
    shutil.copy(CERTIFICATES, folder / "ca.crt")
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nCOPY cloud-sql-proxy /cloud-sql-proxy\nCOPY ca.crt {CERTIFICATES}\n"
    )
    buildah.build(folder, folder / "Dockerfile", PROXY, {})
    shutil.rmtree(folder)


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


def _mirror() -> str:
    """Return the Debian mirror of this machine."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for place in places:
        text = place.read_text() if place.is_file() else ""
        found = re.search(
            r"^(?:URIs:|deb(?: \[.*?\])?) +(http\S*/debian)/?(?:\s|$)", text, re.MULTILINE
        )
        if found:
            return found[1]
    return MIRROR


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
