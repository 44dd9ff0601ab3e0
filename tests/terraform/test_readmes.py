"""READMEs: every example plans to the number of resources it says, every table is up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mbats import schemas

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(
    r"```hcl\n(?P<code>.*?)\n# tftest resources=(?P<count>\d+)(?P<tables>\+tables)?\n```", re.DOTALL
)

REQUIRED = """terraform {
  required_providers {
    google = { source = "hashicorp/google" }
  }
}
"""
TEST_FILE = """mock_provider "google" {}

run "examples" {
  command = plan
}
"""


def test_every_example_plans_to_the_resources_it_says(terraform, tmp_path):
    code = terraform.copy(tmp_path / "copy")
    wanted = {}
    for test in (code.folder / "tests").glob("*"):
        test.unlink()
    for file in code.folder.glob("*.tf"):
        file.unlink()
    calls = [REQUIRED]
    for readme in sorted(code.folder.glob("modules/*/README.md")):
        name = readme.parent.name
        match = EXAMPLE.search(readme.read_text())
        assert match, f"{readme} has no example that ends in `# tftest resources=N`"
        tables = len(schemas.all_tables()) if match["tables"] else 0
        wanted[name] = int(match["count"]) + tables
        folder = code.folder / "examples" / name
        folder.mkdir(parents=True)
        example = match["code"].replace('"./modules/', '"../../modules/')
        (folder / "main.tf").write_text(example.replace('("../../', '("${path.module}/../../'))
        calls.append(f'module "{name}" {{\n  source = "./examples/{name}"\n}}\n')
    (code.folder / "main.tf").write_text("\n".join(calls))
    (code.folder / "tests" / "examples.tftest.hcl").write_text(TEST_FILE)
    code.init()
    outcome = code.test("examples")
    assert outcome.passed, outcome.complaints
    planned = dict.fromkeys(wanted, 0)
    for resource in outcome.plans["examples"].resources:
        planned[resource.address.split(".")[1]] += 1
    assert planned == wanted


def test_the_tables_of_variables_and_outputs_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "terraform" / "scripts" / "document.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_variables_stand_in_alphabetical_order_and_every_one_is_described():
    for file in (ROOT / "terraform").glob("**/variables.tf"):
        if ".terraform" in file.parts:
            continue
        text = file.read_text()
        names = re.findall(r'^variable "([^"]+)"', text, re.MULTILINE)
        assert names == sorted(names), file
        assert text.count("\n  description = ") == len(names), file


VARIABLE = re.compile(r'^variable "([^"]+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
WORKLOADS = ("function", "run-job", "run-service", "run-worker-pool")
OWN = {"name", "project_id", "region", "resources", "timeout_seconds", "description", "network"}


def test_a_variable_that_workloads_share_is_the_same_in_each():
    """Modules stand alone, so they repeat one another: word for word, where they mean the same."""
    said: dict[str, set[str]] = {}
    for module in WORKLOADS:
        text = (ROOT / "terraform" / "modules" / module / "variables.tf").read_text()
        for name, block in VARIABLE.findall(text):
            said.setdefault(name, set()).add(block)
    assert {"env", "iam", "image", "secrets", "service_account"} <= set(said)
    assert [name for name, blocks in said.items() if len(blocks) > 1 and name not in OWN] == []


def test_every_module_that_can_keep_its_things_refuses_an_unknown_policy():
    rule = 'contains(["DELETE", "PREVENT"], var.deletion_policy)'
    kept = [
        (file, block)
        for file in (ROOT / "terraform" / "modules").glob("*/variables.tf")
        for name, block in VARIABLE.findall(file.read_text())
        if name == "deletion_policy"
    ]
    assert kept
    assert [str(file) for file, block in kept if rule not in block] == []
