"""`make images-local` itself: every image built for real and run. Slow, and root on Debian only."""

import os
from contextlib import nullcontext

import pytest

from tests.images import run
from tests.images.building import missing_tools

pytestmark = [pytest.mark.slow, pytest.mark.emulators]


@pytest.mark.skipif(
    "MBATS_IMAGES" not in os.environ,
    reason="NOT RUN: EVERY IMAGE BUILT AND RUN, FOR TEN MINUTES. Run it with: make images-local",
)
def test_every_image_builds_and_runs():
    assert missing_tools() == []
    assert run.main([]) == 0


def test_what_is_too_large_or_fails_ends_with_one(monkeypatch, capsys):
    sizes = {"desk": 601e6, "streamer": 1e6}

    class Pretend:
        def size(self, image):
            return sizes[image.split("/")[-1].split(":")[0]]

    monkeypatch.setattr(run, "Buildah", Pretend)
    monkeypatch.setattr(run.building, "missing_tools", list)
    monkeypatch.setattr(run.building, "stand_in", lambda buildah, images: None)
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
