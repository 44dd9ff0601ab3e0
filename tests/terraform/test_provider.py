"""What the real provider and Google's APIs refuse, and neither a schema nor a mock does.

``values.tsv`` holds the values that the provider's own validators take, release 7.45, for the
attributes that we set: from its schema's descriptions, and its source where those are silent.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.planned import blocks, given

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parent / "values.tsv"

# Of these attributes of one block exactly one may be given; false and an empty text count as given.
ONE_OF = (
    ("bigquery_dataset_access", "", ("dataset", "group_by_email", "user_by_email")),
    ("billing_budget", "amount", ("last_period_amount", "specified_amount")),
    ("billing_budget", "budget_filter", ("calendar_period", "custom_period")),
    ("cloud_run_v2_job", "template.template.containers.env", ("value", "value_source")),
    ("cloud_run_v2_service", "template.containers.env", ("value", "value_source")),
    ("cloud_run_v2_worker_pool", "template.containers.env", ("value", "value_source")),
    ("cloud_scheduler_job", "", ("app_engine_http_target", "http_target", "pubsub_target")),
    ("cloud_scheduler_job", "http_target", ("oauth_token", "oidc_token")),
    ("cloudbuild_trigger", "", ("build", "filename", "git_file_source")),
    ("compute_firewall", "", ("allow", "deny")),
    ("iam_workload_identity_pool_provider", "", ("aws", "oidc", "saml", "x509")),
    (
        "monitoring_alert_policy",
        "conditions",
        (
            "condition_absent",
            "condition_matched_log",
            "condition_monitoring_query_language",
            "condition_prometheus_query_language",
            "condition_sql",
            "condition_threshold",
        ),
    ),
    ("pubsub_subscription", "bigquery_config", ("use_table_schema", "use_topic_schema")),
    ("secret_manager_secret", "replication", ("auto", "user_managed")),
    ("storage_bucket_object", "", ("content", "source")),
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
LEAST_MEMORY = {"1": 512, "2": 512, "4": 2048, "6": 4096, "8": 4096}
MOST_MEMORY = (
    4096  # for each processor: https://cloud.google.com/run/docs/configuring/memory-limits
)
MEBIBYTES = {"M": 1e6 / 2**20, "Mi": 1, "Gi": 1024}

# Blocks with nothing but zeros in them that the provider does not lose.
KEPT_ZEROS = {
    ("pubsub_subscription", "expiration_policy"),  # an empty ttl: it never expires
    ("secret_manager_secret", "replication.auto"),
    ("storage_bucket", "soft_delete_policy"),
    ("storage_bucket", "versioning"),
}

# What says in a type's schema which values an attribute takes.
POSSIBLE = re.compile(r"Possible values: \[([^\]]+)\]")


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


def attributes(block: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every attribute of a block of a schema, and of the blocks in it, by its path."""
    for name, attribute in block.get("attributes", {}).items():
        yield path + name, attribute
    for name, nested in block.get("block_types", {}).items():
        yield from attributes(nested["block"], f"{path}{name}.")


