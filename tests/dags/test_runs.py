"""DAGs that are broken off, refused or late, for real: what they leave and what people are told."""

import json
import threading
from datetime import UTC, datetime

import pytest
from dags.floor import Floor
from dags.world import CloudRun

from mbats import schemas
from mbats.gcp.connection import subscriber_client
from mbats.gcp.messages import RISK_EVENTS, decode_event
from mbats.market.session import FX

pytestmark = [pytest.mark.emulators, pytest.mark.slow]

ACCOUNT = "101-001-1234567-001"
LEADER = f"practice_sma_reversal_{ACCOUNT}"
ROWS = f"""\
sma_reversal,practice,"EUR_USD,USD_JPY",,{ACCOUNT},period=20
rsi_stochastic,practice,GBP_USD,,{ACCOUNT},"rsi_low=35,rsi_high=65"
"""
MORTAL = '''
import os
from pathlib import Path

import backtrader as bt


class Mortal(bt.Strategy):
    """Its process is killed where it is task 1 and the file says so."""

    params = (("day", 1),)

    def next(self):
        broken = Path(__file__).with_name("broken").exists()
        if broken and os.environ["CLOUD_RUN_TASK_INDEX"] == "1":
            os.kill(os.getpid(), 9)
        if len(self) == self.p.day:
            self.buy()
'''
WELL = {"plan": "success", "run": "success", "settle": "success"}


def bars(desk, instrument):
    return desk.security_master.bars(instrument, "D", "ecb").num_rows


def test_a_bot_is_started_with_all_rows_of_its_account_and_never_armed(run_dag, cloud_run):
    cloud_run.make_probe("bot-one")
    ran = run_dag(LEADER, rows=ROWS)
    assert ran["tasks"] == WELL, ran["log"][-4000:]
    friday = FX.next_close(datetime.now(UTC))
    (told,) = [json.loads(file.read_text()) for file in cloud_run.probed.glob("*.json")]
    assert told["args"] == [
        "live", "sma_reversal", "rsi_stochastic",
        "--instruments", "EUR_USD,USD_JPY", "--instruments", "GBP_USD",
        "--practice", "--account", ACCOUNT, "--granularity", "M1", "--size", "units:1000",
        "--param", "sma_reversal.period=20",
        "--param", "rsi_stochastic.rsi_low=35", "--param", "rsi_stochastic.rsi_high=65",
        "--until", friday.isoformat(),
    ]  # fmt: skip
    assert told["DESK_RUN"] == f"{LEADER}/{told['DESK_SESSION']}"


def test_a_task_that_is_started_again_cancels_its_own_earlier_execution(
    start_dag, run_dag, cloud_run
):
    cloud_run.make_probe("bot-one")
    (cloud_run.probed / "wait").touch()
    airflow = start_dag(LEADER, rows=ROWS)
    eventually(lambda: list(cloud_run.probed.glob("*.json")))
    airflow.kill()  # as a worker that is lost: nobody watches the bot any more
    airflow.wait()
    (cloud_run.probed / "wait").unlink()
    assert run_dag(LEADER, rows=ROWS)["tasks"] == WELL
    new, old = cloud_run.executions("bot-one")
    assert (old["cancelledCount"], old.get("succeededCount", 0)) == (1, 0)
    assert new["succeededCount"] == 1
    assert new["createTime"] > old["completionTime"]


def test_cloud_run_killed_in_an_execution_fails_the_dag_and_a_rerun_doubles_nothing(
    start_dag, run_dag, cloud_run, desk
):
    several = {"instruments": "AUD_USD,USD_JPY,GBP_USD"}
    airflow = start_dag("market_data_daily", several)
    eventually(lambda: bars(desk, "AUD_USD"))
    cloud_run.kill()
    cloud_run.start()
    said, _ = airflow.communicate(timeout=600)
    told = airflow.answer()
    assert told["state"] == "failed", said[-3000:]
    assert told["tasks"] == {"plan": "success", "run": "failed", "settle": "success"}
    assert "Operation failed with error code" in said
    again = run_dag("market_data_daily", several)
    assert again["tasks"] == WELL, again["log"][-3000:]
    for name in several["instruments"].split(","):
        starts = desk.security_master.bars(name, "D", "ecb").column("start").to_pylist()
        assert len(starts) == len(set(starts)) > 6_000, name


