"""What every environment would make: counts, names, nothing public, nothing destroyable in live."""

import json

import pytest

from mbats import schemas
from mbats.config import ENV_PREFIX, Settings
from mbats.gcp.sweep_results import FOLDER
from mbats.local import topology

pytestmark = pytest.mark.slow

FULL = ("full_composer", "full_scheduler")

# What holds data or trades: live refuses to destroy it.
KEPT = (
    "bigquery_dataset",
    "storage_bucket",
    "secret_manager_secret",
    "sql_database_instance",
    "pubsub_topic",
    "composer_environment",
    "artifact_registry_repository",
    "kms_crypto_key",
    "pubsub_schema",
)
KEPT_WORKLOADS = ("cloud_run_v2_job", "cloud_run_v2_service", "cloud_run_v2_worker_pool")


def test_every_environment_and_orchestrator_plans_and_counts_its_resources(plans, record_property):
    counts = {name: len(plan.resources) for name, plan in plans.items()}
    for name, count in counts.items():
        record_property(f"planned Terraform resources, {name}", count)
    assert set(counts) == {
        f"{environment}/{run}"
        for environment in ("dev", "practice", "live")
        for run in ("today", *FULL)
    }
    assert counts["dev/today"] < counts["practice/today"] <= counts["live/today"]
    assert all(counts[f"{e}/today"] < counts[f"{e}/full_composer"] for e in ("dev", "live"))


def test_nothing_is_public(plans, public_access):
    assert {name: public_access(plan) for name, plan in plans.items()} == {n: [] for n in plans}


def test_live_destroys_nothing_that_holds_data_or_trades_and_dev_leaves_nothing(plans):
    for name, plan in plans.items():
        wanted = "PREVENT" if name.startswith("live/") else "DELETE"
        for resource in plan.of(*KEPT):
            assert resource.values["deletion_policy"] == wanted, (name, resource.address)
        for resource in plan.of("bigquery_table"):
            if "view" not in resource.values or not resource.values["view"]:
                assert resource.values["deletion_policy"] == wanted, (name, resource.address)
                assert resource.values["deletion_protection"] == (wanted == "PREVENT")
        for resource in plan.of(*KEPT_WORKLOADS):
            assert resource.values["deletion_protection"] == (wanted == "PREVENT"), resource.address
        for resource in plan.of("storage_bucket"):
            assert resource.values["force_destroy"] == (wanted == "DELETE"), resource.address
        for resource in plan.of("bigquery_dataset"):
            assert resource.values["delete_contents_on_destroy"] == (wanted == "DELETE")


def test_composer_and_scheduler_exclude_each_other(plans):
    for name, plan in plans.items():
        if name.endswith("/full_composer"):
            assert len(plan.of("composer_environment")) == 1
            assert plan.of("cloud_scheduler_job") == []
        if name.endswith("/full_scheduler"):
            assert plan.of("composer_environment") == []
            assert len(plan.of("cloud_scheduler_job")) == 4


def test_dev_makes_nothing_that_is_dear(plans):
    dear = (
        "composer_environment",
        "sql_database_instance",
        "compute_router_nat",
        "vertex_ai_endpoint",
        "bigquery_bi_reservation",
        "kms_crypto_key",
    )
    assert plans["dev/today"].of(*dear) == []


def test_every_table_of_the_schemas_is_planned_as_the_library_reads_it(plans):
    for plan in plans.values():
        planned = {
            (r.values["dataset_id"], r.values["table_id"]): r.values
            for r in plan.of("bigquery_table")
            if not r.values.get("view")
        }
        assert set(planned) == set(schemas.all_tables())
        for key, table in schemas.all_tables().items():
            values = planned[key]
            assert json.loads(values["schema"]) == [dict(f) for f in table.fields]
            assert values.get("clustering", []) == list(table.clustering)
            keys = values["table_constraints"][0]["primary_key"][0]["columns"]
            assert keys == list(table.primary_key)
            partitioning = values.get("time_partitioning") or [None]
            if table.time_partitioning:
                assert partitioning[0]["field"] == table.time_partitioning["field"]
                assert partitioning[0]["type"] == table.time_partitioning["type"]
            else:
                assert partitioning == [None]


def test_of_the_data_bucket_only_what_sweeps_left_expires(plans):
    for name, plan in plans.items():
        (bucket,) = [r for r in plan.of("storage_bucket") if r.values["name"].endswith("-data")]
        conditions = [rule["condition"][0] for rule in bucket.values["lifecycle_rule"]]
        dated = [each for each in conditions if each.get("age")]
        assert [(c["age"], c["matches_prefix"]) for c in dated] == [(30, [f"{FOLDER}/"])], name


