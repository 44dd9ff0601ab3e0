"""Runs an image's entry point, as a container runtime would: its user, environment and words."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from tests.images.building import Buildah, tag

PATIENCE = 300.0  # on a busy machine; an answer ends the wait
GRACE = 60.0
BY_SIGNAL = "subprocess exited on terminated"  # as buildah says it, and ends with 1
HELPERS = "buildah-"  # what buildah calls the processes it puts between itself and an image's


class Container:
    """A container of one of our images; made by :func:`container`."""

    def __init__(self, buildah: Buildah, image: str, name: str) -> None:
        self._buildah = buildah
        self.name = name
        config = buildah.config(tag(image))
        self.entrypoint: list[str] = list(config["Entrypoint"])
        self.revision = str(config["Labels"]["org.opencontainers.image.revision"])

    def words(self, arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
        """Return the command line that runs these words inside, in their environment."""
        given = [word for key, value in environ.items() for word in ("--env", f"{key}={value}")]
        return self._buildah.words(
            "run",
            "--isolation",
            "chroot",
            "--hostname=localhost",
            *given,
            self.name,
            "--",
            *arguments,
        )

    def finish(self, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
        """Run the entry point with these arguments to its end; return what it printed."""
        return self.run([*self.entrypoint, *arguments], environ)

    def run(self, words: Sequence[str], environ: Mapping[str, str]) -> str:
        """Run any words inside. Raises RuntimeError with all they said where they fail."""
        done = subprocess.run(
            self.words(words, environ), capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}"[-4000:]
            raise RuntimeError(f"{' '.join(words)[:200]} ended with {done.returncode}:\n{said}")
        return done.stdout

    def copy(self, file: Path, to: str) -> None:
        """Put a file into the container."""
        self._buildah.run("copy", self.name, str(file), to)

    @contextmanager
    def serving(
        self, arguments: Sequence[str], environ: Mapping[str, str], output: IO[str]
    ) -> Iterator[None]:
        """Run the entry point for as long as the block lasts; SIGTERM ends it.

        Raises RuntimeError where it does not end in good order: with 0, or as by the signal.
        """
        with self.running([*self.entrypoint, *arguments], environ, output):
            yield

    @contextmanager
    def running(
        self, words: Sequence[str], environ: Mapping[str, str], output: IO[str]
    ) -> Iterator[None]:
        """Run any words inside, as :meth:`serving` runs the entry point."""
        with running(self.words(words, environ), output):
            yield


@contextmanager
def running(words: Sequence[str], output: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Run buildah for as long as the block lasts, then end what runs inside.

    Raises RuntimeError where that does not end within its grace, or with an error.
    """
    process = subprocess.Popen(words, stdout=output, stderr=output, text=True)
    try:
        yield process
    except BaseException:
        with suppress(RuntimeError):  # the block's own error tells more
            _end(process)
        raise
    code = _end(process)
    said = Path(output.name).read_text()[-2000:]
    if code not in (0, 128 + signal.SIGTERM) and BY_SIGNAL not in said.splitlines():
        raise RuntimeError(f"SIGTERM ended it with {code}:\n{said}")


def _end(process: subprocess.Popen[str]) -> int:
    """SIGTERM as a container runtime sends it, to what runs inside; return how that ended.

    buildah must not get the signal: it and its helpers answer it by killing what runs inside, which
    then neither drains nor says how it would have ended.
    """
    inside = _inside(process)
    for each in inside or [process]:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    try:
        return process.wait(GRACE)
    except subprocess.TimeoutExpired:
        for each in [*inside, process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
        raise RuntimeError(f"it did not end within {GRACE:.0f} s of SIGTERM") from None


def _inside(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the first process below buildah's own that is not buildah's, where there is one."""
    try:
        below = psutil.Process(process.pid).children()
        while below and below[0].cmdline()[0].startswith(HELPERS):
            below = below[0].children()
    except (psutil.NoSuchProcess, IndexError):  # it ended meanwhile
        return []
    return below[:1]


@contextmanager
def container(buildah: Buildah, image: str) -> Iterator[Container]:
    """Make a container of an image; it is gone after the block."""
    name = buildah.run("from", "--pull-never", tag(image)).strip()
    try:
        yield Container(buildah, image, name)
    finally:
        buildah.run("rm", name)


def answer(url: str, body: object = None, patience: float = PATIENCE) -> str:
    """Return what a server answers, once it listens. Raises RuntimeError where it never does."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until, last = time.monotonic() + patience, ""
    while time.monotonic() < until:
        try:
            with opener.open(request, timeout=30) as found:
                return str(found.read().decode())
        except urllib.error.HTTPError as error:
            said = error.read().decode()[:2000]
            raise RuntimeError(f"{url} answered {error.code}: {said}") from error
        except OSError as error:
            last = str(error)
            time.sleep(0.2)  # between two looks at a server that starts
    raise RuntimeError(f"{url} did not answer within {patience:.0f} s: {last}")


def listens(host: str, port: int, patience: float = PATIENCE) -> None:
    """Return once somebody listens. Raises RuntimeError where nobody ever does."""
    until = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise RuntimeError(f"{host}:{port} is not listened to: {error}") from error
            time.sleep(0.2)  # between two looks at a server that starts