def test_a_lost_task_fails_a_sweep_whose_other_members_are_stored(
    start_inside, dag_folder, desk, tmp_path
):
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mortal.py").write_text(MORTAL)
    (tmp_path / "strategies" / "broken").touch()
    Floor(desk, None, None).load("EUR_USD")
    form = {
        "strategy": "mortal", "instruments": "EUR_USD", "from": "2025-01-01",
        "param": ["day=1:7:1"], "tasks": 3,
    }  # fmt: skip
    cloud_run = CloudRun(tmp_path / "cloud-run", desk.settings, tmp_path)
    airflow = start_inside("run.py", dag_folder(None), **cloud_run.airflow())
    try:
        lost = airflow.run("sweep", form)
        assert lost["state"] == "failed"
        assert lost["tasks"] == WELL | {"run": "failed", "gather": "failed"}
        assert stored_days(desk) == [1, 3, 4, 6, 7]  # without those of task 1
        (tmp_path / "strategies" / "broken").unlink()
        again = airflow.run("sweep", form)
        assert again["tasks"] == WELL | {"gather": "success"}, again["log"][-4000:]
        assert stored_days(desk) == [1, 2, 3, 4, 5, 6, 7]
    finally:
        airflow.kill()
        airflow.wait()
        cloud_run.close()


def stored_days(desk):
    """The parameter of each member of sweeps of `mortal` that is done."""
    target = desk.warehouse.target(schemas.table("risk", "run"))
    sql = f"SELECT * FROM `{target}` WHERE kind = 'sweep' AND status = 'done'"
    return sorted(row["parameters"]["day"] for row in desk.warehouse.query(sql))


def test_a_failure_is_told_once_as_a_risk_event(run_dag, desk, listening):
    ran = run_dag("backtest", {"strategy": "no_such_strategy"})
    assert ran["state"] == "failed"
    (message,) = listening()
    assert message.attributes["table"] == "risk_event"
    event = decode_event("risk_event", message.data)
    assert (event["code"], event["severity"], event["actor"]) == ("DAG_FAILED", "error", "airflow")
    assert event["event_id"].startswith("airflow-backtest-manual__")
    assert "Task run of DAG backtest failed" in event["detail"]


def test_a_deadline_that_is_missed_is_told(run_inside, dag_folder, cloud_run, listening):
    run_inside("late.py", dag_folder(None), **cloud_run.airflow())
    (message,) = listening()
    event = decode_event("risk_event", message.data)
    assert (event["code"], event["severity"]) == ("DAG_LATE", "critical")
    assert (event["strategy"], event["account"]) == ("sma_reversal", ACCOUNT)


def test_a_session_that_is_none_skips_and_runs_nothing(run_dag, cloud_run):
    ran = run_dag("data_quality", {"session_date": "2026-11-22"})
    assert (ran["tasks"]["plan"], ran["tasks"]["run"]) == ("skipped", "skipped")
    assert cloud_run.executions("download") == []


def test_a_bad_row_fails_the_dag_that_checks_the_file(run_dag):
    ran = run_dag("strategies", rows="sma_reversal,banana,EUR_USD,,,\n")
    assert ran["state"] == "failed"
    assert "strategies.csv, row 2: Mode must be" in ran["log"]


def eventually(look, seconds=300):
    """Return what ``look`` finds as soon as it finds something."""
    ending = threading.Event()
    for _ in range(seconds * 5):
        if found := look():
            return found
        ending.wait(0.2)
    raise AssertionError(f"nothing within {seconds} s")


@pytest.fixture
def listening(desk):
    """Return what is published on risk-events from now on."""
    settings = desk.settings
    topic = f"projects/{settings.project}/topics/{RISK_EVENTS}"
    name = f"projects/{settings.project}/subscriptions/dags-{datetime.now(UTC):%H%M%S%f}"
    with subscriber_client(settings) as client:
        client.create_subscription(name=name, topic=topic)

        def pull():
            answer = client.pull(subscription=name, max_messages=10, timeout=30)
            return [each.message for each in answer.received_messages]

        yield pull
        client.delete_subscription(subscription=name)
