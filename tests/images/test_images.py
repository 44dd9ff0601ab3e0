"""`make images-local` itself: every image built for real and run. Slow, and root on Debian only."""

import os
from contextlib import nullcontext

import pytest

from tests.images import run
from tests.images.building import missing_tools


@pytest.mark.slow
@pytest.mark.emulators
@pytest.mark.skipif(
    "MBATS_IMAGES" not in os.environ,
    reason="NOT RUN: EVERY IMAGE BUILT AND RUN, FOR A QUARTER HOUR. Run it with: make images-local",
)
def test_every_image_builds_and_runs():
    assert missing_tools() == []
    assert run.main([]) == 0


def test_what_this_machine_lacks_is_said_with_the_way_to_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(run.shutil, "which", lambda name: None)
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(run, "WORK", tmp_path)
    monkeypatch.setattr(run, "DISK_GB", 1e9)
    assert run.main([]) == 2
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "NOT BUILT",
        "sudo make images-local",
        "buildah and debootstrap: make images-local INSTALL=yes",
        "go, 1.21 or later, for sql-proxy and dataflow: https://go.dev/",
        "GB of disk for",
    ):
        assert words in said
    assert run.main(["desk", "--install"]) == 2
    assert "only root installs them" in capsys.readouterr().out


def test_go_is_asked_for_only_where_an_image_needs_it(monkeypatch):
    monkeypatch.setattr(run.shutil, "which", lambda name: None)
    assert not [line for line in run.lacking(["desk", "mlflow"]) if line.startswith("go")]
    assert [line for line in run.lacking(["dataflow"]) if line.startswith("go")]


def test_an_image_that_there_is_not_is_named(capsys):
    with pytest.raises(SystemExit):
        run.main(["dsek"])
    assert "no image dsek" in capsys.readouterr().err


def test_what_is_too_large_or_fails_ends_with_one(monkeypatch, capsys):
    sizes = {"desk": 601e6, "streamer": 1e6}

    class Pretend:
        begin = prune = lambda self: None

        def size(self, image):
            return sizes[image.split("/")[-1].split(":")[0]]

    monkeypatch.setattr(run, "Buildah", Pretend)
    monkeypatch.setattr(run, "lacking", lambda images: [])
    monkeypatch.setattr(run.stand_ins, "make", lambda buildah, images: None)
    monkeypatch.setattr(run.building, "build", lambda buildah, image: None)
    monkeypatch.setattr(run, "container", lambda buildah, image: nullcontext())
    monkeypatch.setattr(run, "RUNS", {"desk": lambda *_: "ran", "streamer": lambda *_: "ran"})
    assert run.main(["desk"]) == 1
    assert "TOO LARGE" in capsys.readouterr().out
    assert run.main(["streamer"]) == 0

    def fails(*_):
        raise RuntimeError("it does not start")

    monkeypatch.setattr(run, "RUNS", {"streamer": fails})
    assert run.main(["streamer"]) == 1
    assert "it does not start" in capsys.readouterr().out
