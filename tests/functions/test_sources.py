"""The functions' sources: what is deployed is what is tested, locked, and the same every time."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mbats.local import functions_host
from mbats.local.functions_service import PUSHED, subscriptions
from mbats.local.topology import OBJECTS, TOPICS

ROOT = Path(__file__).parents[2]
NAMES = sorted(folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir())
PACK = ROOT / "terraform" / "scripts" / "pack_functions.py"


def test_the_host_knows_every_function():
    assert sorted(functions_host.FUNCTIONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_function_only_calls_the_library(name):
    tree = ast.parse((ROOT / "functions" / name / "main.py").read_text())
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]

    assert function.name == name
    assert len(function.body) == 2  # what it says, and one call


@pytest.mark.parametrize("name", NAMES)
def test_its_requirements_are_the_librarys_lock(name):
    locked = (ROOT / "requirements" / "library.txt").read_bytes()

    assert (ROOT / "functions" / name / "requirements.txt").read_bytes() == locked, "make lock"


def packed(wheel, folder):
    done = subprocess.run(
        [sys.executable, PACK, wheel, folder], capture_output=True, text=True, check=True
    )
    return done.stdout, {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_zip_holds_the_wheel_with_its_hash_and_changes_its_name_with_its_content(tmp_path):
    wheel = tmp_path / "mbats-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")

    said, first = packed(wheel, tmp_path / "first")
    assert packed(wheel, tmp_path / "again") == (said, first)
    wheel.write_bytes(b"another wheel")
    other, _ = packed(wheel, tmp_path / "other")

    assert len(first) == 4
    assert not set(first) & {line.strip() for line in other.splitlines()}
    assert other != said
    (notify,) = [name for name in first if name.startswith("notify-")]
    assert f'"notify": "functions/{notify}"' in said
    with zipfile.ZipFile(tmp_path / "first" / notify) as archive:
        assert sorted(archive.namelist()) == ["main.py", wheel.name, "requirements.txt"]
        last = archive.read("requirements.txt").decode().splitlines()[-1]
    assert last.startswith(f"./{wheel.name} --hash=sha256:")


def test_terraform_and_the_local_stack_agree_on_who_hears_of_what():
    compute = (ROOT / "terraform" / "compute.tf").read_text()

    for function, topic in PUSHED:
        assert f'local._topic_triggers["{topic}"]' in compute
        assert function.replace("_", "-") in compute
    assert "control-file            = { bucket = module.buckets.names.control," in compute
    made = [path for _, path, _ in subscriptions("p", "127.0.0.1:1")]
    pushed = {path.rpartition("/")[2] for path in made if "/subscriptions/" in path}
    assert len(pushed) == len(PUSHED) + len(TOPICS) + 1
    assert f"control-file-{OBJECTS}" in pushed
