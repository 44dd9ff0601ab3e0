import hashlib
import io
import tarfile

import pytest

from mbats.config import Settings
from mbats.errors import ConfigError, NotReadyError
from mbats.local import pubsub_jar
from mbats.local.service import Site

JAR = b"PK not a jar, but bytes"
NAME = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-{}-all.jar"


@pytest.fixture
def site(home):
    return Site(Settings(home=home))


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """A PATH with nothing on it, and no JAVA_HOME."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def archive(tmp_path, name, content=JAR):
    file = tmp_path / "archive.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.as_uri()


def test_the_setting_comes_first_and_must_name_a_file(home, tmp_path, bare_path):
    jar = tmp_path / "mine.jar"
    given = Site(Settings(home=home, pubsub_jar=jar))
    with pytest.raises(ConfigError, match="names no file"):
        pubsub_jar.find_jar(given)
    jar.touch()
    assert pubsub_jar.find_jar(given) == jar


def test_the_newest_jar_of_the_sdk_behind_the_gcloud_link_is_found(site, tmp_path, bare_path):
    sdk = tmp_path / "google-cloud-sdk"
    (bare_path / "gcloud").symlink_to(program(sdk / "bin" / "gcloud", "exit 0"))
    assert pubsub_jar.find_jar(site) is None
    for version in ("0.8.9", "0.8.20"):
        jar = sdk / NAME.format(version)
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.touch()
    assert pubsub_jar.find_jar(site) == sdk / NAME.format("0.8.20")


def test_a_download_is_checked_kept_and_made_once(site, tmp_path, bare_path, monkeypatch):
    monkeypatch.setattr(pubsub_jar, "SHA256", hashlib.sha256(JAR).hexdigest())
    monkeypatch.setattr(pubsub_jar, "ARCHIVE", archive(tmp_path, NAME.format("0.8.20")))
    kept = pubsub_jar.jar(site)
    assert kept.read_bytes() == JAR
    monkeypatch.setattr(pubsub_jar, "ARCHIVE", "file:///nowhere")
    assert pubsub_jar.jar(site) == kept


@pytest.mark.parametrize(
    ("member", "content", "why"),
    [
        (NAME.format("0.8.20"), b"tampered", "sha256"),
        (NAME.format("0.8.19"), JAR, "no jar of version"),
    ],
)
def test_a_wrong_download_is_refused_and_nothing_is_kept(
    site, tmp_path, bare_path, monkeypatch, member, content, why
):
    monkeypatch.setattr(pubsub_jar, "SHA256", hashlib.sha256(JAR).hexdigest())
    monkeypatch.setattr(pubsub_jar, "ARCHIVE", archive(tmp_path, member, content))
    with pytest.raises(NotReadyError) as caught:
        pubsub_jar.jar(site)
    assert why in caught.value.tried[-1]
    assert "gcloud components install pubsub-emulator" in caught.value.mend
    assert not pubsub_jar.cached_jar(site).exists()


def test_without_a_network_one_error_says_how_to_get_it(site, bare_path, monkeypatch):
    monkeypatch.setattr(pubsub_jar, "ARCHIVE", "file:///nowhere")
    with pytest.raises(NotReadyError, match="not on this machine") as caught:
        pubsub_jar.jar(site)
    assert "MBATS_PUBSUB_JAR" in caught.value.mend


@pytest.mark.parametrize(
    ("says", "fits"),
    [("1.8.0_392", False), ("11.0.2", True), ("17.0.15", True), ("25", True)],
)
def test_a_java_of_version_11_or_later_fits(bare_path, says, fits):
    java = program(bare_path / "java", f"echo 'openjdk version \"{says}\" 2026-01-01' >&2")
    assert pubsub_jar.find_java() == (java if fits else None)


def test_the_java_stub_of_a_mac_without_java_is_passed_over(bare_path):
    program(bare_path / "java", "echo 'Unable to locate a Java Runtime.' >&2; exit 1")
    assert pubsub_jar.find_java() is None


def test_java_home_comes_before_the_path(bare_path, tmp_path, monkeypatch):
    say = "echo 'openjdk version \"17\"' >&2"
    program(bare_path / "java", say)
    own = program(tmp_path / "jdk" / "bin" / "java", say)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert pubsub_jar.find_java() == own
