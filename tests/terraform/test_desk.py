"""`make bootstrap`, `deploy`, `drift` and `destroy`: what they ask of Google, in which order."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "terraform" / "scripts"

IMAGES = ("desk", "model-server")
REGISTRY = "europe-west1-docker.pkg.dev/my-project/mbats"

GCLOUD = """#!/bin/bash
echo "gcloud $*" >>"$CALLS"
case "$*" in
  "projects describe"*) exit "${NO_PROJECT:-0}" ;;
  "billing projects describe"*) echo "${BILLING:-True}" ;;
  "compute networks peerings list"*) echo "${PEERING:-}" ;;
  "storage buckets describe"*) exit "${NO_BUCKET:-0}" ;;
  "builds submit"*) [ -n "${NO_BUILD:-}" ] || cp "$PUSHED.later" "$PUSHED" ;;
  "artifacts docker images list"*) cat "$PUSHED" ;;
  "run jobs list"*) echo europe-west1 ;;
  "run jobs execute ${FAILS:-none}"*) exit 1 ;;
  "run jobs execute"*) echo "$4-x7" ;;
esac
"""
BQ = """#!/bin/bash
echo "bq $*" >>"$CALLS"
"""
TERRAFORM = """#!/bin/bash
shift # -chdir
[ "$CHECKPOINT_DISABLE" = 1 ] || exit 9 # it would ask its makers
echo "terraform $*" >>"$CALLS"
case "$*" in
  "destroy "*) [ "${STUCK:-0}" -lt "$(grep -c "^terraform destroy" "$CALLS")" ] || exit 1 ;;
  "plan "*) echo "~ update in-place" && exit "${SECOND_PLAN:-0}" ;;
  "output -json registry") [ -z "${NEW:-}" ] || grep -q "^terraform apply" "$CALLS" || exit 1 ;;&
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
    for name, text in (("gcloud", GCLOUD), ("terraform", TERRAFORM), ("bq", BQ)):
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


def test_bootstrap_again_ends_what_a_first_try_left_undone(cloud):
    _, calls = cloud("bootstrap", PROJECT="my-project")
    assert not [c for c in calls if "buckets create" in c]
    assert "gcloud storage buckets update gs://my-project-terraform --versioning" in calls


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


@pytest.mark.parametrize("command", ["bootstrap", "deploy", "drift", "destroy"])
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


def test_a_project_without_billing_is_one_clear_line(cloud):
    done, calls = cloud("bootstrap", PROJECT="my-project", BILLING="False")
    assert done.returncode == 2
    assert done.stderr.startswith("Project my-project has no billing account: https://")
    assert not [c for c in calls if "services enable" in c]


def test_bootstrap_makes_the_accounts_of_google_that_terraform_grants_roles_to(cloud):
    _, calls = cloud("bootstrap", PROJECT="my-project")
    made = {c.split("--service=")[1] for c in calls if "services identity create" in c}
    (enabled,) = [c.split() for c in calls if "services enable" in c]
    assert made <= set(enabled)
    assert "gcloud storage service-agent --project=my-project" in calls
    _, calls = cloud("bootstrap", PROJECT="my-project", CMEK="yes")
    with_keys = {c.split("--service=")[1] for c in calls if "services identity create" in c}
    more = {f"{name}.googleapis.com" for name in ("aiplatform", "composer", "sqladmin")}
    assert with_keys == made | more
    assert "bq show --encryption_service_account --project_id=my-project" in calls


def test_a_first_build_waits_until_its_grants_are_in_force(cloud):
    given = {"ENV": "dev", "PROJECT": "my-project", "APPROVE": "yes", "SETTLE_SECONDS": "0"}
    done, _ = cloud("deploy", NEW="yes", **given)
    assert done.returncode == 0, done.stderr
    assert "New grants: waiting 0 seconds" in done.stdout
    assert "New grants" not in cloud("deploy", **given)[0].stdout


def test_deploy_ends_with_an_empty_second_plan_of_the_same_values(cloud):
    done, calls = cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    (planned,) = [c for c in calls if c.startswith("terraform plan")]
    applied = [c for c in calls if c.startswith("terraform apply")][-1]
    assert "-detailed-exitcode" in planned
    assert [w for w in planned.split() if w.startswith("-var")] == [
        w for w in applied.split() if w.startswith("-var")
    ]
    assert "A second plan is empty: my-project is as Terraform has it." in done.stdout


@pytest.mark.parametrize(("ended", "said"), [("2", "is not empty"), ("1", "failed")])
def test_a_second_plan_that_would_change_something_fails_the_deploy(cloud, ended, said):
    given = {"ENV": "dev", "PROJECT": "my-project", "APPROVE": "yes"}
    done, _ = cloud("deploy", SECOND_PLAN=ended, **given)
    assert done.returncode == 2
    assert said in done.stderr
    assert "~ update in-place" in done.stdout + done.stderr


def test_drift_plans_what_was_deployed_and_changes_nothing(cloud):
    done, _ = cloud("drift", ENV="dev", PROJECT="my-project")
    assert done.returncode == 2
    assert "Nothing was deployed to my-project from this checkout" in done.stderr
    cloud("deploy", ENV="dev", PROJECT="my-project", APPROVE="yes")
    done, calls = cloud("drift", ENV="dev", PROJECT="my-project")
    assert done.returncode == 0, done.stderr
    terraform = [c.split()[1] for c in calls if c.startswith("terraform")]
    assert terraform == ["init", "plan"]


def test_destroy_removes_the_peering_that_outlives_the_database(cloud):
    given = {"ENV": "practice", "PROJECT": "my-project", "APPROVE": "yes"}
    done, calls = cloud("destroy", STUCK="1", PEERING="servicenetworking-googleapis-com", **given)
    assert done.returncode == 0, done.stderr
    order = positions(calls, "terraform destroy", "peerings delete")
    assert order == sorted(order)
    assert len([c for c in calls if c.startswith("terraform destroy")]) == 2


def test_a_destroy_that_fails_for_another_reason_touches_no_network(cloud):
    done, calls = cloud("destroy", ENV="dev", PROJECT="my-project", APPROVE="yes", STUCK="1")
    assert done.returncode == 2
    assert "could not destroy everything" in done.stderr
    assert not [c for c in calls if "peerings delete" in c or "storage rm" in c]


def test_a_subnetwork_that_cloud_run_holds_is_explained(cloud):
    given = {"ENV": "practice", "PROJECT": "my-project", "APPROVE": "yes"}
    done, _ = cloud("destroy", STUCK="9", PEERING="servicenetworking-googleapis-com", **given)
    assert done.returncode == 2
    assert "two hours" in done.stderr
