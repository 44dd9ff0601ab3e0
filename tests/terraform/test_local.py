"""The data plane on the local emulators: planned here, applied where the real provider is."""

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
    assert "second plan: No changes" in done.stdout
    assert "mbats init: Nothing changed" in done.stdout
