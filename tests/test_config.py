import json

import pytest

from mbats.config import Settings, load
from mbats.errors import ConfigError


def resolve(tmp_path, *, flags=None, environ=None, file=None, stack=None):
    if file is not None:
        (tmp_path / "mbats.toml").write_text(file)
    if stack is not None:
        (tmp_path / ".mbats").mkdir()
        (tmp_path / ".mbats" / "stack.json").write_text(stack)
    return load(flags=flags or {}, environ=environ or {}, start=tmp_path)


def test_each_source_wins_over_the_ones_below_it(tmp_path):
    stack = json.dumps({"endpoints": {"pubsub_endpoint": "stack:1", "bigquery_grpc": "stack:2"}})
    resolved = resolve(
        tmp_path,
        flags={"project": "flag"},
        environ={"MBATS_PROJECT": "env", "MBATS_RISK": "env"},
        file='project = "file"\nrisk = "file"\nlocation = "US"\npubsub_endpoint = "file:1"\n',
        stack=stack,
    )
    assert resolved.settings.project == "flag"
    assert resolved.settings.risk == "env"
    assert resolved.settings.location == "US"
    assert resolved.settings.pubsub_endpoint == "file:1"
    assert resolved.settings.bigquery_grpc == "stack:2"
    assert resolved.settings.account_currency == "USD"
    origin = resolved.origin
    assert (origin["project"], origin["risk"]) == ("flag", "environment")
    assert origin["location"].endswith("mbats.toml")
    assert origin["bigquery_grpc"].endswith("stack.json")
    assert origin["account_currency"] == "default"


def test_home_is_beside_the_nearest_settings_file_above(tmp_path):
    (tmp_path / "mbats.toml").write_text("")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert load(flags={}, environ={}, start=below).settings.home == tmp_path / ".mbats"


def test_a_bad_value_names_its_source_and_every_key_tried(tmp_path):
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, environ={"MBATS_PROFILE": "aws"})
    assert "'profile' from environment has a bad value 'aws'" in caught.value.cause
    assert caught.value.tried == ("--profile", "MBATS_PROFILE", "profile in mbats.toml")


def test_an_unknown_variable_is_refused_and_the_known_ones_listed(tmp_path):
    with pytest.raises(ConfigError, match="MBATS_PROJCET") as caught:
        resolve(tmp_path, environ={"MBATS_PROJCET": "x"})
    assert "MBATS_PROJECT" in caught.value.tried


def test_an_unknown_setting_in_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="projct"):
        resolve(tmp_path, file='projct = "x"')


def test_broken_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match="not valid TOML"):
        resolve(tmp_path, file="project = ")


def test_a_secret_in_the_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="secrets do not belong in files"):
        resolve(tmp_path, file='oanda_token = "x"')


def test_a_secret_is_hidden_wherever_it_is_shown(tmp_path):
    resolved = resolve(tmp_path, environ={"MBATS_OANDA_TOKEN": "hush"})
    assert resolved.settings.oanda_token.get_secret_value() == "hush"
    assert "hush" not in repr(resolved) + str(resolved.rows())
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, environ={"MBATS_OANDA_TOKEN": "hush", "MBATS_PROFILE": "aws"})
    assert "hush" not in str(caught.value)


def test_the_cloud_profile_never_talks_to_an_emulator(tmp_path):
    environ = {"MBATS_PROFILE": "gcp", "MBATS_PUBSUB_ENDPOINT": "localhost:8085"}
    with pytest.raises(ConfigError, match="pubsub_endpoint"):
        resolve(tmp_path, environ=environ)


def test_the_cloud_profile_ignores_a_running_local_stack(tmp_path):
    stack = json.dumps({"endpoints": {"pubsub_endpoint": "127.0.0.1:8085"}})
    resolved = resolve(tmp_path, environ={"MBATS_PROFILE": "gcp"}, stack=stack)
    assert resolved.settings.pubsub_endpoint is None


def test_a_half_written_stack_file_is_as_good_as_none(tmp_path):
    assert resolve(tmp_path, stack='{"endpoints": {"pub').settings.pubsub_endpoint is None


def test_bucket_names_follow_the_project_or_the_prefix():
    assert Settings(project="p").bucket("reports") == "p-reports"
    assert Settings(project="p", bucket_prefix="q").bucket("state") == "q-state"
