import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from mbats.errors import NotReadyError
from mbats.local import environments
from mbats.local.environments import STAMP, Environment, Environments, find_python, find_uv

VERSION = "{}.{}".format(*sys.version_info)
FINISH = 'import os; print("x", file=open(os.path.join(os.environ["HOME"], "ran"), "a"))'
TINY = Environment("tiny", VERSION, finish=FINISH)


@pytest.fixture
def pins(tmp_path, monkeypatch):
    """A folder of requirement sets with one that needs no registry."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "find-python").symlink_to(environments.requirements() / "find-python")
    (folder / "tiny.txt").write_text("# nothing\n")
    monkeypatch.setattr(environments, "requirements", lambda: folder)
    return folder / "tiny.txt"


@pytest.fixture
def made(tmp_path):
    return Environments(tmp_path / "venvs")


def version_of(python):
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True).stdout.strip()


def test_an_environment_has_the_python_asked_for_and_is_finished(pins, made):
    path = made.ensure(TINY)
    assert version_of(path / "bin" / "python") == VERSION
    assert (made.home(TINY) / "ran").read_text() == "x\n"
    assert made.is_current(TINY)


def test_a_current_environment_is_left_alone(pins, made):
    said = []
    made.ensure(TINY, said.append)
    made.ensure(TINY, said.append)
    assert len(said) == 1


@pytest.mark.parametrize("change", ["pins", "recipe", "half-made", "python gone", "stamp gone"])
def test_another_environment_than_asked_for_is_made_anew(pins, made, change):
    path, asked = made.ensure(TINY), TINY
    (path / "leftover").touch()
    if change == "pins":
        pins.write_text("# others\n")
    elif change == "recipe":
        asked = Environment("tiny", VERSION, finish="pass")
    elif change == "python gone":
        (path / "bin" / "python").unlink()
    elif change == "stamp gone":
        (path / STAMP).unlink()
    else:
        (path / STAMP).write_text("")
    assert not made.is_current(asked)
    made.ensure(asked)
    assert made.is_current(asked)
    assert not (path / "leftover").exists()


def test_several_at_once_make_it_once(pins, made):
    said = []
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: made.ensure(TINY, said.append), range(4)))
    assert len(said) == 1


def test_one_that_cannot_be_made_says_why_and_is_not_current(pins, made):
    pins.write_text("six==1.17.0\n")  # no hash
    with pytest.raises(NotReadyError) as caught:
        made.ensure(TINY)
    assert any("hash" in line for line in caught.value.tried)
    assert caught.value.mend
    assert not made.is_current(TINY)
    pins.write_text("# nothing\n")
    made.ensure(TINY)
    assert made.is_current(TINY)


def test_a_finish_that_fails_leaves_no_stamp(pins, made):
    with pytest.raises(NotReadyError, match="exit code 1"):
        made.ensure(Environment("tiny", VERSION, finish="raise SystemExit('no extension')"))
    assert not (made.path(TINY) / STAMP).exists()


def test_a_shim_with_nothing_behind_it_is_passed_over(tmp_path, monkeypatch):
    shim = tmp_path / f"python{VERSION}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = find_python(VERSION, find_uv(tmp_path))
    assert found != str(shim)
    assert version_of(found) == VERSION


def test_a_python_that_is_nowhere_is_one_clear_error(tmp_path):
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 2\n")
    uv.chmod(0o755)
    with pytest.raises(NotReadyError) as caught:
        find_python("3.99", str(uv))
    assert "no Python 3.99" in caught.value.cause
    assert "no such version" in caught.value.tried
    assert "uv python install 3.99" in caught.value.mend


def test_without_uv_the_places_looked_at_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "_uv_of_this_interpreter", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotReadyError) as caught:
        find_uv(tmp_path)
    assert str(tmp_path / "uv" / "bin" / "uv") in caught.value.tried
    own = tmp_path / "uv" / "bin" / "uv"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find_uv(tmp_path) == str(own)
