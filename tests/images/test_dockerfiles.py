"""What holds for every Dockerfile, read as text: no image is built here."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from mbats.local.cloud_run import images as local_images
from mbats.local.cloud_run.jobs_file import read_jobs
from tests.images.building import CONTAINERS, ORDER, ROOT

DOCKERFILES = sorted(CONTAINERS.glob("*/Dockerfile"))
IMAGES = [file.parent.name for file in DOCKERFILES]
AS_ROOT = {"dataflow"}  # its Dockerfile says why
LABELS = ("title", "description", "licenses", "source", "revision")
COMPILERS = re.compile(r"\b(gcc|g\+\+|build-essential|clang|make|rustc|cargo|golang)\b")


def text_of(image):
    return re.sub(r"\\\n", " ", (CONTAINERS / image / "Dockerfile").read_text())


def instructions(text):
    lines = (line.strip() for line in text.splitlines())
    return [line.split(None, 1) for line in lines if line and not line.startswith("#")]


def last_stage(image):
    lines = instructions(text_of(image))
    begin = max(i for i, (word, *_) in enumerate(lines) if word == "FROM")
    return lines[begin:]


def values(stage, word):
    return [rest[0] for name, *rest in stage if name == word]


def arguments(image):
    """Return the ARGs before the first FROM, with their defaults."""
    lines = instructions(text_of(image))
    first = next(i for i, (word, *_) in enumerate(lines) if word == "FROM")
    return dict(rest.split("=", 1) for _, rest in lines[:first])


def test_there_are_images():
    assert {
        "desk",
        "streamer",
        "mlflow",
        "model-server",
        "preview",
        "sql-proxy",
        "dataflow",
    } == set(IMAGES)


@pytest.mark.parametrize("image", [i for i in IMAGES if i not in AS_ROOT])
def test_it_runs_as_nobody_in_particular(image):
    users = values(last_stage(image), "USER")
    assert users, "no USER: it would run as root"
    assert re.fullmatch(r"[1-9]\d*", users[-1]), "a number, which Kubernetes and people can check"


@pytest.mark.parametrize("image", sorted(AS_ROOT))
def test_what_runs_as_root_says_so_and_why(image):
    assert values(last_stage(image), "USER") == ["0"]
    lines = (CONTAINERS / image / "Dockerfile").read_text().splitlines()
    above = lines[: lines.index("USER 0")]
    reason = []
    while above and above[-1].startswith("#"):
        reason.insert(0, above.pop())
    assert "root" in " ".join(reason)
    assert len(" ".join(reason)) > 100, "a reason, not a word"


@pytest.mark.parametrize("image", IMAGES)
def test_its_entry_point_is_a_list_so_that_signals_arrive(image):
    entry = local_images.read(CONTAINERS / image / "Dockerfile")
    assert entry.entrypoint
    for word in ("ENTRYPOINT", "CMD"):
        for value in values(last_stage(image), word):
            assert isinstance(json.loads(value), list)


@pytest.mark.parametrize("image", IMAGES)
def test_what_it_begins_with_is_one_of_ours_or_pinned_by_digest(image):
    given = arguments(image)
    for source in values(instructions(text_of(image)), "FROM"):
        name = re.fullmatch(r"\$\{(\w+)\}(?: AS \w+)?", source)
        assert name, f"FROM {source}: name it by an ARG, so that a stand-in can take its place"
        default = given[name[1]]
        assert default in IMAGES or re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", default), default


def test_all_begin_with_the_same_python():
    assert len({arguments(i)["BASE"] for i in IMAGES if "BASE" in arguments(i)}) == 1


@pytest.mark.parametrize("image", IMAGES)
def test_it_says_what_it_is(image):
    stage = last_stage(image)
    labels = " ".join(values(stage, "LABEL"))
    for name in LABELS:
        assert f"org.opencontainers.image.{name}=" in labels
    assert 'image.revision="${REVISION}"' in labels


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_installed_is_locked_by_hash_and_nothing_compiles_in_the_last_stage(image):
    stage = last_stage(image)
    for line in values(stage, "RUN"):
        assert "pip" not in line
        assert not COMPILERS.search(line)
        assert "apt-get" not in line
    for line in values(instructions(text_of(image)), "RUN"):
        for command in re.split(r"&&", line):
            if re.search(r"\bpip\b.* (install|wheel)\b", command) and "--no-index" not in command:
                own = command.rstrip().endswith(" .")  # the library itself, without what it needs
                assert own or "--require-hashes" in command, command
                assert not own or "--no-deps --no-build-isolation" in command, command
                assert own or "--only-binary=:all:" in command, command


@pytest.mark.parametrize("image", [i for i in IMAGES if i in ORDER and "BASE" in ORDER[i]])
def test_python_prints_at_once(image):
    on = ORDER[image].get("MLFLOW", image)
    assert "PYTHONUNBUFFERED=1" in " ".join(values(last_stage(on), "ENV"))


@pytest.mark.parametrize("image", ["mlflow", "model-server"])
def test_mlflow_tells_its_makers_nothing(image):
    on = ORDER[image].get("MLFLOW", image)
    settings = " ".join(values(last_stage(on), "ENV")).split()
    assert {"MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true"} <= set(settings)


def test_the_jobs_use_images_that_there_are():
    jobs = read_jobs(CONTAINERS / "jobs.yaml")
    assert {job.image for job in jobs.values()} <= set(IMAGES)


def test_terraform_asks_every_service_how_it_is():
    services = (ROOT / "terraform/modules/run-service/main.tf").read_text()
    assert {"startup_probe", "liveness_probe"} <= set(re.findall(r"\b\w+_probe\b", services))
    variables = (ROOT / "terraform/modules/run-service/variables.tf").read_text()
    assert 'default     = "/health"' in variables
    mlflow = (ROOT / "terraform/modules/mlflow/service.tf").read_text()
    assert {"/health", "/startup"} == set(re.findall(r'path = "(/\w+)"', mlflow))


def test_terraform_has_a_variable_for_every_image():
    text = (ROOT / "terraform/variables.tf").read_text()
    block = re.search(r'variable "images" \{.*?\n  default', text, re.DOTALL)[0]
    known = set(re.findall(r"^    (\w+) +=", block, re.MULTILINE))
    assert {image.replace("-", "_") for image in IMAGES} <= known


def test_every_image_can_be_built_here():
    assert set(ORDER) == set(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_a_stand_in_takes_the_place_of_what_is_named_there(image):
    given = arguments(image)
    assert {name: on.split("@")[0] for name, on in given.items()} == dict(ORDER[image])


def test_the_worker_is_started_by_the_program_of_the_same_beam():
    module = (CONTAINERS / "dataflow/boot/go.mod").read_text()
    locked = (ROOT / "requirements/beam.txt").read_text()
    started = re.search(r"github\.com/apache/beam/sdks/v2 v(\S+)", module)[1]
    assert started == re.search(r"^apache-beam==(\S+)", locked, re.MULTILINE)[1]
    hashed = (CONTAINERS / "dataflow/boot/go.sum").read_text()
    for name, version in re.findall(r"^\t(\S+/\S+) (v\S+)", module, re.MULTILINE):
        assert f"{name} {version} h1:" in hashed


def test_a_worker_can_ask_pip_whether_beam_is_there():
    assert "venv /opt/pipeline" in text_of("dataflow")  # one --without-pip starts no worker


def test_go_takes_nothing_but_what_is_locked():
    for command in re.findall(r"\bgo build [^&]*", text_of("dataflow")):
        assert "-mod=readonly" in command


def passes(path, rules):
    """Say whether a .dockerignore lets a path through: the last rule that matches decides."""
    kept = True
    for rule in rules:
        pattern = rule.removeprefix("!").removeprefix("**/")
        if any(fnmatch(part, pattern) for part in (path, *map(str, Path(path).parents))):
            kept = rule.startswith("!")
    return kept


def test_the_build_sees_what_the_wheel_is_made_of_and_no_secret():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = [*wheel["targets"]["wheel"]["force-include"], "mbats/cli/main.py", "pyproject.toml"]
    assert [path for path in needed if not passes(path, rules)] == []
    for path in (".git/config", ".mbats/stack.json", "mbats.toml", "tests/conftest.py",
                 "terraform/environments/dev.local.tfvars"):  # fmt: skip
        assert not passes(path, rules), path


@pytest.mark.slow
def test_the_wheel_carries_what_the_library_reads(tmp_path):
    done = subprocess.run(
        ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--offline",
         "--python", sys.executable, "--out-dir", tmp_path, ROOT],
        capture_output=True, text=True, check=False,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for source, target in {
        "terraform/modules/warehouse/schemas": "mbats/_schemas",
        "terraform/modules/pubsub/schemas": "mbats/_message_schemas",
        "looker/views": "mbats/_views",
        "strategies": "mbats/_strategies",
        "containers": "mbats/_containers",
        "requirements": "mbats/_requirements",
    }.items():
        files = [
            f for f in (ROOT / source).rglob("*") if f.is_file() and "__pycache__" not in f.parts
        ]
        assert files
        assert {f"{target}/{f.relative_to(ROOT / source)}" for f in files} <= names
    assert "mbats/desk/preview_pages/index.html" in names


def test_the_build_file_is_plain_yaml():
    assert yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())["steps"]
