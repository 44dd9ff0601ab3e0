"""cloudbuild.yaml, step by step: pinned, complete, in order, and pushing nothing unproven."""

import re

import pytest
import yaml

from tests.images.building import APART, CONTAINERS, ROOT

BUILD = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}
IMAGES = sorted({file.parent.name for file in CONTAINERS.glob("*/Dockerfile")} - {*APART})
BUILT_IN = {"PROJECT_ID", "COMMIT_SHA"}


def pushed(image):
    return f"${{_REGISTRY}}/{image}:${{_COMMIT}}"


@pytest.mark.parametrize("step", STEPS)
def test_every_step_runs_in_an_image_pinned_by_digest(step):
    assert re.search(r"@sha256:[0-9a-f]{64}$", STEPS[step]["name"])


def test_steps_are_named_once():
    assert len(STEPS) == len(BUILD["steps"])


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_is_built_tried_listed_scanned_and_pushed(image):
    build = STEPS[f"build-{image}"]["args"]
    assert f"--file=containers/{image}/Dockerfile" in build
    assert f"--tag={pushed(image)}" in build
    assert "--build-arg=REVISION=${_COMMIT}" in build
    for kind in ("try", "sbom", "scan"):
        step = STEPS[f"{kind}-{image}"]
        assert step["waitFor"] == [f"build-{image}"]
        assert any(pushed(image) in word for word in step["args"])
    assert f"/workspace/{image}.spdx.json" in STEPS[f"sbom-{image}"]["args"][-1]
    scan = STEPS[f"scan-{image}"]["args"]
    assert {"--exit-code=1", "--severity=HIGH,CRITICAL"} <= set(scan)
    assert pushed(image) in BUILD["images"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_waits_for_the_one_it_begins_with(image):
    step = STEPS[f"build-{image}"]
    text = (CONTAINERS / image / "Dockerfile").read_text()
    ours = {
        name: on
        for name, on in re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE)
        if on in IMAGES
    }
    for name, on in ours.items():
        assert f"--build-arg={name}={pushed(on)}" in step["args"]
    assert step["waitFor"] == ([f"build-{on}" for on in ours.values()] or ["-"])


def test_nothing_is_pushed_by_a_step_so_all_must_go_well_first():
    assert not [s for s in STEPS.values() if "push" in s.get("args", ())]
    assert len(BUILD["images"]) == len(IMAGES)


def test_steps_wait_for_steps_that_there_are():
    for step in STEPS.values():
        assert set(step["waitFor"]) <= {"-", *STEPS}


def test_the_tests_run_on_the_locked_sets():
    script = STEPS["test"]["args"][-1]
    assert "--require-hashes -r requirements/library.txt -r requirements/dev.txt" in script
    assert "pytest" in script
    for folder in re.findall(r"tests/\w+", script):
        assert (ROOT / folder).is_dir()


def test_substitutions_are_declared_and_used():
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)\}", text))
    assert used == {*BUILD["substitutions"]} | BUILT_IN
    assert BUILD["options"]["dynamicSubstitutions"] is True
    assert BUILD["options"]["logging"] == "CLOUD_LOGGING_ONLY"  # an account of one's own needs it


def test_the_script_and_the_trigger_give_what_it_takes():
    desk = (ROOT / "terraform" / "scripts" / "desk").read_text()
    given = re.search(r'--substitutions="([^"]+)"', desk)[1]
    assert set(re.findall(r"(_\w+)=", given)) == {*BUILD["substitutions"]}
    trigger = (ROOT / "terraform" / "foundation.tf").read_text()
    assert "_REGISTRY" in trigger
    assert BUILD["substitutions"]["_COMMIT"] == "${COMMIT_SHA}"


def test_contents_are_kept_beside_the_sources():
    kept = BUILD["artifacts"]["objects"]
    assert kept["location"] == "gs://${PROJECT_ID}-build/sbom/${_COMMIT}/"
    assert kept["paths"] == ["*.spdx.json"]
