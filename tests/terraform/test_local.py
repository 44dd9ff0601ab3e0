"""The data plane on the local emulators: planned here, applied where the real provider is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mbats import schemas
from mbats.local import topology

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def planned(terraform):
    code = type(terraform)(terraform.folder / "local", terraform.environ)
    code.init()
    outcome = code.test("local")
    assert outcome.passed, outcome.complaints
    return outcome.plans["local"]


def test_it_makes_every_table_and_topic_of_the_desk(planned):
    tables = {
        (r.values["dataset_id"], r.values["table_id"])
        for r in planned.of("bigquery_table")
        if not r.values.get("view")
    }
    assert tables == set(schemas.all_tables())
    topics = {r.values["name"] for r in planned.of("pubsub_topic")}
    assert topics == {name for t in topology.TOPICS for name in (t.name, t.dead_letter)}
    # The stack has made its own of the same names, and an emulator makes no schema twice.
    made = planned.of("pubsub_schema", "pubsub_subscription", "pubsub_topic")
    assert {r.values["project"] for r in made} == {"mbats-local-messages"}


def test_it_asks_of_the_emulators_only_what_they_can(planned):
    kinds = {r.kind for r in planned.resources}
    assert kinds == {
        "google_bigquery_dataset",
        "google_bigquery_routine",
        "google_bigquery_table",
        "google_pubsub_schema",
        "google_pubsub_subscription",
        "google_pubsub_topic",
    }
    for subscription in planned.of("pubsub_subscription"):  # the emulator keeps seven days at most
        assert subscription.values["message_retention_duration"] == "604800s"


@pytest.mark.emulators
def test_it_applies_or_says_in_one_line_that_it_needs_the_real_provider(terraform):
    done = subprocess.run(
        [ROOT / "terraform" / "scripts" / "local"],
        env=terraform.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 3:
        assert done.stderr.startswith("make terraform-local needs the real google provider")
        assert done.stderr.count("\n") == 1
        return
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert steps == ["apply", "second plan", "mbats init", "destroy", "Nothing is left of it."]


TERRAFORM = """#!/bin/bash
case "$*" in
  *-refresh=false*) echo "${NO_PROVIDER:-}" && exit "${REFUSES:-0}" ;;
  apply*) echo "Apply complete! Resources: 54 added." ;;
  plan*) echo "${SECOND_PLAN:-No changes.}" && exit "${CHANGES:-0}" ;;
  destroy*) echo "Destroy complete! Resources: 54 destroyed." ;;
esac
"""
MBATS = """#!/bin/bash
case "$*" in
  env) printf 'export BIGQUERY_EMULATOR_HOST=http://bq\nexport PUBSUB_EMULATOR_HOST=ps\n' ;;
  "init --dry-run") echo "${INIT:-Nothing changed (28 checked).}" ;;
  down) touch "$STOPPED" ;;
esac
"""
CURL = """#!/bin/bash
echo "${LEFT:-}"
"""


@pytest.fixture
def local(tmp_path):
    """The script in a checkout where terraform, mbats and the emulators only answer."""
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    for folder in ("modules", "local", "scripts"):
        (checkout / "terraform" / folder).mkdir(parents=True)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    programs.mkdir()
    (checkout / "terraform" / "messages.yaml").touch()
    (tmp_path / "terraform.rc").touch()
    for name in ("local", "provider"):
        shutil.copy(ROOT / "terraform" / "scripts" / name, checkout / "terraform" / "scripts")
    for file, text in (
        (programs / "terraform", TERRAFORM),
        (programs / "curl", CURL),
        (checkout / ".venv" / "bin" / "mbats", MBATS),
    ):
        file.write_text(text)
        file.chmod(0o755)
    stopped = tmp_path / "stopped"

    def run(**environ):
        stopped.unlink(missing_ok=True)
        done = subprocess.run(
            [checkout / "terraform" / "scripts" / "local"],
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "TF_CLI_CONFIG_FILE": str(tmp_path / "terraform.rc"),
                "STOPPED": str(stopped),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert stopped.exists()
        return done

    return run


def test_it_says_of_every_step_how_it_went(local):
    done = local()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "apply: Apply complete! Resources: 54 added.",
        "second plan: No changes.",
        "mbats init: Nothing changed (28 checked).",
        "destroy: Destroy complete! Resources: 54 destroyed.",
        "Nothing is left of it.",
    ]


@pytest.mark.parametrize(
    ("environ", "code", "said"),
    [
        ({"REFUSES": "1", "NO_PROVIDER": "only its recorded schema"}, 3, "needs the real google"),
        ({"REFUSES": "1", "NO_PROVIDER": "no such argument"}, 1, "plan: failed\nno such argument"),
        ({"CHANGES": "2", "SECOND_PLAN": "~ update"}, 1, "second plan: failed\n~ update"),
        ({"INIT": "Would change risk.fill"}, 1, "mbats init: failed\nWould change risk.fill"),
        ({"LEFT": '"datasetId":"risk"'}, 1, 'still hold: "datasetId":"risk"'),
        ({"LEFT": '"name": "projects/p/topics/t"'}, 1, "still hold: "),
    ],
)
def test_a_step_that_goes_wrong_ends_it_with_its_output(local, environ, code, said):
    done = local(**environ)
    assert done.returncode == code
    assert said in done.stderr
    assert "Nothing is left of it." not in done.stdout
