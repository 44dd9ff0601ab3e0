"""The archiver as a service of the local stack."""

import sys
from pathlib import Path

from mbats import __version__
from mbats.local.service import Launch, Service, Site

_COMMAND = "from mbats.cli.main import main; main()"


def _launch(site: Site) -> Launch:
    settings = site.settings
    environment = {
        "MBATS_PROFILE": "local",
        "MBATS_HOME": str(site.home),
        "MBATS_PROJECT": settings.project,
        "MBATS_LOCATION": settings.location,
        "MBATS_SECURITY_MASTER": settings.security_master,
        "MBATS_RISK": settings.risk,
        "MBATS_BIGQUERY_ENDPOINT": f"http://{site.address('bigquery')}",
        "MBATS_BIGQUERY_GRPC": site.address("bigquery", "grpc"),
        "MBATS_PUBSUB_ENDPOINT": site.address("pubsub"),
    }
    version = f"{__version__} {Path(__file__).parent}"
    return Launch((sys.executable, "-c", _COMMAND, "archive"), environment, version)


ARCHIVER_SERVICE = Service(name="archiver", title="Archiver", ports={}, launch=_launch)
"""It waits for the services it needs, so that all start side by side."""
