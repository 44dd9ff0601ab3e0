"""What every test may ask for: the local stack, started once a session, and settings for it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from mbats.config import Settings
from mbats.local import processes
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.stack import Stack

# The same examples in every run, and no deadline: this is a test of answers, not of the machine.
hypothesis_settings.register_profile("desk", derandomize=True, deadline=None)
hypothesis_settings.load_profile("desk")


CHECKOUT = Path(__file__).parents[1]
WALL_CLOCK = "wall_clock"
LONG = ("slow", "emulators")
OWNER = "session.json"


def pytest_collection_modifyitems(config, items):
    """Leave out what needs minutes of real time, unless it is asked for by its mark; say so.

    The longest files come first, so that no worker is left with one of them at the end.
    """
    if WALL_CLOCK not in config.getoption("markexpr"):
        for item in items:
            if item.get_closest_marker(WALL_CLOCK):
                reason = "NOT RUN: REAL PROCESSES ON THE WALL'S CLOCK. Run it with: make chain"
                item.add_marker(pytest.mark.skip(reason=reason))
    marks = {mark: {i.path for i in items if i.get_closest_marker(mark)} for mark in LONG}
    items.sort(key=lambda item: [item.path not in marks[mark] for mark in LONG])


class FailuresAtOnce:
    """Tells a failure when it happens: a run that is cut off never comes to its summary."""

    def __init__(self, plugins):
        self._plugins = plugins

    def pytest_runtest_logreport(self, report):
        terminal = self._plugins.get_plugin("terminalreporter")
        if report.failed and terminal:
            terminal.write_line(f"\nFAILED {report.nodeid}, {report.when}", red=True)
            terminal.write_line(report.longreprtext)


def pytest_configure(config):
    config.pluginmanager.register(FailuresAtOnce(config.pluginmanager))


def pytest_terminal_summary(terminalreporter):
    """Print the figures that tests recorded as properties: no assertion is about them."""
    reports = [r for kind in terminalreporter.stats.values() for r in kind]
    figures = [figure for r in reports for figure in getattr(r, "user_properties", ())]
    if figures:
        terminalreporter.section("figures")
    for name, value in dict(figures).items():
        terminalreporter.line(f"{name:<60}{value:>8}")


def own(home):
    """Write down that this process is the one that will stop the stack of ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    (home / OWNER).write_text(json.dumps([os.getpid(), processes.started(os.getpid())]))


@pytest.fixture(scope="session")
def stop_abandoned():
    """Return what stops the stacks of test sessions that were killed before they could."""

    def stop():
        for home in processes.homes():
            owner = home / OWNER
            if owner.exists() and processes.find(*json.loads(owner.read_text())) is None:
                Stack(Settings(home=home)).down()

    return stop


@pytest.fixture(scope="session")
def stack(tmp_path_factory, stop_abandoned):
    """The emulators, on free ports and with data of their own; stopped when the session ends.

    The environments are the checkout's. If the emulators cannot be started here, every test
    that asks for them fails with the mend: a machine without them proves nothing.
    """
    stop_abandoned()
    home = tmp_path_factory.mktemp("stack") / ".mbats"
    own(home)
    stack = Stack(
        Settings(home=home, venvs=CHECKOUT / ".mbats" / "venvs", project="mbats-test"),
        services=EMULATOR_SERVICES,
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
