"""What the real provider and Google's APIs refuse, and neither a schema nor a mock does.

``values.tsv`` holds the values that the provider's own validators take, release 7.45, for the
attributes that we set: from its schema's descriptions, and its source where those are silent.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parent / "values.tsv"

# Of these attributes of one block exactly one may be given; false and an empty text count as given.
ONE_OF = (
    ("bigquery_dataset_access", "", ("dataset", "group_by_email", "user_by_email")),
    ("cloud_run_v2_job", "template.template.containers.env", ("value", "value_source")),
    ("cloud_run_v2_service", "template.containers.env", ("value", "value_source")),
    ("cloud_run_v2_worker_pool", "template.containers.env", ("value", "value_source")),
    ("pubsub_subscription", "bigquery_config", ("use_table_schema", "use_topic_schema")),
    ("secret_manager_secret", "replication", ("auto", "user_managed")),
)

# The API that makes a resource: the longest beginning of the type that is here.
APIS = {
    "artifact_registry": "artifactregistry",
    "bigquery": "bigquery",
    "bigquery_bi_reservation": "bigqueryreservation",
    "billing_budget": "billingbudgets",
    "cloud_run": "run",
    "cloud_scheduler": "cloudscheduler",
    "cloudbuild": "cloudbuild",
    "cloudfunctions2": "cloudfunctions",
    "composer": "composer",
    "compute": "compute",
    "iam_workload_identity": "iam",
    "iap": "iap",
    "kms": "cloudkms",
    "logging": "logging",
    "monitoring": "monitoring",
    "project_iam": "cloudresourcemanager",
    "project_iam_custom_role": "iam",
    "project_service": "serviceusage",
    "pubsub": "pubsub",
    "secret_manager": "secretmanager",
    "service_account": "iam",
    "service_networking": "servicenetworking",
    "sql": "sqladmin",
    "storage": "storage",
    "vertex_ai": "aiplatform",
}
# What a resource needs switched on beside its own API.
ALSO = {"cloudfunctions2_function": ("cloudbuild", "eventarc", "run")}

RUN = {
    "cloud_run_v2_job": "template.template.containers",
    "cloud_run_v2_service": "template.containers",
    "cloud_run_v2_worker_pool": "template.containers",
}
# Least memory for so many processors, in MiB: https://cloud.google.com/run/docs/configuring/cpu
LEAST_MEMORY = {"1": 512, "2": 512, "4": 2048, "8": 4096}
MEBIBYTES = {"Mi": 1, "Gi": 1024}


def blocks(values: dict[str, Any], path: str) -> Iterator[dict[str, Any]]:
    """Yield every block at a path of nested blocks; the resource itself at the empty path."""
    if not path:
        yield values
        return
    first, _, rest = path.partition(".")
    for block in values.get(first) or ():
        yield from blocks(block, rest)


def api(kind: str) -> str:
    """Return the API that makes a type of resource."""
    name = kind.removeprefix("google_")
    return APIS[max((known for known in APIS if name.startswith(known)), key=len)]


def cloud_run(plan):
    """Return (address, container) of everything that runs on Cloud Run."""
    return [
        (resource.address, container)
        for kind, path in RUN.items()
        for resource in plan.of(kind)
        for container in blocks(resource.values, path)
    ]


def test_every_value_is_one_that_the_provider_takes(plans):
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    met, wrong = set(), []
    for kind, attribute, values in rows:
        path, _, last = attribute.rpartition(".")
        for plan in plans.values():
            for resource in plan.of(kind):
                for block in blocks(resource.values, path):
                    value = block.get(last)
                    if value is None:
                        continue
                    met.add((kind, attribute))
                    if value not in values.split():
                        wrong.append((resource.address, attribute, value))
    assert wrong == []
    assert met == {(kind, attribute) for kind, attribute, _ in rows}


@pytest.mark.parametrize(("kind", "path", "names"), ONE_OF)
def test_of_attributes_that_exclude_each_other_one_is_given(plans, kind, path, names):
    found = [
        (resource.address, [name for name in names if block.get(name) not in (None, [])])
        for plan in plans.values()
        for resource in plan.of(kind)
        for block in blocks(resource.values, path)
    ]
    assert found
    assert [(address, given) for address, given in found if len(given) != 1] == []


def test_the_api_of_every_resource_is_switched_on(plans):
    for name, plan in plans.items():
        on = {
            r.values["service"].removesuffix(".googleapis.com") for r in plan.of("project_service")
        }
        kinds = {r.kind for r in plan.resources if r.kind.startswith("google_")}
        needed = {api(kind) for kind in kinds}
        needed |= {a for kind in kinds for a in ALSO.get(kind.removeprefix("google_"), ())}
        assert needed - on == set(), name


def test_cloud_run_has_the_memory_that_its_processors_need(plans):
    containers = [found for plan in plans.values() for found in cloud_run(plan)]
    assert containers
    for address, container in containers:
        limits = container["resources"][0]["limits"]
        amount, unit = re.fullmatch(r"(\d+)(Mi|Gi)", limits["memory"]).groups()
        assert int(amount) * MEBIBYTES[unit] >= LEAST_MEMORY[limits["cpu"]], address


def test_probes_end_in_time(plans):
    """A start takes 240 seconds at most, and an answer less than the time between two."""
    probes = [
        (address, kind, probe)
        for plan in plans.values()
        for address, container in cloud_run(plan)
        for kind in ("startup_probe", "liveness_probe")
        for probe in container.get(kind) or ()
    ]
    assert probes
    for address, kind, probe in probes:
        assert probe["timeout_seconds"] < probe["period_seconds"], address
        if kind == "startup_probe":
            assert probe["failure_threshold"] * probe["period_seconds"] <= 240, address


def test_composer_has_a_bucket_of_its_own_region(plans):
    for name in ("dev/full_composer", "live/today"):
        (environment,) = plans[name].of("composer_environment")
        wanted = environment.values["storage_config"][0]["bucket"]
        places = {r.values["name"]: r.values["location"] for r in plans[name].of("storage_bucket")}
        assert places.pop(wanted) == environment.values["region"]
        assert set(places.values()) == {"EU"}


def test_a_key_lies_where_that_lies_which_it_encrypts(plans):
    """Google keeps the keys of the multi-region EU in `europe`."""
    plan = plans["dev/full_composer"]
    seen = {}
    for kind, path, name in (
        ("artifact_registry_repository", "", "kms_key_name"),
        ("bigquery_dataset", "default_encryption_configuration", "kms_key_name"),
        ("composer_environment", "config.encryption_config", "kms_key_name"),
        ("sql_database_instance", "", "encryption_key_name"),
        ("storage_bucket", "encryption", "default_kms_key_name"),
        ("vertex_ai_tensorboard", "encryption_spec", "kms_key_name"),
    ):
        for resource in plan.of(kind):
            place = resource.values.get("location") or resource.values["region"]
            (block,) = blocks(resource.values, path)
            seen[resource.address] = (place, re.search(r"/locations/([^/]+)/", block[name])[1])
    assert len({place for place, _ in seen.values()}) == 2
    assert {a: s for a, s in seen.items() if s[1] != {"EU": "europe"}.get(s[0], s[0])} == {}
