import json
import subprocess
import sys

import pytest
import typer.main
from typer.testing import CliRunner

from mbats.cli.main import app

MBATS = [sys.executable, "-c", "from mbats.cli.main import main; main()"]


def commands(command, path=()):
    """Yield every leaf command with its path."""
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


LEAVES = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_has_help_with_an_example_and_a_json_form(path):
    command = LEAVES[path]
    assert command.help
    assert "Example" in (command.epilog or "")
    options = {name for parameter in command.params for name in parameter.opts}
    assert "--json" in options, f"mbats {path} has no --json"
    result = CliRunner().invoke(app, [*path.split(), "--help"])
    assert result.exit_code == 0


def test_config_show_as_json_tells_every_origin(tmp_path):
    result = CliRunner().invoke(
        app, ["--home", str(tmp_path / ".mbats"), "config", "show", "--json"]
    )
    rows = {row["setting"]: row for row in json.loads(result.stdout)}
    assert rows["home"]["from"] == "flag"
    assert rows["profile"]["from"] in ("default", "environment")


def test_an_error_exits_with_its_own_code_and_says_cause_tried_and_mend(tmp_path):
    ran = subprocess.run(
        [*MBATS, "config", "show"],
        cwd=tmp_path,
        env={"MBATS_PROFILE": "aws", "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "ConfigError  Setting 'profile'" in ran.stderr
    assert "tried  MBATS_PROFILE" in ran.stderr
    assert "mend " in ran.stderr
    assert ran.stdout == ""


def test_an_error_as_json_is_one_document_on_standard_error(tmp_path):
    ran = subprocess.run(
        [*MBATS, "config", "show", "--json"],
        cwd=tmp_path,
        env={"MBATS_PROFILE": "aws"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(ran.stderr)["error"] == "ConfigError"


def test_help_imports_no_heavy_library(tmp_path):
    script = (
        "import sys; import mbats.cli.main as m;"
        "heavy = {'google.cloud.bigquery', 'google.cloud.storage', 'pandas', 'backtrader',"
        " 'plotly', 'pyarrow', 'requests'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
