"""The archiver as a service of the local stack."""

import sys
from pathlib import Path

from mbats import __version__
from mbats.local.service import Launch, Service, Site

_COMMAND = "from mbats.cli.main import main; main()"


def _launch(site: Site) -> Launch:
    version = f"{__version__} {Path(__file__).parent}"
    return Launch((sys.executable, "-c", _COMMAND, "archive"), site.desk_environment(), version)


ARCHIVER_SERVICE = Service(name="archiver", title="Archiver", ports={}, launch=_launch)
"""It waits for the services it needs, so that all start side by side."""
