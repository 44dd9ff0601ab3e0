"""Projects of one test: topics, buckets and functions that nobody else uses."""

import itertools

import pytest

from mbats.desk import Desk
from mbats.local import rest, topology
from mbats.local.emulators import BUCKETS
from tests.functions.rig import Function, People

_numbers = itertools.count(1)


@pytest.fixture
def project(settings, tmp_path):
    """Settings of a project with the desk's topics and buckets, this test's own."""
    number = next(_numbers)
    mine = settings.model_copy(
        update={
            "project": f"functions-{number}",
            "home": tmp_path / ".mbats",
            "oanda_environment": "sim",
        }
    )
    _host, _, port = settings.pubsub_endpoint.rpartition(":")
    for method, path, body in topology.requests(mine.project):
        rest.make(int(port), method, path, body)
    with Desk(mine) as desk:
        for bucket in BUCKETS:
            desk.objects.make_bucket(bucket)
    return mine


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
