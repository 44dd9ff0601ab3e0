"""Desks over datasets that nobody else writes to."""

import itertools

import pytest

from mbats import schemas
from mbats.desk import Desk
from mbats.gcp.tables import apply_tables

_numbers = itertools.count(1)


@pytest.fixture
def bare_desk(settings):
    """A desk without tables, its datasets this test's own."""
    number = next(_numbers)
    names = {"security_master": f"security_master_{number}", "risk": f"risk_{number}"}
    with Desk(settings.model_copy(update=names)) as desk:
        yield desk


@pytest.fixture(scope="session")
def desk(settings):
    """A desk with every table, whose batches wait in a dataset of their own, as on Google Cloud.

    Tests share it and keep to names of their own.
    """
    names = {
        "security_master": "security_master_shared",
        "risk": "risk_shared",
        "staging_dataset": "staging_shared",
    }
    with Desk(settings.model_copy(update=names)) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        yield desk


@pytest.fixture
def instrument():
    """An instrument that no other test stores."""
    number = next(_numbers)
    return "".join(chr(ord("A") + number // 26**place % 26) for place in (2, 1, 0)) + "_USD"
