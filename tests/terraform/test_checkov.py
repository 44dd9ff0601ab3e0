"""checkov over all modules, with the checks it lacks; a skip carries its reason in the code."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".mbats" / "venvs" / "terraform" / "bin" / "checkov"
OURS = {f"CKV_MBATS_{number}" for number in range(1, 7)}
PLANTED = "planted"

BAD = """
resource "google_cloud_run_v2_service" "bad" {
  name                 = "bad"
  location             = "europe-west1"
  invoker_iam_disabled = true
  template {
    containers {
      image = "bad"
      env {
        name = "TOKEN"
        value_source {
          secret_key_ref {
            secret  = "token"
            version = "latest"
          }
        }
      }
    }
  }
}

resource "google_cloud_run_v2_job" "bad" {
  name     = "bad"
  location = "europe-west1"
  template {
    template {
      containers {
        image = "bad"
      }
    }
  }
}

resource "google_secret_manager_secret" "bad" {
  secret_id = "bad"
  replication {
    auto {}
  }
}

resource "google_service_account_key" "bad" {
  service_account_id = "bad"
}

resource "google_composer_environment" "bad" {
  name = "bad"
}
"""

# What Python runs before checkov: the name of every host that it looks up is written down.
LISTENING = """
import os, socket

def nobody(host, *rest, **options):
    with open(os.environ["ASKED"], "a") as asked:
        asked.write(f"{host}\\n")
    raise socket.gaierror("no network here")

socket.getaddrinfo = nobody
"""


def scan(folder, asked):
    """Return what checkov found in a folder, as its JSON report; ``asked`` takes names of hosts."""
    if not CHECKOV.exists():
        reason = f"checkov is not installed: `make {CHECKOV.parents[1].relative_to(ROOT)}/.made`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(f"TERRAFORM IS NOT SCANNED: {reason}")
    command = [CHECKOV, "--directory", folder, "--framework", "terraform", "--output", "json"]
    command += ["--external-checks-dir", ROOT / "terraform" / "checks"]
    asked.parent.mkdir()
    asked.touch()
    (asked.parent / "sitecustomize.py").write_text(LISTENING)
    environ = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOG_LEVEL": "ERROR",
        "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true",  # else it asks PyPI each hour which is the newest
        "XDG_CACHE_HOME": str(asked.parent),
        "PYTHONPATH": str(asked.parent),
        "ASKED": str(asked),
    }
    done = subprocess.run(
        [*command, "--download-external-modules", "false", "--skip-download"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The file of the hosts that checkov looked up."""
    return tmp_path_factory.mktemp("asked") / "site" / "hosts"


@pytest.fixture(scope="module")
def report(tmp_path_factory, asked):
    """The report on all our code, and on what is planted beside it: checkov starts once."""
    folder = tmp_path_factory.mktemp("scanned")
    ignore = shutil.ignore_patterns(".terraform", "scripts", "checks")
    shutil.copytree(ROOT / "terraform", folder / "terraform", ignore=ignore)
    (folder / PLANTED).mkdir()
    (folder / PLANTED / "main.tf").write_text(BAD)
    return scan(folder, asked)


def found(report, kind, planted=False):
    """Return the checks of one kind, on our code or on what was planted."""
    checks = report["results"][f"{kind}_checks"]
    return [c for c in checks if c["file_path"].startswith(f"/{PLANTED}/") == planted]


def test_no_check_fails_and_every_skip_has_its_reason(report):
    assert [(c["check_id"], c["resource"]) for c in found(report, "failed")] == []
    assert report["summary"]["parsing_errors"] == 0
    assert len(found(report, "passed")) > 90
    skips = [
        line.strip()
        for file in (ROOT / "terraform").glob("modules/**/*.tf")
        for line in file.read_text().splitlines()
        if "checkov:skip" in line
    ]
    assert skips
    assert all(re.fullmatch(r"# checkov:skip=CKV2?_[A-Z]+_\d+:.{20,}", skip) for skip in skips)
    ran = {c["check_id"] for c in found(report, "passed")}
    assert ran & OURS == OURS - {"CKV_MBATS_4"}  # which has nothing to pass: no such resource


def test_the_checks_of_our_own_find_what_they_are_for(report):
    assert {c["check_id"] for c in found(report, "failed", planted=True)} >= OURS


def test_it_asks_nobody_out_there(report, asked):
    assert asked.read_text() == ""
