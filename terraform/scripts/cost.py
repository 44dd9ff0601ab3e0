"""Prints what a month of an environment costs, by component.

    python terraform/scripts/cost.py dev [--var-file FILE]

Terraform itself works the estimate out (`cost.tf`, prices in `cost/prices.yaml`), from the plan
that it would apply with every image built and every secret filled: against a mock of the provider,
so no account is needed. `--var-file` adds your own values, your bots above all.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def planned_cost(environment: str, var_files: list[Path]) -> dict[str, Any]:
    """Return the `monthly_cost` output of an environment's plan. Exits with one line on failure."""
    found = subprocess.run(
        [ROOT / "scripts" / "provider"], capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(found.stderr.strip())
    environ = {**os.environ, "TF_CLI_CONFIG_FILE": found.stdout.strip(), "CHECKPOINT_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "terraform"
        ignore = shutil.ignore_patterns(
            ".terraform", ".terraform.lock.hcl", "*.tfstate*", "backend.tf"
        )
        shutil.copytree(ROOT, code, ignore=ignore)  # fmt: skip
        shutil.copytree(ROOT.parent / "containers", Path(folder) / "containers")
        files = [code / "environments" / f"{environment}.tfvars", *(f.resolve() for f in var_files)]

        def terraform(*arguments: str) -> str:
            done = subprocess.run(
                ["terraform", *arguments],
                cwd=code,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"terraform {arguments[0]} failed:\n{done.stdout}{done.stderr}")
            return done.stdout

        terraform("init", "-backend=false", "-no-color")
        said = terraform(
            "test",
            "-json",
            "-verbose",
            "-filter=tests/cost.tftest.hcl",
            *(f"-var-file={file}" for file in files),
        )
    for line in said.splitlines():
        message = json.loads(line)
        if message["type"] == "test_plan":
            cost: dict[str, Any] = message["test_plan"]["output_changes"]["monthly_cost"]["after"]
            return cost
    sys.exit("terraform test printed no plan")


def main() -> None:
    """Print the table."""
    environments = sorted(file.stem for file in (ROOT / "environments").glob("*.tfvars"))
    parser = argparse.ArgumentParser(description="What a month of an environment costs.")
    parser.add_argument("environment", choices=[e for e in environments if "." not in e])
    parser.add_argument("--var-file", type=Path, action="append", default=[])
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    cost = planned_cost(given.environment, given.var_file)
    if given.json:
        print(json.dumps(cost, indent=2))
        return
    print(f"{given.environment}: USD a month, list prices as of {cost['as_of']}; an estimate")
    for component, amount in sorted(cost["components"].items(), key=lambda item: -item[1]):
        print(f"  {component:<28}{amount:>9.2f}")
    print(f"  {'total':<28}{cost['total']:>9.2f}")
    print("Prices and sources: terraform/cost/prices.yaml. Your bots count with --var-file.")


if __name__ == "__main__":
    main()
