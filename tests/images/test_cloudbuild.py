"""cloudbuild.yaml, step by step: pinned, complete, in order, and pushing nothing unproven."""

import os
import re
import shlex
import subprocess

import pytest
import yaml

from tests.images.building import CONTAINERS, ROOT

BUILD = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}
IMAGES = sorted(file.parent.name for file in CONTAINERS.glob("*/Dockerfile"))
OPTIONAL = {"dataflow": "_DATAFLOW"}  # built where a substitution says so
BUILT_IN = {"PROJECT_ID", "COMMIT_SHA"}


def pushed(image):
    return f"${{_REGISTRY}}/{image}:${{_COMMIT}}"


def words(step):
    """Return what a step runs as a list of words, whether a program's own or a script's."""
    args = STEPS[step]["args"]
    return args if STEPS[step].get("entrypoint") != "bash" else shlex.split(args[-1])


@pytest.mark.parametrize("step", STEPS)
def test_every_step_runs_in_an_image_pinned_by_digest(step):
    assert re.search(r"@sha256:[0-9a-f]{64}$", STEPS[step]["name"])


@pytest.mark.parametrize("step", [f"{kind}-{i}" for kind in ("sbom", "scan") for i in OPTIONAL])
def test_so_does_what_a_step_runs_itself(step):
    (tool,) = [word for word in words(step) if re.match(r"docker\.io/\w+/", word)]
    assert tool == STEPS[step.replace("dataflow", "desk")]["name"]


def test_steps_are_named_once():
    assert len(STEPS) == len(BUILD["steps"])


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_is_built_tried_listed_and_scanned(image):
    build = words(f"build-{image}")
    assert f"--file=containers/{image}/Dockerfile" in build
    assert f"--tag={pushed(image)}" in build
    assert "--build-arg=REVISION=${_COMMIT}" in build
    for kind in ("try", "sbom", "scan"):
        assert STEPS[f"{kind}-{image}"]["waitFor"] == [f"build-{image}"]
        assert any(pushed(image) in word for word in words(f"{kind}-{image}"))
    assert f"--output=spdx-json=/workspace/{image}.spdx.json" in words(f"sbom-{image}")
    scan = words(f"scan-{image}")
    assert {"--exit-code=1", "--severity=HIGH,CRITICAL", "--ignore-unfixed"} <= set(scan)


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
        assert f"--build-arg={name}={pushed(on)}" in words(f"build-{image}")
    assert step["waitFor"] == ([f"build-{on}" for on in ours.values()] or ["-"])


def test_every_image_is_pushed_when_all_went_well():
    assert BUILD["images"] == [pushed(image) for image in unordered(BUILD["images"])]
    assert sorted(unordered(BUILD["images"])) == [i for i in IMAGES if i not in OPTIONAL]
    pushing = [step for step in STEPS if "push" in words(step)]
    assert pushing == [f"push-{image}" for image in OPTIONAL]
    for image, step in zip(OPTIONAL, pushing, strict=True):
        assert words(step)[-3:] == ["docker", "push", pushed(image)]
        assert "waitFor" not in STEPS[step], "it would not wait for every step before it"
    assert [*STEPS][-len(pushing) :] == pushing, "a step after it could fail"


def unordered(names):
    return [re.search(r"/([\w-]+):", name)[1] for name in names]


@pytest.mark.parametrize("image", OPTIONAL)
@pytest.mark.parametrize("given", ["true", "false", ""])
def test_an_optional_image_is_built_only_where_it_is_asked_for(image, given, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "docker $*"\n')
    docker.chmod(0o755)
    values = {OPTIONAL[image]: given, "_REGISTRY": "registry", "_COMMIT": "c0ffee", "_SOURCE": "s"}
    for step in (f"{kind}-{image}" for kind in ("build", "try", "sbom", "scan", "push")):
        flags, script = STEPS[step]["args"]
        done = subprocess.run(
            ["bash", flags, re.sub(r"\$\{(_\w+)\}", lambda found: values[found[1]], script)],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(done.stdout.splitlines()) == (given == "true"), step
        assert (f"registry/{image}:c0ffee" in done.stdout) == (given == "true")


def test_steps_wait_for_steps_that_there_are():
    for step in STEPS.values():
        assert set(step.get("waitFor", ())) <= {"-", *STEPS}


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
    assert {"_REGISTRY", *OPTIONAL.values()} <= set(re.findall(r"\b(_[A-Z]+) *=", trigger))
    assert BUILD["substitutions"]["_COMMIT"] == "${COMMIT_SHA}"


def test_contents_are_kept_beside_the_sources():
    kept = BUILD["artifacts"]["objects"]
    assert kept["location"] == "gs://${PROJECT_ID}-build/sbom/${_COMMIT}/"
    assert kept["paths"] == ["*.spdx.json"]
