import json
import os

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.errors import NotReadyError
from mbats.local import stack as stack_module
from mbats.local.doctor import Finding

pytestmark = pytest.mark.emulators


@pytest.fixture
def mbats(stack, monkeypatch):
    """Run a command on the session's stack."""
    monkeypatch.setattr(stack_module, "Stack", lambda settings, **more: stack)

    def run(*words):
        return CliRunner().invoke(app, ["--home", str(stack.home), *words], env={"COLUMNS": "200"})

    return run


def test_up_on_a_running_stack_shows_its_addresses_and_starts_nothing(mbats, settings):
    shown = mbats("up")
    assert shown.exit_code == 0
    for address in (settings.bigquery_endpoint, settings.bigquery_grpc, settings.storage_endpoint):
        assert address in shown.stdout
    assert shown.stdout.count("ran already") == 3
    assert json.loads(mbats("up", "--json").stdout)["started"] == []


def test_status_as_json_tells_state_address_and_memory(mbats, settings):
    rows = {row["service"]: row for row in json.loads(mbats("status", "--json").stdout)}
    assert rows["pubsub"]["state"] == "running"
    assert rows["pubsub"]["addresses"]["http"] == settings.pubsub_endpoint
    assert all(row["memory_bytes"] > 10_000_000 for row in rows.values())
    assert settings.storage_endpoint in mbats("status").stdout


def test_env_prints_exports_a_shell_can_eval_and_no_setting_of_ours(mbats, settings):
    lines = mbats("env").stdout.splitlines()
    exports = dict(
        line.removeprefix("export ").split("=", 1) for line in lines if line[:7] == "export "
    )
    assert exports["BIGQUERY_EMULATOR_HOST"] == settings.bigquery_endpoint
    assert exports["STORAGE_EMULATOR_HOST"] == settings.storage_endpoint
    assert exports["PUBSUB_EMULATOR_HOST"] == settings.pubsub_endpoint
    assert exports["GOOGLE_CLOUD_PROJECT"] == settings.project
    assert exports["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] == "false"
    assert not [name for name in exports if name.startswith("MBATS_")]
    rest = [line for line in lines if line[:7] != "export "]
    assert all(line.startswith("# ") for line in rest)
    assert any(f"bq --api {settings.bigquery_endpoint}" in line for line in rest)


def test_env_spares_the_emulators_from_a_proxy(mbats, monkeypatch):
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setitem(os.environ, "no_proxy", "example.com")
    found = json.loads(mbats("env", "--json").stdout)
    assert found["NO_PROXY"] == found["no_proxy"] == "example.com,127.0.0.1,localhost"


def test_doctor_exits_4_when_something_is_wrong_and_0_when_nothing_is(mbats, monkeypatch):
    found = [Finding("storage", "wrong", "crashed; last: [/] odd", "mbats up")]
    monkeypatch.setattr("mbats.local.doctor.examine", lambda stack, environ: found)
    shown = mbats("doctor")
    assert shown.exit_code == NotReadyError.exit_code == 4
    assert "[/] odd" in shown.stdout
    assert "mbats up" in shown.stdout
    found[0] = Finding("storage", "note", "does not run")
    shown = mbats("doctor", "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)[0]["level"] == "note"
