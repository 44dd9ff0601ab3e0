import json
from dataclasses import replace

import pytest

from mbats.config import Settings
from mbats.errors import ConfigError
from mbats.local.airflow import NAME, airflow_service, clear, find_dags, local_bots
from mbats.local.paper import FIRST_ACCOUNT
from mbats.local.service import Site

PRACTICE, LIVE = "101-001-1234567-001", "001-001-1234567-001"


@pytest.fixture
def launch(tmp_path):
    home = tmp_path / ".mbats"
    ports = {
        NAME: {"http": 8080},
        "cloud-run": {"http": 1, "grpc": 2, "proxy": 3},
        "pubsub": {"http": 4},
    }
    site = replace(Site(Settings(home=home)), ports=ports)
    return airflow_service(tmp_path / "dags", {FIRST_ACCOUNT: "bot-paper"}).launch(site)


def test_airflow_listens_on_the_loopback_interface_alone(launch):
    environment = launch.environment
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith(
        "http://127.0.0.1:8080/"
    )
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "4"


def test_airflow_has_no_way_to_google_but_the_local_proxy(launch):
    environment = launch.environment
    assert {environment[n] for n in ("grpc_proxy", "https_proxy", "HTTPS_PROXY")} == {
        "http://127.0.0.1:3"
    }
    assert environment["PUBSUB_EMULATOR_HOST"] == "127.0.0.1:4"
    assert json.loads(environment["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])["extra"]["is_anonymous"]


def test_every_account_of_the_schedule_has_a_bot_here_but_one_of_live_money(tmp_path):
    control = tmp_path / "control"
    assert local_bots(tmp_path) == {FIRST_ACCOUNT: "bot-paper"}
    control.mkdir()
    (control / "strategies.csv").write_text(
        "Strategy,Mode,Securities,Model ID,Account,Strategy Parameters\n"
        f"sma_reversal,practice,EUR_USD,,{PRACTICE},\nsma_reversal,live,EUR_USD,,{LIVE},\n"
    )
    assert set(local_bots(tmp_path)) == {FIRST_ACCOUNT, PRACTICE}


def test_without_dags_it_says_where_it_looked(tmp_path):
    with pytest.raises(ConfigError) as error:
        find_dags(tmp_path / ".mbats")
    assert list(error.value.tried) == [str(tmp_path / "composer_dags")]


def test_an_airflow_that_ended_is_forgotten(tmp_path):
    database = tmp_path / "data" / NAME / "airflow.db"
    database.parent.mkdir(parents=True)
    database.touch()
    clear(tmp_path)
    assert not database.exists()
