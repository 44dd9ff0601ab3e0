"""What lets a client process reach the local Cloud Run, and nothing of the real Google.

Airflow's stock operators, Google's clients and `gcloud` know no setting for a Cloud Run emulator;
they do know proxies and certificates.
https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
"""

import json
from dataclasses import dataclass
from pathlib import Path

from mbats.local.ports import HOST

REGION = "europe-west1"
HERE = (HOST, "localhost")


@dataclass(frozen=True)
class Addresses:
    """Where a server listens: host:port of each door, and the authority that it is known by."""

    http: str
    grpc: str
    proxy: str
    authority: Path


def client_env(addresses: Addresses, project: str, region: str = REGION) -> dict[str, str]:
    """Return the variables of a client process, on top of those it has.

    Through the proxy a client reaches run.googleapis.com, answered here, and no other host;
    loopback addresses, as those of the emulators, are reached directly.
    """
    proxy = f"http://{addresses.proxy}"
    authority = str(addresses.authority)
    here = ",".join(HERE)
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"project": project, "is_anonymous": True},
    }
    made = {
        "grpc_proxy": proxy,
        "no_grpc_proxy": here,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": authority,
        "REQUESTS_CA_BUNDLE": authority,
        "SSL_CERT_FILE": authority,
        "GOOGLE_CLOUD_PROJECT": project,
        "NO_GCE_CHECK": "true",
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": authority,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_RUN_REGION": region,
    }
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        made |= {name: proxy, name.upper(): proxy}
    return made | {"no_proxy": here, "NO_PROXY": here}
