"""Which command a container's image stands for."""

import pytest
from google.cloud import run_v2

from mbats.errors import DataError
from mbats.local.cloud_run.images import EntryPoint, command, read, repository


@pytest.mark.parametrize(
    "image",
    [
        "desk",
        "desk:v1",
        "europe-west1-docker.pkg.dev/p/mbats/desk",
        "europe-west1-docker.pkg.dev/p/mbats/desk:abc",
        "localhost:5000/desk",
        f"gcr.io/p/desk:v1@sha256:{'0' * 64}",
    ],
)
def test_the_last_path_part_names_the_image(image):
    assert repository(image) == "desk"


@pytest.mark.parametrize("image", ["", "..", "a/..", "a/", "Desk", "a b"])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(DataError, match="no name of a container image"):
        repository(image)


@pytest.fixture
def written(tmp_path):
    def write(text, image="desk"):
        (tmp_path / image).mkdir(exist_ok=True)
        (tmp_path / image / "Dockerfile").write_text(text)
        return tmp_path / image / "Dockerfile"

    return write


@pytest.mark.parametrize(
    ("text", "entrypoint", "cmd"),
    [
        ('FROM x\nENTRYPOINT ["mbats"]', ("mbats",), ()),
        ('FROM x\nCMD ["a", "b"]', (), ("a", "b")),
        ('FROM x\nentrypoint ["mbats"]\ncmd ["demo"]', ("mbats",), ("demo",)),
        ('FROM x\nENTRYPOINT [ \\\n  "a", \\\n  # why\n  "b" ]', ("a", "b"), ()),
        ('FROM x\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]', ("b",), ()),
        ('FROM x AS build\nENTRYPOINT ["a"]\nFROM y\nENTRYPOINT ["b"]', ("b",), ()),
        ('FROM x AS build\nENTRYPOINT ["a"]\nFROM y', (), ()),
        ('FROM x AS base\nENTRYPOINT ["a"]\nCMD ["c"]\nFROM base AS last', ("a",), ("c",)),
        ('FROM x AS base\nCMD ["c"]\nFROM Base\nENTRYPOINT ["b"]', ("b",), ()),
        ('FROM --platform=linux/amd64 x AS b\nENTRYPOINT ["a"]\nFROM b', ("a",), ()),
        (
            '# ENTRYPOINT ["no"]\nFROM x\nENTRYPOINT ["a", "--flag=\\"x\\""]',
            ("a", '--flag="x"'),
            (),
        ),
    ],
)
def test_the_last_stage_says_what_runs(written, text, entrypoint, cmd):
    assert read(written(text)) == EntryPoint(entrypoint, cmd)


@pytest.mark.parametrize("line", ["ENTRYPOINT mbats", "CMD mbats demo", 'ENTRYPOINT ["a", 1]'])
def test_shell_form_is_refused_with_the_mend(written, line):
    with pytest.raises(DataError, match="shell form") as caught:
        read(written(f"FROM x\n{line}\n"))
    assert '["program", "argument"]' in caught.value.mend


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        ({}, ["mbats", "demo"]),
        ({"args": ["up"]}, ["mbats", "up"]),
        ({"command": ["sh"]}, ["sh"]),
        ({"command": ["sh"], "args": ["-c", "x"]}, ["sh", "-c", "x"]),
    ],
)
def test_command_and_arguments_replace_what_the_image_says(written, container, wanted):
    folder = written('FROM x\nENTRYPOINT ["mbats"]\nCMD ["demo"]').parent.parent
    assert command(folder, run_v2.Container(image="host/desk:1", **container)) == wanted


def test_an_image_without_an_entry_point_or_a_folder_is_named(written, tmp_path):
    written("FROM x\n", "empty")
    with pytest.raises(DataError, match="has no entry point"):
        command(tmp_path, run_v2.Container(image="empty"))
    with pytest.raises(DataError, match="no image 'lost'"):
        command(tmp_path, run_v2.Container(image="host/lost"))
