"""The process of the tick pipeline: heard to its end, however much it has to say."""

import json
import sys

import pytest

from mbats.config import Settings
from mbats.errors import DataError, RunFailedError
from mbats.local.beam import ticks_to_bars
from mbats.local.environments import Environments

MUCH = "sys.stderr.write('a warning\\n' * 100_000)"


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Return what makes a program the pipeline, and runs it."""

    def run(*lines):
        program = tmp_path / "bin" / "python"
        program.parent.mkdir()
        program.write_text("\n".join([f"#!{sys.executable}", "import sys", *lines]))
        program.chmod(0o755)
        monkeypatch.setattr(Environments, "ensure", lambda *_: tmp_path)
        return ticks_to_bars(Settings(home=tmp_path / "home"), [])

    return run


def test_warnings_that_fill_a_pipe_do_not_block_it(pipeline):
    assert list(pipeline(MUCH, "print('{\"bars\": 1}')")) == [{"bars": 1}]


def test_its_error_is_found_behind_them(pipeline):
    error = json.dumps({"cause": "No ticks.", "tried": ["a"], "mend": "load some"})
    with pytest.raises(DataError, match="No ticks"):
        list(pipeline(MUCH, f"sys.stderr.write({error!r})", f"sys.exit({DataError.exit_code})"))


def test_what_is_no_error_of_the_desk_is_told_with_the_end_of_its_log(pipeline):
    with pytest.raises(RunFailedError) as failed:
        list(pipeline(MUCH, "sys.stderr.write('Killed\\n')", "sys.exit(137)"))
    assert failed.value.tried[-1] == "Killed"
