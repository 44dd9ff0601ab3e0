import os
import sys
from pathlib import Path

import psutil
import pytest

from mbats.config import Settings
from mbats.local import processes
from mbats.local.service import Launch, Service
from mbats.local.stack import Stack

SERVER = Path(__file__).with_name("fake_server.py")


def fake_service(name, behaviour="well", needs=None, **more):
    """A service that is a small HTTP server; ``needs`` names one whose address it is given."""

    def launch(site):
        command = (sys.executable, str(SERVER), str(site.ports[name]["http"]), behaviour)
        return Launch(command, {"OTHER": site.address(needs)} if needs else {})

    return Service(
        name=name,
        title=name.title(),
        ports={"http": 1},  # nobody but root may have it: every stack gets a free one instead
        launch=launch,
        health="/health",
        endpoints=lambda site: {f"{name}_endpoint": f"http://{site.address(name)}"},
        **more,
    )


@pytest.fixture
def home(tmp_path):
    return tmp_path / ".mbats"


@pytest.fixture
def fake_stack(home):
    """Make stacks of fake services in one home; all that they started ends with the test."""

    def make(*services, **more):
        services = services or (fake_service("storage"), fake_service("bigquery"))
        quick = {"any_ports": True, "grace": 3} | more
        return Stack(Settings(home=home), services, **quick)

    yield make
    processes.stop([p for found in processes.tagged(home.resolve()).values() for p in found], 1)


@pytest.fixture
def service():
    return fake_service


@pytest.fixture
def stranger():
    """A process that is none of the stack's."""
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ)
    yield child
    if child.poll() is None:
        child.kill()
        child.wait()
