"""The scripts around Terraform: what they refuse, in one line, and what they work out."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app

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


IMAGES = ("desk", "model-server")
REGISTRY = "europe-west1-docker.pkg.dev/my-project/mbats"

GCLOUD = """#!/bin/bash
echo "gcloud $*" >>"$CALLS"
case "$*" in
  "projects describe"*) exit "${NO_PROJECT:-0}" ;;
  "storage buckets describe"*) exit "${NO_BUCKET:-0}" ;;
  "builds submit"*) [ -n "${NO_BUILD:-}" ] || cp "$PUSHED.later" "$PUSHED" ;;
  "artifacts docker images list"*) cat "$PUSHED" ;;
  "run jobs list"*) echo europe-west1 ;;
  "run jobs execute ${FAILS:-none}"*) exit 1 ;;
  "run jobs execute"*) echo "$4-x7" ;;
esac
"""
TERRAFORM = """#!/bin/bash
shift # -chdir
echo "terraform $*" >>"$CALLS"
case "$*" in
  "output -json registry") echo '"europe-west1-docker.pkg.dev/my-project/mbats"' ;;
  "output -json dags") echo '"gs://my-project-composer/dags"' ;;
  "output -json optional_images") echo "[${WITH:+\\"$WITH\\"}]" ;;
  "output -json workloads") echo '{"jobs": ["backtest"]}' ;;
  "output -json first_run") echo '["fill the secrets"]' ;;
