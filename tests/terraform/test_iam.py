"""Every grant, named in one table: a new one fails until a person writes it down.

After a deliberate change: `UPDATE_IAM_TABLE=1 pytest tests/terraform/test_iam.py`, and read the
diff.
"""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parent / "iam.tsv"
HEAD = "identity\trole\tresource\twhere"
ACCOUNT = re.compile(r"^serviceAccount:(mbats-[a-z0-9-]+)@mbats-test-project\.iam")
GRANT = re.compile(r"_iam_(member|binding|policy)$|_dataset_access$")
AGENT = re.compile(r"^serviceAccount:[a-z]+-\d+@([a-z-]+)\.iam")

# The attribute that names the resource a grant is on, by the type of the grant.
ON = {
    "google_artifact_registry_repository_iam_member": ("repository", "repository"),
    "google_bigquery_dataset_access": ("dataset", "dataset_id"),
    "google_bigquery_dataset_iam_member": ("dataset", "dataset_id"),
    "google_bigquery_table_iam_member": ("table", "table_id"),
    "google_cloud_run_v2_job_iam_member": ("job", "name"),
    "google_cloud_run_v2_service_iam_member": ("service", "name"),
    "google_cloud_run_v2_worker_pool_iam_member": ("worker pool", "name"),
    "google_iap_web_cloud_run_service_iam_member": ("page", "cloud_run_service_name"),
    "google_project_iam_member": ("project", "project"),
    "google_pubsub_subscription_iam_member": ("subscription", "subscription"),
    "google_pubsub_topic_iam_member": ("topic", "topic"),
    "google_secret_manager_secret_iam_member": ("secret", "secret_id"),
    "google_service_account_iam_member": ("account", "service_account_id"),
    "google_storage_bucket_iam_member": ("bucket", "bucket"),
}


def _identity(values, address):
    if values.get("dataset"):
        return f"views of {values['dataset'][0]['dataset'][0]['dataset_id']}"
    member = values.get("member")
    if member is None:
        given = values.get("user_by_email") or values.get("group_by_email")
        if given is None:  # the one writer of all log sinks, which Google names when it makes one
            assert ".sinks[" in address
            return "log sinks"
        member = f"group:{given}" if "group_by_email" in values else f"serviceAccount:{given}"
    if found := ACCOUNT.match(member):
        return found[1]
    if found := AGENT.match(member):
        return f"agent {found[1]}"
    return member.replace("123456789012", "NUMBER")


def _resource(resource):
    kind, values = resource.kind, resource.values
    if (
        kind == "google_kms_crypto_key_iam_member"
    ):  # the key's id is Google's; ours is in the address
        return "key " + re.search(r'\["([^/"]+)/', resource.address)[1]
    word, attribute = ON[kind]
    name = values[attribute].replace("mbats-test-project", "PROJECT")
    if found := re.search(r"serviceAccounts/(mbats-[a-z0-9-]+)@", name):
        name = found[1]
    return "project" if word == "project" else f"{word} {name}"


def _grants(plan):
    """Return every (identity, role, resource) of a plan; an unknown type of grant is an error."""
    found = set()
    for resource in plan.resources:
        if not GRANT.search(resource.kind):
            continue
        known = resource.kind in (*ON, "google_kms_crypto_key_iam_member")
        assert known, f"{resource.address}: a grant this table does not know"
        values = resource.values
        role = values.get("role", "authorized").replace("mbats-test-project", "PROJECT")
        for condition in values.get("condition", ()):
            role += f" ({condition['title']})"
        found.add((_identity(values, resource.address), role, _resource(resource)))
    return found


def _where(present, every):
    """Say in which plans a grant is: `all`, whole variants, whole environments, or one by one."""
    if present == every:
        return "all"
    runs = sorted({name.split("/")[1] for name in present})
    whole = {name for name in every if name.split("/")[1] in runs}
    if present == whole:
        return ",".join(runs)
    environments = sorted({name.split("/")[0] for name in present})
    part = {name for name in whole if name.split("/")[0] in environments}
    if present == part:
        return f"{','.join(environments)}: {','.join(runs)}"
    return " ".join(sorted(present))


def test_every_grant_is_named_in_the_table(plans):
    every = set(plans)
    where = {}
    for name, plan in plans.items():
        for grant in _grants(plan):
            where.setdefault(grant, set()).add(name)
    rows = sorted("\t".join((*grant, _where(names, every))) for grant, names in where.items())
    if os.environ.get("UPDATE_IAM_TABLE"):
        TABLE.write_text("\n".join([HEAD, *rows]) + "\n")
    head, *named = TABLE.read_text().splitlines()
    assert head == HEAD
    assert sorted(set(rows) - set(named)) == [], "granted, but not in the table"
    assert sorted(set(named) - set(rows)) == [], "in the table, but not granted"


def test_nobody_has_a_role_over_everything(plans):
    broad = re.compile(r"roles/(owner|editor|viewer|.*\.admin|iam\.securityAdmin)$")
    for name, plan in plans.items():
        for identity, role, resource in _grants(plan):
            assert not broad.match(role), (name, identity, role, resource)
            if resource == "project" and "(" not in role:
                assert not role.startswith(("roles/storage.", "roles/secretmanager.")), identity


def test_backtests_read_no_secret_and_a_bot_only_its_own_token(plans):
    for plan in plans.values():
        readers = {
            (identity, resource)
            for identity, _, resource in _grants(plan)
            if resource.startswith("secret ")
        }
        holders = {identity for identity, _ in readers}
        assert not holders & {"mbats-backtest", "mbats-train", "mbats-parity", "mbats-preview"}
        assert len([r for i, r in readers if i == "mbats-bot-trend"]) <= 1
