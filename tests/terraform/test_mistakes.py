"""The tests themselves are tested: a mistake planted in a copy must turn them red."""

import pytest

pytestmark = pytest.mark.slow


# Wrong variables, planted all at once: each is refused for its own reason.
WRONG = """
  bots = {
    a = { account = "1", mode = "live" }
    b = { account = "1", mode = "paper" }
  }
  features        = { mlflow = true }
  images          = { desk = "mbats/desk:latest" }
  readers         = { all = "allUsers", everybody = "allUsers" }
  secret_versions = { notify-webhook = "latest" }
"""
REFUSED = (
    "A live bot needs environment live and its account on live_accounts.",
    "One account has one bot: two would fight over its lease.",
    "mlflow needs private_network: its database has no public address.",
    "An image is pinned by its digest: NAME@sha256:...",
    "A reader is user: or group: and an email.",
    "A reader has one name: two would be one grant twice",
    "A version is a number, not latest.",
)


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


def test_every_wrong_variable_is_refused_with_its_reason(code):
    plant(code, "tests/one.tftest.hcl", "# variables", WRONG)
    outcome = code.test("one", "practice")
    assert not outcome.passed
    said = " ".join(outcome.complaints)
    assert [reason for reason in REFUSED if reason not in said] == []


# The same, for what the modules check.
MODULES_WRONG = """
  budget = { amount = 99.5, billing_account = "mine", currency = "usd" }
  ci     = { build_repository = "projects/p/locations/us-central1/connections/c/repositories/r" }
  names  = { key_rings = "a ring" }

  features              = { cmek = true }
  notification_channels = { desk = { labels = { email = "desk@example.com" } } }
"""
MODULES_REFUSED = (
    "A billing account is three groups of six",
    "A budget is a whole number of its currency's units",
    "A channel has the one label of its type",
    "A currency is three capital letters.",
    "A trigger lies in the region of its repository's connection",
    "The name before a key ring's is 1 to 50 letters",
)


def test_a_modules_wrong_variable_is_refused_with_its_reason(code):
    plant(code, "tests/one.tftest.hcl", "# variables", MODULES_WRONG)
    outcome = code.test("one")
    assert not outcome.passed
    said = " ".join(outcome.complaints)
    assert [reason for reason in MODULES_REFUSED if reason not in said] == []


@pytest.mark.parametrize(
    ("cpu", "memory", "taken"),
    [
        ("1", "512Mi", True),
        ("8", "32Gi", True),
        ("1", "256Mi", False),
        ("1", "8Gi", False),
        ("4", "1Gi", False),
        ("3", "4Gi", False),
        ("2", "4G", False),
    ],
)
def test_a_bots_processors_and_memory_are_what_cloud_run_takes(code, cpu, memory, taken):
    bot = f'account = "1", mode = "paper", cpu = "{cpu}", memory = "{memory}"'
    values = f"""
  bots            = {{ one = {{ {bot} }} }}
  images          = {{ desk = "desk@sha256:{"0" * 64}" }}
  secret_versions = {{ oanda-practice-token = "1" }}
"""
    plant(code, "tests/one.tftest.hcl", "# variables", values)
    outcome = code.test("one")
    assert outcome.passed is taken
    assert taken or "cpu is 1, 2, 4, 6 or 8; memory, in Mi" in " ".join(outcome.complaints)


@pytest.mark.parametrize(
    ("addresses", "taken"), [("192.0.2.0/24", True), ("192.0.2.7", True), ("192.0.2.7/24", False)]
)
def test_airflows_pages_open_to_whole_ranges_of_addresses(code, addresses, taken):
    values = f"""
  orchestrator = "composer"
  composer     = {{ web_allowed_ip_ranges = {{ office = "{addresses}" }} }}
"""
    plant(code, "tests/one.tftest.hcl", "# variables", values)
    outcome = code.test("one")
    assert outcome.passed is taken, outcome.complaints
    assert taken or "A range begins with its first address" in " ".join(outcome.complaints)


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
