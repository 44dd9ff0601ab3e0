"""Cloud Run and Airflow: an identity of their own, secrets by number, nobody IAM does not know."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

WORKLOADS = (
    "google_cloud_run_v2_job",
    "google_cloud_run_v2_service",
    "google_cloud_run_v2_worker_pool",
)


def first(block: Any, name: str) -> Any:
    """Return the first value of an argument or nested block as checkov holds it, or None."""
    value = block.get(name) if isinstance(block, dict) else None
    return value[0] if isinstance(value, list) and value else value


def instance(conf: dict[str, Any]) -> Any:
    """Return the block that describes an instance: a job's stands one deeper."""
    template = first(conf, "template")
    return first(template, "template") or template


class OwnServiceAccount(BaseResourceCheck):
    """The default account can edit the whole project."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that Cloud Run runs as a service account of its own",
            id="CKV_MBATS_1",
            categories=[CheckCategories.IAM],
            supported_resources=WORKLOADS,
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Pass where a service account is named."""
        named = first(instance(conf), "service_account")
        return CheckResult.PASSED if named else CheckResult.FAILED


class PinnedSecrets(BaseResourceCheck):
    """With `latest`, a restart decides which token trades."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that Cloud Run names the versions of its secrets by number",
            id="CKV_MBATS_2",
            categories=[CheckCategories.SECRETS],
            supported_resources=WORKLOADS,
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Fail where any part of the workload asks for the latest version."""
        wanted = "'version': ['latest']" in str(conf)
        return CheckResult.FAILED if wanted else CheckResult.PASSED


class KnownCallers(BaseResourceCheck):
    """A service without the invoker check answers the world."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that a Cloud Run service checks its callers and states its ingress",
            id="CKV_MBATS_3",
            categories=[CheckCategories.NETWORKING],
            supported_resources=("google_cloud_run_v2_service",),
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Pass where ingress is given and the invoker check is not switched off."""
        open_to_all = first(conf, "invoker_iam_disabled") is True
        safe = bool(first(conf, "ingress")) and not open_to_all
        return CheckResult.PASSED if safe else CheckResult.FAILED


class PrivateAirflow(BaseResourceCheck):
    """Workers need no public address to start Cloud Run jobs."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that Composer is private, runs as its own account, in its own bucket",
            id="CKV_MBATS_6",
            categories=[CheckCategories.NETWORKING],
            supported_resources=("google_composer_environment",),
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Pass where all of it is stated."""
        config = first(conf, "config")
        # What checkov cannot work out is an empty dict: stated all the same.
        stated = (
            first(first(config, "node_config"), "service_account"),
            first(first(config, "software_config"), "image_version"),
            first(first(conf, "storage_config"), "bucket"),
        )
        private = (
            first(config, "enable_private_environment") is True
            and first(config, "enable_private_builds_only") is True
        )
        safe = private and None not in stated
        return CheckResult.PASSED if safe else CheckResult.FAILED


checks = (OwnServiceAccount(), PinnedSecrets(), KnownCallers(), PrivateAirflow())
