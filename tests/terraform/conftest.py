"""Plans every environment without a cloud: Terraform's own tests against a mock of the provider.

`terraform test -json -verbose` prints each run's whole plan; the tests here read those plans. What
cannot run (no terraform, no provider) is skipped loudly, or fails where CI is set.
"""

import fcntl
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "practice", "live")


@dataclass(frozen=True)
class Resource:
    """One planned resource: its address, type and values; a value not known yet is absent."""

    address: str
    kind: str
    actions: tuple[str, ...]
    values: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What one `run` of a Terraform test would make, and the outputs it knows already."""

    run: str
    resources: tuple[Resource, ...]
    outputs: dict[str, Any]

    def of(self, *kinds: str) -> list[Resource]:
        """Return the resources of these types, without the provider's prefix."""
        return [r for r in self.resources if r.kind.removeprefix("google_") in kinds]


@dataclass(frozen=True)
class Outcome:
    """How a Terraform test went: its plans by run, and everything it complained of."""

    passed: bool
    plans: dict[str, Plan]
    complaints: tuple[str, ...]


class Terraform:
    """A copy of the Terraform code, initialised, in which tests may run and mistakes be planted."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = environ

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one terraform command and return what it said."""
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def init(self) -> None:
        """Install the provider and the modules."""
        done = self.run("init", "-backend=false", "-no-color")
        assert done.returncode == 0, done.stdout + done.stderr

    def test(self, file: str, environment: str | None = None) -> Outcome:
        """Run one test file and return its plans."""
        arguments = ["test", "-json", "-verbose", f"-filter=tests/{file}.tftest.hcl"]
        if environment:
            arguments.append(f"-var-file=environments/{environment}.tfvars")
        done = self.run(*arguments)
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        complaints = [
            f"{m['diagnostic']['summary']}: {m['diagnostic'].get('detail', '')}"
            for m in messages
            if m["type"] == "diagnostic" and m["diagnostic"]["severity"] == "error"
        ]
        plans = {m["@testrun"]: _plan(m) for m in messages if m["type"] == "test_plan"}
        return Outcome(
            done.returncode == 0 and not complaints, plans, tuple(complaints) or (done.stderr,)
        )

    def copy(self, folder: Path) -> "Terraform":
        """Return a copy that may be spoilt; the installed provider is shared."""
        shutil.copytree(self.folder.parent, folder, symlinks=True)
        return Terraform(folder / "terraform", self.environ)


def _plan(message: dict[str, Any]) -> Plan:
    plan = message["test_plan"]
    return Plan(
        message["@testrun"],
        tuple(
            Resource(
                r["address"],
                r["type"],
                tuple(r["change"]["actions"]),
                {k: v for k, v in (r["change"]["after"] or {}).items() if v is not None},
            )
            for r in plan.get("resource_changes", ())
            if r["mode"] == "managed"
        ),
        {name: change.get("after") for name, change in plan.get("output_changes", {}).items()},
    )


def _unable(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(f"TERRAFORM IS NOT TESTED: {reason}")


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """The Terraform code in a folder of its own, initialised with whatever provider there is."""
    found = subprocess.run(
        [ROOT / "terraform" / "scripts" / "provider"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        _unable(found.stderr.strip())
    folder = tmp_path_factory.mktemp("desk")
    ignore = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*")
    shutil.copytree(ROOT / "terraform", folder / "terraform", ignore=ignore)
    for beside in ("containers", "looker"):
        shutil.copytree(ROOT / beside, folder / beside)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TF_VAR_")}
    environ |= {"TF_CLI_CONFIG_FILE": found.stdout.strip(), "CHECKPOINT_DISABLE": "1"}
    code = Terraform(folder / "terraform", environ)
    code.init()
    return code


def _plan_all(terraform: Terraform) -> dict[str, Outcome]:
    wanted = [("environment", name) for name in ENVIRONMENTS] + [("second_plan", "practice")]
    with ThreadPoolExecutor(max_workers=2) as pool:
        done = pool.map(lambda pair: terraform.test(*pair), wanted)
        return {
            f"{file}/{name}": outcome for (file, name), outcome in zip(wanted, done, strict=True)
        }


@pytest.fixture(scope="session")
def outcomes(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every environment planned, and one planned twice, by `file/environment`: once a session.

    Workers of pytest-xdist share what the first of them planned.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _plan_all(terraform)
    shared = tmp_path_factory.getbasetemp().parent / "terraform-outcomes"
    with shared.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if kept := file.read():
            found: dict[str, Outcome] = pickle.loads(kept)  # our own, of a minute ago
            return found
        outcomes = _plan_all(terraform)
        file.write(pickle.dumps(outcomes))
    return outcomes


@pytest.fixture(scope="session")
def plans(outcomes: dict[str, Outcome]) -> dict[str, Plan]:
    """Every plan by `environment/run`."""
    for name, outcome in outcomes.items():
        assert outcome.passed, f"{name}: {outcome.complaints}"
    return {
        f"{environment}/{run}": plan
        for environment in ENVIRONMENTS
        for run, plan in outcomes[f"environment/{environment}"].plans.items()
    }


@pytest.fixture(scope="session")
def public_access() -> Callable[[Plan], list[str]]:
    """Return a function that lists what of a plan the world could reach."""

    def look(plan: Plan) -> list[str]:
        found = [
            r.address
            for r in plan.resources
            if {"allUsers", "allAuthenticatedUsers"}
            & {str(r.values.get(k)) for k in ("member", "special_group", "iam_member")}
        ]
        found += [
            r.address
            for r in plan.of("storage_bucket")
            if r.values.get("public_access_prevention") != "enforced"
            or r.values.get("uniform_bucket_level_access") is not True
        ]
        found += [
            r.address
            for r in plan.of("cloud_run_v2_service")
            if r.values.get("invoker_iam_disabled") is not False
        ]
        found += [
            r.address
            for r in plan.of("sql_database_instance")
            if r.values["settings"][0]["ip_configuration"][0]["ipv4_enabled"] is not False
        ]
        found += [
            r.address
            for r in plan.of("cloudfunctions2_function")
            if r.values["service_config"][0]["ingress_settings"] != "ALLOW_INTERNAL_ONLY"
        ]
        return found

    return look
