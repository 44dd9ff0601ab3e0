"""The local Cloud Run as a service of the local stack."""

import sys
from pathlib import Path

from mbats import __version__
from mbats.local.cloud_run.clients import REGION, Addresses
from mbats.local.cloud_run.desk_jobs import make_jobs
from mbats.local.cloud_run.jobs_file import containers, read_jobs
from mbats.local.service import Launch, Service, Site

NAME = "cloud-run"
_GRACE = 3.0  # seconds; `mbats down` gives the whole stack five


def authority(site: Site) -> Path:
    """Return the certificate that clients of the stack's Cloud Run trust."""
    return site.data(NAME) / "tls" / "ca.pem"


def addresses(site: Site) -> Addresses:
    """Return where the stack's Cloud Run listens."""
    return Addresses(
        http=site.address(NAME),
        grpc=site.address(NAME, "grpc"),
        proxy=site.address(NAME, "proxy"),
        authority=authority(site),
    )


def _launch(site: Site) -> Launch:
    settings, ports = site.settings, site.ports[NAME]
    environment = {
        **site.desk_environment(),
        "BIGQUERY_EMULATOR_HOST": f"http://{site.address('bigquery')}",
        "STORAGE_EMULATOR_HOST": f"http://{site.address('storage')}",
        "PUBSUB_EMULATOR_HOST": site.address("pubsub"),
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    flags = {
        "folder": site.data(NAME),
        "containers": containers(),
        "workdir": site.home.parent,
        "http": ports["http"],
        "grpc": ports["grpc"],
        "proxy": ports["proxy"],
        "grace": _GRACE,
    }
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    version = f"{__version__} {Path(__file__).parent}"
    return Launch((sys.executable, "-m", "mbats.local.cloud_run", *words), environment, version)


def _prepare(site: Site) -> None:
    specs = read_jobs(containers() / "jobs.yaml")
    make_jobs(site.ports[NAME]["http"], specs, site.settings.project, REGION)


CLOUD_RUN_SERVICE = Service(
    name=NAME,
    title="Cloud Run jobs",
    ports={"http": 9080, "grpc": 9081, "proxy": 9082},
    launch=_launch,
    health=f"/v2/projects/any/locations/{REGION}/jobs",
    prepare=_prepare,
    endpoints=lambda site: {"cloud_run_endpoint": f"http://{site.address(NAME)}"},
)
"""It runs the desk's jobs; they find the other services when they start."""
