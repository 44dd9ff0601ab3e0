"""What every test may ask for: the local stack, started once a session, and settings for it."""

from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from mbats.config import Settings
from mbats.local.stack import Stack

# The same examples in every run, and no deadline: this is a test of answers, not of the machine.
hypothesis_settings.register_profile("desk", derandomize=True, deadline=None)
hypothesis_settings.load_profile("desk")


CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The emulators, on free ports and with data of their own; stopped when the session ends.

    The environments are the checkout's. If the emulators cannot be started here, every test
    that asks for them fails with the mend: a machine without them proves nothing.
    """
    home = tmp_path_factory.mktemp("stack") / ".mbats"
    stack = Stack(
        Settings(home=home, venvs=CHECKOUT / ".mbats" / "venvs", project="mbats-test"),
        any_ports=True,
    )
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def settings(stack) -> Settings:
    """Settings that point at the session's stack."""
    return stack.running_settings()
