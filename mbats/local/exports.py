"""The environment variables that point any Google client at the local stack."""

from collections.abc import Mapping

from mbats.config import Settings
from mbats.errors import NotReadyError
from mbats.local import cloud_run_service
from mbats.local.cloud_run.clients import Addresses, client_env
from mbats.local.ports import HOST
from mbats.local.stack import Stack


def exports(stack: Stack, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by name. Raises :class:`NotReadyError` if a service does not run."""
    for each in stack.status():
        if each.condition != "running":
            raise NotReadyError(
                f"{each.title} of the local stack does not run ({each.condition}).",
                tried=list(each.addresses.values()),
                mend="mbats up",
            )
    settings = stack.running_settings()
    made = {
        "BIGQUERY_EMULATOR_HOST": str(settings.bigquery_endpoint),
        "STORAGE_EMULATOR_HOST": str(settings.storage_endpoint),
        "PUBSUB_EMULATOR_HOST": str(settings.pubsub_endpoint),
        "GOOGLE_CLOUD_PROJECT": settings.project,
        # gcsfs would first try gRPC on the HTTP port: a stall of a minute.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    if any(name.lower().endswith("_proxy") and environ[name] for name in environ):
        spared = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        parts = [part for part in spared.split(",") if part]
        parts += [host for host in (HOST, "localhost") if host not in parts]
        made |= {"NO_PROXY": ",".join(parts), "no_proxy": ",".join(parts)}
    return made


def cloud_run_exports(stack: Stack) -> dict[str, str]:
    """Return the variables that lead a client of Cloud Run, as `gcloud`, to the local stack.

    They lead every other request to Google into a refusal, so they are for one process or one
    shell, not for a day's work. Raises :class:`NotReadyError` if the service does not run.
    """
    for each in stack.status():
        if each.service == cloud_run_service.NAME and each.condition == "running":
            found = Addresses(**each.addresses, authority=cloud_run_service.authority(stack.site))
            return client_env(found, stack.settings.project)
    raise NotReadyError("The local Cloud Run does not run.", mend="mbats up")


def bq_line(settings: Settings) -> str:
    """Return how Google's `bq` joins: it knows no emulator variable, and wants some token."""
    return (
        f"bq --api {settings.bigquery_endpoint} --project_id={settings.project} "
        "--oauth_access_token=none ls"
    )
