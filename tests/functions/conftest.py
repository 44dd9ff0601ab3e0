"""Projects of one test: topics, buckets and functions that nobody else uses."""

import pytest

from mbats.desk import Desk
from tests.functions.rig import Function, People, new_project


@pytest.fixture
def project(settings, tmp_path):
    """Settings of a project with the desk's topics and buckets, this test's own."""
    return new_project(settings, tmp_path / ".mbats")


@pytest.fixture
def desk(project):
    with Desk(project) as desk:
        yield desk


@pytest.fixture
def start(tmp_path):
    """Start functions; all end with the test."""
    started = []

    def make(name, settings, *, dying=False):
        mark = tmp_path / f"{name}-died" if dying else None
        log = tmp_path / f"{name}.log"
        started.append(Function(name, settings, log, mark))
        return started[-1]

    yield make
    for function in started:
        function.stop()


@pytest.fixture
def people():
    people = People()
    yield people
    people.close()