def test_every_mbats_variable_is_a_setting_and_buckets_have_the_names_the_library_uses(plans):
    plan = plans["practice/full_composer"]
    environments = [_environment(r.values) for r in plan.of(*KEPT_WORKLOADS)]
    names = {name for environment in environments for name in environment}
    known = {ENV_PREFIX + field.upper() for field in Settings.model_fields}
    assert {name for name in names if name.startswith(ENV_PREFIX)} <= known
    settings = Settings(
        profile="gcp",
        **{
            key.removeprefix(ENV_PREFIX).lower(): value
            for key, value in environments[0].items()
            if key in ("MBATS_PROJECT", "MBATS_BUCKET_PREFIX", "MBATS_LOCATION")
        },
    )
    buckets = {r.values["name"] for r in plan.of("storage_bucket")}
    assert {
        settings.bucket(n) for n in ("control", "data", "models", "reports", "state")
    } <= buckets


def _environment(values: dict) -> dict[str, str]:
    template = values["template"][0]
    containers = template.get("containers") or template["template"][0]["containers"]
    return {e["name"]: e.get("value") for e in containers[0]["env"]}


def test_a_bot_is_one_week_without_retries_and_knows_which_accounts_may_trade_live(plans):
    for name in ("practice/full_composer", "live/full_scheduler"):
        (bot,) = [r for r in plans[name].of("cloud_run_v2_job") if r.values["name"] == "bot-trend"]
        task = bot.values["template"][0]["template"][0]
        assert (task["timeout"], task["max_retries"]) == ("604800s", 0)
        assert "MBATS_LIVE_ACCOUNTS" in _environment(bot.values)
        assert _environment(bot.values)["MBATS_BOT_NAME"] == "bot-trend"
        (ticks,) = [
            r.values
            for r in plans[name].of("pubsub_subscription")
            if r.values["name"] == "bot-trend-ticks"
        ]
        assert not ticks.get("filter")  # the bot needs the pairs that convert its profit, too


def test_secrets_have_no_versions_and_workloads_name_theirs_by_number(plans):
    for plan in plans.values():
        assert plan.of("secret_manager_secret_version", "service_account_key") == []
        text = json.dumps([r.values for r in plan.of(*KEPT_WORKLOADS)])
        assert '"version": "latest"' not in text


def test_every_topic_has_dead_letters_that_somebody_keeps(plans):
    for plan in plans.values():
        topics = {r.values["name"] for r in plan.of("pubsub_topic")}
        subscriptions = {r.values["name"]: r.values for r in plan.of("pubsub_subscription")}
        for topic in ("ticks", "order-events", "risk-events", "control"):
            assert {topic, f"{topic}-dead-letter"} <= topics
            assert f"{topic}-dead-letter" in subscriptions
        for values in subscriptions.values():
            assert values["expiration_policy"][0]["ttl"] == ""
            assert len(values.get("filter", "")) <= 256


def test_the_local_stack_has_the_same_topics(plans):
    made = {r.values["name"] for r in plans["dev/today"].of("pubsub_topic")}
    local = {name for topic in topology.TOPICS for name in (topic.name, topic.dead_letter)}
    assert made == local


def test_events_are_written_to_their_tables_by_one_account_of_little_right(plans):
    for plan in plans.values():
        written = {}
        for resource in plan.of("pubsub_subscription"):
            for config in resource.values.get("bigquery_config", ()):
                assert config["drop_unknown_fields"]
                assert config["service_account_email"].startswith("mbats-bq-writer@")
                written[config["table"].split(".", 1)[1]] = bool(config["use_topic_schema"])
        assert written == {
            "risk.fill": False,
            "risk.heartbeat": False,
            "risk.order_event": False,
            "risk.risk_event": False,
            "security_master.tick": True,
        }


def test_the_tick_schema_fits_the_tick_table(terraform):
    file = terraform.folder / "modules/pubsub/schemas/tick.avsc"
    fields = {f["name"]: f["type"] for f in json.loads(file.read_text())["fields"]}
    table = {f["name"]: f for f in schemas.table("security_master", "tick").fields}
    assert list(fields) == list(table)
    fits = {
        "STRING": "string",
        "NUMERIC": "string",  # decimal text: Pub/Sub writes it to NUMERIC unrounded
        "INTEGER": "long",
        "BOOLEAN": "boolean",
        "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
    }
    for name, kind in fields.items():
        optional = isinstance(kind, list)
        assert optional == (table[name]["mode"] == "NULLABLE"), name
        assert (kind[1] if optional else kind) == fits[table[name]["type"]], name


def test_alerts_cover_what_can_go_wrong_and_reach_somebody(plans):
    alerts = {
        r.values["display_name"]: r.values
        for r in plans["practice/full_composer"].of("monitoring_alert_policy")
    }
    assert set(alerts) == {
        "MBATS data-late",
        "MBATS dead letters",
        "MBATS dead-letter",
        "MBATS drawdown",
        "MBATS halted",
        "MBATS heartbeat lost: bot-trend",
        "MBATS heartbeat lost: streamer",
        "MBATS job failed",
        "MBATS order-unknown",
        "MBATS reconciliation-mismatch",
        "MBATS warehouse behind",
    }


def test_a_second_plan_changes_nothing(outcomes):
    outcome = outcomes["second_plan/practice"]
    assert outcome.passed, outcome.complaints
    changes = [r.address for r in outcome.plans["again"].resources if r.actions != ("no-op",)]
    assert outcome.plans["again"].resources
    assert changes == []
