"""Secrets: no value and no key passes through Terraform, and a secret survives a mistake."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck


class NoValuesInState(BaseResourceCheck):
    """What Terraform makes stands in its state file."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that no secret's value and no service account key is made by Terraform",
            id="CKV_MBATS_4",
            categories=[CheckCategories.SECRETS],
            supported_resources=(
                "google_secret_manager_secret_version",
                "google_secret_manager_regional_secret_version",
                "google_service_account_key",
                "google_storage_hmac_key",
            ),
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Fail: people fill secrets, and identities are federated."""
        return CheckResult.FAILED


class DelayedDestruction(BaseResourceCheck):
    """A destroyed token stops every bot at once."""

    def __init__(self) -> None:
        super().__init__(
            name="Ensure that a destroyed version of a secret can be brought back",
            id="CKV_MBATS_5",
            categories=[CheckCategories.BACKUP_AND_RECOVERY],
            supported_resources=("google_secret_manager_secret",),
        )

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Pass where destruction waits."""
        return CheckResult.PASSED if conf.get("version_destroy_ttl") else CheckResult.FAILED


checks = (NoValuesInState(), DelayedDestruction())
