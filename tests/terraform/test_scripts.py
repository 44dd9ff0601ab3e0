"""The scripts around Terraform: what they refuse, in one line, and what they work out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "terraform" / "scripts"


def desk(command, **environ):
    base = {k: v for k, v in os.environ.items() if k not in ("ENV", "PROJECT", "APPROVE")}
    return subprocess.run(
        [SCRIPTS / "desk", command],
        env={**base, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def only(folder, *programs):
    """Return a PATH with just these programs, which do nothing and fail."""
    folder.mkdir()
    for program in programs:
        (folder / program).write_text("#!/bin/sh\nexit 1\n")
        (folder / program).chmod(0o755)
    for program in ("bash", "dirname", "env", "git", "cat"):
        (folder / program).symlink_to(f"/usr/bin/{program}")
    return str(folder)


@pytest.mark.parametrize("command", ["bootstrap", "deploy", "destroy"])
def test_without_a_project_it_says_so_in_one_line(command):
    done = desk(command, ENV="dev")
    assert done.returncode == 2
    assert done.stderr == f"PROJECT is not set: make {command} PROJECT=my-project\n"


def test_without_credentials_it_says_so_in_one_line(tmp_path):
    path = only(tmp_path / "bin", "gcloud", "terraform")
    done = desk("deploy", ENV="dev", PROJECT="my-project", PATH=path)
    assert (done.returncode, done.stderr) == (2, "gcloud is not signed in: gcloud auth login\n")


def test_without_gcloud_it_says_where_to_get_it(tmp_path):
    done = desk("deploy", ENV="dev", PROJECT="my-project", PATH=only(tmp_path / "bin"))
    assert done.returncode == 2
    assert done.stderr.startswith("gcloud is not installed: https://")


def test_live_is_never_destroyed(tmp_path):
    path = only(tmp_path / "bin", "gcloud", "terraform")
    done = desk("destroy", ENV="live", PROJECT="my-project", APPROVE="yes", PATH=path)
    assert done.returncode == 2
    assert "never destroyed" in done.stderr


def test_no_provider_at_all_is_one_loud_line(tmp_path):
    path = only(tmp_path / "bin", "terraform", "curl")
    checkout = tmp_path / "deep" / "checkout"
    (checkout / "terraform" / "scripts").mkdir(parents=True)
    script = checkout / "terraform" / "scripts" / "provider"
    script.write_text((SCRIPTS / "provider").read_text())
    done = subprocess.run(
        ["/usr/bin/bash", script],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("No google provider: ")
    assert done.stderr.count("\n") == 1


def test_digests_of_one_commit_become_the_images_variable():
    registry = "europe-west1-docker.pkg.dev/p/mbats"
    listed = [
        {"package": f"{registry}/desk", "version": "sha256:aa", "tags": ["abc", "old"]},
        {"package": f"{registry}/model-server", "version": "sha256:bb", "tags": "abc"},
        {"package": f"{registry}/desk", "version": "sha256:cc", "tags": []},
    ]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "digests.py", "abc"],
        input=json.dumps(listed),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "images": {
            "desk": f"{registry}/desk@sha256:aa",
            "model_server": f"{registry}/model-server@sha256:bb",
        }
    }


@pytest.mark.slow
def test_the_estimate_names_its_components_and_their_sum(terraform):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "cost.py", "practice", "--json"],
        env=terraform.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    cost = json.loads(done.stdout)
    assert cost["total"] == pytest.approx(sum(cost["components"].values()))
    assert cost["components"]["Airflow (Composer)"] == 350
    # 730 hours of one vCPU less the free 240,000 seconds, and half a GiB (facts/gcp.md section 7)
    streamer = (730 * 3600 - 240000) * 0.000018 + 730 * 3600 * 0.5 * 0.000002
    assert cost["components"]["Streamer and bots"] == pytest.approx(streamer, abs=0.01)


def test_every_price_has_a_unit_and_a_source():
    text = (ROOT / "terraform" / "cost" / "prices.yaml").read_text()
    assert text.count("\n    price: ") == text.count("\n    unit: ") == text.count("\n    source: ")
    assert 'as_of: "20' in text
