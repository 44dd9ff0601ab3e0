"""What the Dockerfiles begin with, made here: no image can be pulled where there is no registry.

A Debian with Python under the name of the official image, the same with this machine's Go, Google's
Cloud SQL proxy from its Go module. The Dockerfiles know nothing of it: their ARGs name what stands
in. Google's template launcher is published in its image alone, so its stand-in does by a few words
of shell what it is known to do: it runs the program that the image names.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.images.building import GO, LAUNCHER, ORDER, PROXY, PYTHON, Buildah, CannotError

PROXY_MODULE = "github.com/GoogleCloudPlatform/cloud-sql-proxy/v2@v2.23.0"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
GO_SETTINGS = ("GOPROXY", "GONOSUMDB", "GOSUMDB")


def needs_go(images: Sequence[str]) -> list[str]:
    """Return those of the images that begin with what is made by Go."""
    return [image for image in images if {GO, PROXY} & {*ORDER[image].values()}]


def make(buildah: Buildah, images: Sequence[str]) -> None:
    """Make what these images begin with, where it is not made yet."""
    begins = {base for image in images for base in ORDER[image].values()}
    for base, maker in MAKERS.items():
        if base in begins and not buildah.has(base):
            print(f"Making a stand-in for {base}", flush=True)
            folder = _empty(buildah.folder / "stand-in")
            maker(folder)
            buildah.build(folder, folder / "Dockerfile", base, {})
            shutil.rmtree(folder)


def _python(folder: Path) -> None:
    tree = folder / "tree"
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    _do("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", tree, _mirror())
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


def _go(folder: Path) -> None:
    version = f"go{GO.split(':')[1].split('-')[0]}"
    # A Go of 1.21 or later brings the version it is asked for; an older one does not know how.
    found, root, *values = _do(
        "go", "env", "GOVERSION", "GOROOT", *GO_SETTINGS, GOTOOLCHAIN=version
    ).splitlines()
    if found != version:
        raise CannotError(f"{found} does not bring {version}: install Go 1.21 or later")
    shutil.copytree(root, folder / "go", symlinks=True)
    settings = " ".join(f'{n}="{value}"' for n, value in zip(GO_SETTINGS, values, strict=True))
    (folder / "Dockerfile").write_text(
        f"FROM {PYTHON}\nCOPY go/ /usr/local/go/\n"
        f"ENV PATH=/usr/local/go/bin:$PATH GOTOOLCHAIN=local {settings}\n"
    )


def _launcher(folder: Path) -> None:
    program = folder / "python_template_launcher"
    program.write_text('#!/bin/sh\nexec python "$FLEX_TEMPLATE_PYTHON_PY_FILE" "$@"\n')
    program.chmod(0o755)
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nCOPY {program.name} /opt/google/dataflow/{program.name}\n"
    )


def _proxy(folder: Path) -> None:
    # The checksum database is not reached from everywhere, and nothing made here is deployed.
    _do("go", "install", PROXY_MODULE, CGO_ENABLED="0", GOBIN=str(folder), GONOSUMDB="*")
    shutil.copy(CERTIFICATES, folder / "ca.crt")
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nCOPY cloud-sql-proxy /cloud-sql-proxy\nCOPY ca.crt {CERTIFICATES}\n"
    )


# In this order: one may lie upon one before it.
MAKERS: Mapping[str, Callable[[Path], None]] = {
    PYTHON: _python,
    GO: _go,
    LAUNCHER: _launcher,
    PROXY: _proxy,
}


def _do(*words: str | Path, **environ: str) -> str:
    """Run a command and return what it says. Raises CannotError with its last words."""
    done = subprocess.run(
        words, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-2000:]
        raise CannotError(f"{' '.join(map(str, words))} ended with {done.returncode}: {said}")
    return done.stdout


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
