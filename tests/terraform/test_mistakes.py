"""The tests themselves are tested: a mistake planted in a copy must turn them red."""

import pytest

pytestmark = pytest.mark.slow


BOT = 'bots = { b = { account = "1", mode = "live" } }'
TWINS = 'bots = { a = { account = "1", mode = "paper" }, b = { account = "1", mode = "paper" } }'


@pytest.fixture
def code(terraform, tmp_path):
    """A copy of the Terraform code that may be spoilt."""
    return terraform.copy(tmp_path / "copy")


def plant(code, file, right, wrong):
    path = code.folder / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))


def test_the_code_is_valid_and_formatted(terraform):
    done = terraform.run("validate", "-no-color")
    assert done.returncode == 0, done.stderr
    done = terraform.run("fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout


def test_a_misspelt_attribute_is_refused(code):
    plant(
        code, "modules/buckets/main.tf", "uniform_bucket_level_access", "uniform_bucket_level_acess"
    )
    done = code.run("validate", "-no-color")
    assert done.returncode != 0
    assert "uniform_bucket_level_acess" in done.stderr


def test_a_public_bucket_is_found(code, public_access):
    plant(code, "modules/buckets/main.tf", '"enforced"', '"inherited"')
    plant(
        code,
        "data.tf",
        'resource "google_bigquery_bi_reservation"',
        'resource "google_storage_bucket_iam_member" "public" {\n'
        '  bucket = "mbats-test-project-reports"\n'
        '  role   = "roles/storage.objectViewer"\n'
        '  member = "allUsers"\n}\n\n'
        'resource "google_bigquery_bi_reservation"',
    )
    outcome = code.test("one", "dev")
    assert outcome.passed, outcome.complaints
    found = public_access(outcome.plans["one"])
    assert "google_storage_bucket_iam_member.public" in found
    assert 'module.buckets.google_storage_bucket.this["reports"]' in found


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (BOT, "live_accounts"),
        (TWINS, "one bot"),
        ("features = { mlflow = true }", "private_network"),
        ('images = { desk = "mbats/desk:latest" }', "digest"),
        ('readers = { all = "allUsers" }', "reader"),
        ('secret_versions = { notify-webhook = "latest" }', "number"),
        ('budget = { amount = 1, billing_account = "mine" }', "billing account"),
    ],
)
def test_a_wrong_variable_is_refused_with_a_reason(code, wrong, complaint):
    plant(code, "tests/one.tftest.hcl", "# variables", wrong)
    outcome = code.test("one", "practice" if wrong == BOT else None)
    assert not outcome.passed
    assert complaint.lower() in " ".join(outcome.complaints).lower()


def test_a_live_bot_on_the_list_is_armed_and_protected(code):
    values = """
  live_accounts   = ["001-004-0000000-001"]
  bots            = { gold = { account = "001-004-0000000-001", mode = "live" } }
  images          = { desk = "desk@sha256:%s" }
  secret_versions = { oanda-live-token = "3" }
""" % ("0" * 64)
    plant(code, "tests/one.tftest.hcl", "# variables", values)
    outcome = code.test("one", "live")
    assert outcome.passed, outcome.complaints
    jobs = {r.values["name"]: r.values for r in outcome.plans["one"].of("cloud_run_v2_job")}
    bot = jobs["bot-gold"]
    (container,) = bot["template"][0]["template"][0]["containers"]
    environment = {e["name"]: e for e in container["env"]}
    assert container["args"] == ["live", "--live", "--account", "001-004-0000000-001"]
    assert environment["BOT_ARM"]["value"] == "1"
    assert bot["deletion_protection"] is True
    assert environment["MBATS_LIVE_ACCOUNTS"]["value"] == "001-004-0000000-001"
    assert environment["MBATS_OANDA_ENVIRONMENT"]["value"] == "live"
    token = environment["MBATS_OANDA_TOKEN"]["value_source"][0]["secret_key_ref"][0]
    assert (token["secret"], token["version"]) == ("oanda-live-token", "3")
