"""How an image's process is ended: as a container runtime does it, past buildah's own processes."""

import sys

import pytest

from tests.images import running

# As buildah does: a helper with a name of its own between, and each kills what it started where it
# is told to end, and ends with 1.
OUTER = """
import signal, subprocess, sys
started = subprocess.Popen(["buildah-helper", "-c", *sys.argv[1:]], executable=sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: started.kill())
code = started.wait()
sys.exit(code if code >= 0 else 1)
"""
HELPER = """
import signal, subprocess, sys
started = subprocess.Popen([sys.argv[1], "-c", sys.argv[2]])
signal.signal(signal.SIGTERM, lambda *_: started.kill())
code = started.wait()
if code < 0:
    print("subprocess exited on", {-9: "killed", -15: "terminated"}[code], flush=True)
sys.exit(code if code >= 0 else 1)
"""
DRAINS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit({code})))
print("ready", flush=True)
while True:
    signal.pause()
"""
DRAINS_AND_DIES_OF_IT = """
import os, signal, sys
def drain(*_):
    print("drained", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, drain)
print("ready", flush=True)
while True:
    signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def words(inside):
    return [sys.executable, "-c", OUTER, HELPER, sys.executable, inside]


def wait_for_ready(process, output):
    """Return once the log says so, or there is nobody left to write it."""
    while "ready" not in text_of(output):
        assert process.poll() is None, text_of(output)


@pytest.fixture
def output(tmp_path):
    with (tmp_path / "log").open("w") as log:
        yield log


def text_of(output):
    with open(output.name) as log:
        return log.read()


@pytest.mark.parametrize("code", [0, 143])
def test_sigterm_reaches_what_runs_inside_and_lets_it_drain(output, code):
    with running.running(words(DRAINS.format(code=code)), output) as process:
        wait_for_ready(process, output)
    assert text_of(output).split() == ["ready", "drained"]


def test_what_drains_and_then_dies_of_the_signal_ended_in_good_order(output):
    with running.running(words(DRAINS_AND_DIES_OF_IT), output) as process:
        wait_for_ready(process, output)
    assert text_of(output).split()[:2] == ["ready", "drained"]


def test_what_ends_with_an_error_after_sigterm_has_failed(output):
    with (
        pytest.raises(RuntimeError, match=r"SIGTERM ended it with 3:\n(?s:.*)drained"),
        running.running(words(DRAINS.format(code=3)), output) as process,
    ):
        wait_for_ready(process, output)


def test_what_ended_before_it_was_told_to_has_failed(output):
    with (
        pytest.raises(RuntimeError, match="ended it with 4"),
        running.running(words("import sys; print('early'); sys.exit(4)"), output) as process,
    ):
        process.wait()


def test_what_does_not_end_is_killed_and_has_failed(output, monkeypatch):
    monkeypatch.setattr(running, "GRACE", 0.0)
    with (
        pytest.raises(RuntimeError, match="did not end"),
        running.running(words(STUBBORN), output) as process,
    ):
        wait_for_ready(process, output)
    assert process.returncode is not None


def test_the_error_of_the_block_is_what_is_told(output):
    def looks():
        with running.running(words(DRAINS.format(code=3)), output) as process:
            wait_for_ready(process, output)
            raise AssertionError("no tick came")

    with pytest.raises(AssertionError, match="no tick came"):
        looks()
    assert text_of(output).split() == ["ready", "drained"]