def table_of_values() -> list[list[str]]:
    """Return the rows of the table: type, attribute, values with spaces between them."""
    return [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def schema(terraform, plans):
    """Every attribute that the provider knows of the planned types: by type, and by path."""
    done = terraform.run("providers", "schema", "-json")
    assert done.returncode == 0, done.stderr
    (provider,) = [
        found
        for name, found in json.loads(done.stdout)["provider_schemas"].items()
        if name.endswith("/google")
    ]
    planned = {r.kind for p in plans.values() for r in p.resources if r.kind.startswith("google_")}
    types = provider["resource_schemas"]
    return {
        kind.removeprefix("google_"): dict(attributes(types[kind]["block"])) for kind in planned
    }


def test_every_value_that_the_provider_lists_is_in_the_table(plans, schema):
    """So that a new attribute is looked up too: the real provider refuses what it does not list."""
    if not any(a.get("description") for paths in schema.values() for a in paths.values()):
        pytest.skip(
            "NOT COMPARED: THE VALUES THAT THE PROVIDER LISTS. The recorded schema has no "
            "descriptions. Run it where the registry is in reach: make terraform-test"
        )
    known = {(kind, attribute): values.split() for kind, attribute, values in table_of_values()}
    missing = set()
    for kind, paths in schema.items():
        for path, attribute in paths.items():
            listed = POSSIBLE.search(attribute.get("description", ""))
            if not listed or not any(
                True for p in plans.values() for r in p.of(kind) for _ in given(r.values, path)
            ):
                continue
            if not set(known.get((kind, path), ("",))) <= set(re.findall(r"[\w.-]+", listed[1])):
                missing.add((kind, path, listed[1]))
    assert missing == set()


def test_what_is_protected_unless_told_otherwise_is_told(plans, schema):
    """The provider protects by default, and then `make destroy ENV=dev` would end half-way."""
    protected = {kind for kind, paths in schema.items() if "deletion_protection" in paths}
    assert {"bigquery_table", "cloud_run_v2_job", "sql_database_instance"} <= protected
    for plan in plans.values():
        for resource in plan.of(*protected):
            assert resource.values.get("deletion_protection") in (True, False), resource.address


def zeros(block: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the path of every nested block that holds nothing but what Google leaves out."""
    for name, nested in block.items():
        for inner in nested if isinstance(nested, list) else ():
            if isinstance(inner, dict):
                if not any(value not in (None, False, 0, "", []) for value in inner.values()):
                    yield f"{path}{name}"
                yield from zeros(inner, f"{path}{name}.")


def test_no_block_is_given_that_google_leaves_out(plans):
    """Google answers without what is false, zero or empty, and a second plan would add the block.

    The provider itself puts back those of KEPT_ZEROS.
    """
    found = {
        (r.kind.removeprefix("google_"), path)
        for plan in plans.values()
        for r in plan.resources
        for path in zeros(r.values, "")
    }
    assert found == KEPT_ZEROS


def test_no_grant_is_made_twice(plans):
    """Two resources of one grant take it from each other when one of them goes."""
    for name, plan in plans.items():
        grants = Counter(
            (r.kind, json.dumps(r.values, sort_keys=True))
            for r in plan.resources
            if r.kind.endswith(("_iam_member", "_dataset_access")) and "kms" not in r.kind
        )
        assert [grant for grant, times in grants.items() if times > 1] == [], name


def test_every_value_is_one_that_the_provider_takes(plans):
    rows = table_of_values()
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


def memory(limit: str) -> float:
    """Return a limit of memory in MiB."""
    amount, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", limit).groups()
    return int(amount) * MEBIBYTES[unit]


def test_what_runs_has_the_memory_that_its_processors_need_and_can_have(plans):
    limits = [
        (address, container["resources"][0]["limits"])
        for plan in plans.values()
        for address, container in cloud_run(plan)
    ]
    functions = [
        (r.address, {"cpu": config["available_cpu"], "memory": config["available_memory"]})
        for plan in plans.values()
        for r in plan.of("cloudfunctions2_function")
        for config in r.values["service_config"]
    ]
    assert limits
    assert functions
    for address, limit in limits + functions:
        has = memory(limit["memory"])
        assert has >= LEAST_MEMORY[limit["cpu"]], (address, limit)
        assert has <= MOST_MEMORY * int(limit["cpu"]), (address, limit)


def test_an_alert_says_of_which_kind_the_series_are_that_it_asks_for(plans):
    """Cloud Monitoring refuses PromQL over a metric of several kinds of resources, none named."""
    kinds = set()
    for plan in plans.values():
        runs = {r.values["name"]: r.kind for r in plan.of(*RUN)}
        for resource in plan.of("monitoring_alert_policy"):
            for query in given(
                resource.values, "conditions.condition_prometheus_query_language.query"
            ):
                for series in re.findall(r"\w+_googleapis_com:\w+(?:\{[^}]*\})?", query):
                    said = dict(re.findall(r'(\w+)="([^"]+)"', series))
                    kind = said["monitored_resource"]
                    assert runs[said["source"]] == f"google_{kind.replace('run_', 'run_v2_')}", (
                        series
                    )
                    kinds.add(kind)
    assert kinds == {"cloud_run_job", "cloud_run_worker_pool"}


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


def test_an_alert_on_log_entries_has_one_condition_and_says_how_often_it_tells(plans):
    """Google refuses a second condition, and the rate on any other alert."""
    for plan in plans.values():
        for resource in plan.of("monitoring_alert_policy"):
            values = resource.values
            (condition,) = values["conditions"]
            rate = list(blocks(values, "alert_strategy.notification_rate_limit"))
            assert bool(condition.get("condition_matched_log")) == bool(rate), resource.address


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
