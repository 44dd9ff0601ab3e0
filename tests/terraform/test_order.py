"""What is made before what, from Terraform's own graph: Google refuses what comes too early."""

import re

import pytest

pytestmark = pytest.mark.slow

# What is made later, and what must be there, or in force, by then.
ORDER = (
    (
        "module.bots.google_cloud_run_v2_job",
        "module.secrets.google_secret_manager_secret_iam_member",
    ),
    ("module.buckets.google_storage_bucket", "module.kms.google_kms_crypto_key_iam_member"),
    ("module.buckets.google_storage_bucket", "module.kms.terraform_data.grants_in_force"),
    ("module.composer.google_composer_environment", "module.service_accounts.google_project_iam"),
    ("module.composer.google_composer_environment", "terraform_data.grants_in_force"),
    (
        "module.functions.google_cloudfunctions2_function",
        "module.buckets.google_storage_bucket_iam",
    ),
    (
        "module.functions.google_cloudfunctions2_function",
        "module.secrets.google_secret_manager_secret",
    ),
    ("module.functions.google_cloudfunctions2_function", "terraform_data.grants_in_force"),
    ("module.jobs.google_cloud_run_v2_job", "module.network.google_compute_router_nat"),
    (
        "module.jobs.google_cloud_run_v2_job",
        "module.secrets.google_secret_manager_secret_iam_member",
    ),
    ("module.jobs.google_cloud_run_v2_job", "terraform_data.grants_in_force"),
    ("module.mlflow.google_sql_database_instance", "module.network.google_service_networking"),
    ("module.pubsub.google_pubsub_subscription", "terraform_data.grants_in_force"),
    (
        "module.scheduler.google_cloud_scheduler_job",
        "module.jobs.google_cloud_run_v2_job_iam_member",
    ),
    (
        "module.streamer.google_cloud_run_v2_worker_pool",
        "module.secrets.google_secret_manager_secret_iam",
    ),
    ("module.warehouse.google_bigquery_table.view", "module.warehouse.google_bigquery_routine"),
    ("module.kms.terraform_data.grants_in_force", "module.kms.google_kms_crypto_key_iam_member"),
    ("terraform_data.grants_in_force", "google_project_iam_member.this"),
    ("terraform_data.grants_in_force", "module.buckets.google_storage_bucket_iam_member"),
    (
        "terraform_data.grants_in_force",
        "module.secrets.google_secret_manager_secret_iam_member",
    ),
    ("terraform_data.grants_in_force", "module.service_accounts.google_service_account_iam_member"),
    ("terraform_data.grants_in_force", "module.warehouse.google_bigquery_table_iam_member"),
)
SERVICES = "module.services.google_project_service.this"


@pytest.fixture(scope="module")
def before(terraform):
    """Return, by resource, every resource that is made before it."""
    done = terraform.run("graph")
    assert done.returncode == 0, done.stderr
    waits: dict[str, set[str]] = {
        name: set() for name in re.findall(r'"([^"]+)" \[label', done.stdout)
    }
    for later, earlier in re.findall(r'"([^"]+)" -> "([^"]+)"', done.stdout):
        waits[later].add(earlier)

    def all_before(name, seen):
        for earlier in waits[name] - seen:
            seen.add(earlier)
            all_before(earlier, seen)
        return seen

    return {name: all_before(name, set()) for name in waits}


def test_every_resource_waits_until_its_api_is_on(before):
    """The project itself is read first: `make bootstrap` switches that API on."""
    early = {name for name, earlier in before.items() if SERVICES not in earlier}
    assert early == {SERVICES, "data.google_project.this"}


@pytest.mark.parametrize(("later", "earlier"), ORDER)
def test_what_needs_another_comes_after_it(before, later, earlier):
    found = [name for name in before if name.startswith(f"{later}.") or name == later]
    assert found
    for name in found:
        assert any(each.startswith(earlier) for each in before[name]), name
