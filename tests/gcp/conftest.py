"""Stores over a warehouse of the test's own: datasets nobody else writes to."""

import itertools

import pytest

from mbats import schemas
from mbats.desk import Desk
from mbats.gcp.tables import apply_tables

_numbers = itertools.count(1)


@pytest.fixture
def own_settings(settings):
    """Settings with two datasets that no other test uses."""
    number = next(_numbers)
    return settings.model_copy(
        update={"security_master": f"security_master_{number}", "risk": f"risk_{number}"}
    )


@pytest.fixture
def bare_desk(own_settings):
    """A desk without tables."""
    with Desk(own_settings) as desk:
        yield desk


@pytest.fixture
def desk(bare_desk):
    """A desk with every table."""
    apply_tables(bare_desk.warehouse, schemas.all_tables().values())
    return bare_desk


@pytest.fixture(scope="module")
def shared_desk(settings):
    """A desk with every table for the tests of one module, which use names of their own."""
    number = next(_numbers)
    own = settings.model_copy(
        update={"security_master": f"security_master_{number}", "risk": f"risk_{number}"}
    )
    with Desk(own) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        yield desk