esac
"""


@pytest.fixture
def cloud(tmp_path):
    """A checkout in which gcloud and terraform only write down what they were asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("gcloud", GCLOUD), ("terraform", TERRAFORM)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    checkout = tmp_path / "checkout"
    shutil.copytree(SCRIPTS, checkout / "terraform" / "scripts")
    shutil.copytree(ROOT / "terraform" / "environments", checkout / "terraform" / "environments")
    for folder in ("composer_dags", "control", *(f"containers/{name}" for name in IMAGES)):
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "Dockerfile").write_text("")
    (checkout / "cloudbuild.yaml").write_text("")
    (checkout / ".gitignore").write_text(".mbats/\nbackend.tf\n")
    commit = in_git(checkout)
    listed = [
        {"package": f"{REGISTRY}/{name}", "version": f"sha256:{name}", "tags": commit}
        for name in IMAGES
    ]
    pushed = tmp_path / "pushed"
    pushed.write_text("[]")
    (tmp_path / "pushed.later").write_text(json.dumps(listed))

    def run(command, **environ):
        calls = tmp_path / "calls"
        calls.write_text("")
        path = f"{programs}:{os.environ['PATH']}"
        done = subprocess.run(
            [checkout / "terraform" / "scripts" / "desk", command],
            env={
                **{k: v for k, v in os.environ.items() if k not in ("ENV", "PROJECT", "APPROVE")},
                "PATH": path,
                "CALLS": str(calls),
                "PUSHED": str(pushed),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done, calls.read_text().splitlines()

    run.checkout = checkout
    return run


def in_git(folder):
    """Make a commit of a folder and return its name."""
    git = ["git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=all"], check=True)
    found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def positions(calls, *wanted):
    return [next(i for i, call in enumerate(calls) if each in call) for each in wanted]


def test_bootstrap_makes_the_state_bucket_private_and_versioned(cloud):
    done, calls = cloud("bootstrap", PROJECT="my-project", NO_BUCKET="1")
    assert done.returncode == 0, done.stderr
    (made,) = [c for c in calls if c.startswith("gcloud storage buckets create")]
    assert made.startswith("gcloud storage buckets create gs://my-project-terraform ")
    assert "--public-access-prevention" in made
    assert "gcloud storage buckets update gs://my-project-terraform --versioning" in calls


def test_bootstrap_again_changes_no_bucket(cloud):
    _, calls = cloud("bootstrap", PROJECT="my-project")
    assert not [c for c in calls if "buckets create" in c]


def test_deploy_builds_applies_syncs_and_runs_a_backtest_in_that_order(cloud):
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    assert done.returncode == 0, done.stderr
    first, second = [c for c in calls if c.startswith("terraform apply")]
    assert "-target=module.artifact_registry" in first
    for applied in (first, second):
        assert "-auto-approve -var=project_id=my-project" in applied
        assert "environments/dev.tfvars" in applied
    assert "-target" not in second
    assert "my-project.images.tfvars.json" in second
    order = positions(
        calls,
        "init -input=false -reconfigure -backend-config=bucket=my-project-terraform",
        "-target=module.artifact_registry",
        "gcloud builds submit",
        "my-project.images.tfvars.json",
        "gcloud storage rsync --recursive --delete-unmatched-destination-objects",
        f"{cloud.checkout}/control gs://my-project-control",
        "gcloud run jobs execute download",
        "gcloud run jobs execute backtest",
    )
    assert order == sorted(order)
    assert "executions/details/europe-west1/backtest-x7?project=my-project" in done.stdout
    assert done.stdout.endswith("  fill the secrets\n")


def test_deploy_gives_the_build_its_commit_and_terraform_its_digests(cloud):
    _, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    (built,) = [c for c in calls if c.startswith("gcloud builds submit")]
    found = json.loads(
        (cloud.checkout / ".mbats/terraform/my-project.images.tfvars.json").read_text()
    )
    assert found == {
        "images": {
            "desk": f"{REGISTRY}/desk@sha256:desk",
            "model_server": f"{REGISTRY}/model-server@sha256:model-server",
        }
    }
    assert re.search(
        rf"_REGISTRY={REGISTRY},_COMMIT=[0-9a-f]{{40}},_SOURCE=unknown,_DATAFLOW=false$", built
    )


def test_a_feature_brings_its_image(cloud):
    (cloud.checkout / "containers" / "dataflow").mkdir()
    (cloud.checkout / "containers" / "dataflow" / "Dockerfile").write_text("")
    in_git(cloud.checkout)
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes", WITH="dataflow")
    (built,) = [c for c in calls if c.startswith("gcloud builds submit")]
    assert built.endswith(",_DATAFLOW=true")
    assert done.returncode != 0
    assert "The registry has no image dataflow, desk, model-server of " in done.stderr
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    assert [c for c in calls if c.endswith(",_DATAFLOW=false")]
    assert "The registry has no image desk, model-server of " in done.stderr


def test_the_address_of_the_source_carries_no_token(cloud):
    address = "https://someone:secret@git.example.com/desk.git"
    git = ["git", "-C", cloud.checkout, "remote", "add", "origin", address]
    subprocess.run(git, check=True)
    _, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    (built,) = [c for c in calls if c.startswith("gcloud builds submit")]
    assert "_SOURCE=https://git.example.com/desk.git," in built


def test_deploying_the_same_commit_again_builds_nothing(cloud):
    cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    assert done.returncode == 0, done.stderr
    assert "are there already" in done.stdout
    assert not [c for c in calls if c.startswith("gcloud builds submit")]
    assert "my-project.images.tfvars.json" in [c for c in calls if "apply" in c][-1]


def test_what_is_not_committed_is_not_deployed(cloud):
    (cloud.checkout / "control" / "strategies.csv").write_text("")
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    assert done.returncode == 2
    assert done.stderr == "Commit your changes first: images are named by their commit.\n"
    assert not [c for c in calls if c.startswith("terraform")]


def test_half_a_desk_is_not_deployed(cloud):
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes", NO_BUILD="1")
    assert done.returncode != 0
    assert "The registry has no image desk, model-server of " in done.stderr
    assert len([c for c in calls if c.startswith("terraform apply")]) == 1


def test_syncing_leaves_what_functions_and_composer_keep_there(cloud):
    _, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    synced, plugins = [c for c in calls if "--delete-unmatched-destination-objects" in c]
    kept = re.compile(re.search(r"--exclude=(\S+)", synced)[1])
    ours = ("control/strategies.csv", "plugins/desk_alerts.py", "desk/__pycache__/x.pyc")
    for path in (*ours, "airflow_monitoring.py"):
        assert kept.match(path), path
    for path in ("market_data.py", "desk/control_room.py"):
        assert not kept.match(path), path
    assert synced.endswith("/composer_dags gs://my-project-composer/dags")
    assert plugins.endswith("/composer_dags/plugins gs://my-project-composer/plugins")


@pytest.mark.parametrize("job", ["download", "backtest"])
def test_a_smoke_run_that_fails_fails_the_deploy_and_says_where_to_look(cloud, job):
    done, _ = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes", FAILS=job)
    assert done.returncode == 2
    assert (
        f"The job {job} failed; its log: https://console.cloud.google.com/run/jobs/" in done.stderr
    )
    assert "Backtest:" not in done.stdout


def test_the_smoke_runs_are_command_lines_that_there_are(cloud):
    _, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    for call in calls:
        if "run jobs execute" in call:
            words = re.search(r"--args=(\S+)", call)[1].split(",")
            done = CliRunner().invoke(app, [*words, "--help"])
            assert done.exit_code == 0, done.output
            assert set(re.findall(r"--[a-z]+", " ".join(words))) <= set(
                re.findall(r"--[a-z]+", done.output)
            )


@pytest.mark.parametrize("command", ["bootstrap", "deploy", "destroy"])
def test_a_project_that_there_is_not_is_one_clear_line(cloud, command):
    done, calls = cloud(command, ENV="dev", PROJECT="mistyped", NO_PROJECT="1")
    assert done.returncode == 2
    said = "There is no project mistyped, or you may not see it: gcloud projects list\n"
    assert done.stderr == said
    assert not [c for c in calls if c.startswith("terraform")]


def test_deploy_before_bootstrap_says_what_to_do(cloud):
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", NO_BUCKET="1")
    assert done.returncode == 2
    assert "make bootstrap PROJECT=my-project" in done.stderr
    assert not [c for c in calls if c.startswith("terraform")]


def test_an_unknown_environment_is_refused(cloud):
    done, calls = cloud("deploy", ENV="prod", PROJECT="my-project")
    assert done.returncode == 2
    assert "There is no environment prod" in done.stderr
    assert not [c for c in calls if c.startswith("terraform")]


def test_destroy_of_dev_takes_the_state_bucket_too(cloud):
    done, calls = cloud("destroy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    assert done.returncode == 0, done.stderr
    assert [c for c in calls if c.startswith("terraform destroy -input=false -auto-approve")]
    assert calls[-1] == "gcloud storage rm --recursive gs://my-project-terraform"


def test_destroy_of_practice_keeps_the_state(cloud):
    _, calls = cloud("destroy", ENV="practice", PROJECT="my-project", APPROVE="yes")
    assert not [c for c in calls if "storage rm" in c]
