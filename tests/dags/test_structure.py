"""Every DAG: parsed in Composer's Airflow with no network, and built as all of the desk are."""

import sys

import pytest

ROWS = """\
sma_reversal,practice,"EUR_USD,USD_JPY",,101-001-1234567-001,period=20
rsi_stochastic,practice,GBP_USD,,101-001-1234567-001,"rsi_low=35,rsi_high=65"
sma_reversal,paper,EUR_USD,,,
rsi_stochastic,backtest,EUR_USD GBP_USD,,,size=equity:10
sma_reversal,live,EUR_USD,,101-001-1234567-009,
sma_reversal,pratice,EUR_USD,,101-001-1234567-002,
"""
LEADER = "practice_sma_reversal_101-001-1234567-001"
WATCHER = "practice_rsi_stochastic_101-001-1234567-001"
PAPER = "paper_sma_reversal_000-001-0000001-001"
STANDING = "backtest_rsi_stochastic_"

# DAG: file, schedule in New York, job.
ALWAYS = {
    "market_data_daily": ("market_data.py", "10 17 * * 1-5", "download"),
    "market_data_minute": ("market_data.py", "5 * * * *", "download"),
    "data_quality": ("data_quality.py", "45 17 * * 1-5", "download"),
    "reconciliation": ("end_of_day.py", "30 17 * * 1-5", "reconcile"),
    "parity": ("end_of_day.py", "0 18 * * 1-5", "parity"),
    "backtest": ("research.py", None, "backtest"),
    "sweep": ("research.py", None, "sweep"),
}
OF_ROWS = {
    LEADER: ("strategies.py", "55 16 * * 0", "bot-one"),
    PAPER: ("strategies.py", "55 16 * * 0", "bot-paper"),
}


@pytest.fixture(scope="module")
def told(run_inside, dag_folder):
    return run_inside("describe.py", dag_folder(ROWS))


@pytest.fixture(scope="module")
def dags(told):
    return told["dags"]


def test_all_files_parse_and_their_dags_can_be_stored(told):
    assert told["errors"] == {}
    assert sorted(told["dags"]) == told["serialised"]


def test_parsing_asks_the_network_for_nothing(told):
    assert told["asked"] == []


def test_parsing_imports_nothing_but_our_own_files_airflow_and_the_standard_library(told):
    ours = {"desk", "desk_alerts", "airflow"}
    others = {
        name
        for name in told["brought"]
        if name not in ours | set(sys.stdlib_module_names) and not name.startswith("unusual_prefix")
    }
    assert others == set()


def test_these_dags_there_are_and_no_others(dags):
    standing = {dag_id for dag_id in dags if dag_id.startswith(STANDING)}
    assert len(standing) == 1
    assert set(dags) - standing == {*ALWAYS, *OF_ROWS, WATCHER, "strategies"}


@pytest.mark.parametrize("dag_id", [*ALWAYS, *OF_ROWS])
def test_a_dag_plans_runs_its_job_and_settles(dags, dag_id):
    file, schedule, job = (ALWAYS | OF_ROWS)[dag_id]
    dag = dags[dag_id]
    assert (dag["file"], dag["schedule"]) == (file, schedule)
    plan, run, settle = (dag["tasks"][name] for name in ("plan", "run", "settle"))
    gather = [dag["tasks"]["gather"]] if dag_id == "sweep" else []
    assert len(dag["tasks"]) == 3 + len(gather)
    for each in (run, *gather):
        assert (each["type"], each["job"]) == ("CloudRunExecuteJobOperator", job)
        assert (each["project"], each["region"]) == ("mbats-test", "europe-west1")
        assert each["deferrable"]
    last = "gather" if gather else "run"
    assert (plan["after"], run["after"], settle["after"]) == ([], ["plan"], sorted(["plan", last]))
    assert [plan["teardown"], run["teardown"], settle["teardown"]] == [False, False, True]


def test_what_tasks_left_is_gathered_whatever_became_of_them(dags):
    gather = dags["sweep"]["tasks"]["gather"]
    assert gather["after"] == ["plan", "run"]
    assert gather["rule"] == "all_done_min_one_success"
    assert not gather["teardown"]  # a run ends as its gathering does


def test_every_dag_keeps_new_york_time_runs_once_at_a_time_and_never_catches_up(dags):
    for dag_id, dag in dags.items():
        assert dag["zone"] == ("America/New_York" if dag["schedule"] else ""), dag_id
        assert dag["catchup"] is False
        assert dag["max_active_runs"] == 1 or dag_id in ("backtest", "sweep")


def test_every_dag_has_a_deadline_that_tells_people_before_it_fails(dags):
    for dag_id, dag in dags.items():
        assert dag["callbacks"] == ["desk_alerts.late"], dag_id
        assert 0 < dag["deadlines_s"][0] < dag["limit_s"]


def test_every_task_tells_of_its_failure_and_leaves_retries_to_cloud_run(dags):
    for dag_id, dag in dags.items():
        for name, task in dag["tasks"].items():
            assert task["tells"] == ["desk_alerts.failed"], (dag_id, name)
            assert task["retries"] == 0


def test_a_session_can_be_named_by_hand_wherever_there_is_a_choice(dags):
    by_session = set(ALWAYS) - {"backtest", "sweep"}
    assert {dags[dag_id]["params"]["session_date"]["format"] for dag_id in by_session} == {"date"}


def test_the_forms_are_typed(dags):
    form = dags["backtest"]["params"]
    assert form["granularity"]["enum"] == ["D", "M1", "D,M1"]
    assert (form["cash"]["type"], form["cash"]["exclusiveMinimum"]) == ("number", 0)
    assert form["from"]["format"] == "date"
    assert dags["sweep"]["params"]["tasks"]["maximum"] == 10_000


def test_a_second_row_of_an_account_watches_the_first(dags):
    watch = dags[WATCHER]["tasks"]["watch"]
    assert (watch["type"], watch["deferrable"]) == ("ExternalTaskSensor", True)
    assert (watch["watches"], watch["after"]) == (LEADER, ["plan"])


def test_a_new_trading_row_waits_until_a_person_switches_it_on(dags):
    paused = {dag_id for dag_id, dag in dags.items() if dag["paused"]}
    assert paused == {*OF_ROWS, WATCHER}


def test_a_bad_row_is_left_out_and_told(dags):
    doc = dags["strategies"]["doc"]
    assert "row 6: account 101-001-1234567-009 has no bot" in doc
    assert "row 7: Mode must be" in doc
    assert doc.count("row ") == 2


def test_a_backtest_row_runs_every_saturday(dags):
    dag = next(dag for dag_id, dag in dags.items() if dag_id.startswith(STANDING))
    assert (dag["schedule"], dag["tasks"]["run"]["job"]) == ("0 6 * * 6", "backtest")


def test_without_a_control_file_the_other_dags_are_there(run_inside, dag_folder):
    told = run_inside("describe.py", dag_folder(None))
    assert told["errors"] == {}
    assert set(told["dags"]) == {*ALWAYS, "strategies"}


def test_two_hundred_rows_are_two_hundred_dags(run_inside, dag_folder):
    rows = "".join(
        f"sma_reversal,practice,EUR_USD,,101-001-{n:07d}-001,period={n}\n" for n in range(200)
    )
    bots = {f"101-001-{n:07d}-001": f"bot-{n}" for n in range(200)}
    told = run_inside("describe.py", dag_folder(rows), bots=bots)
    assert told["errors"] == {}
    jobs = {dag["tasks"]["run"]["job"] for dag in told["dags"].values() if "run" in dag["tasks"]}
    assert jobs >= {f"bot-{n}" for n in range(200)}
    print(f"parse {told['parse_s']:.2f} s, serialise {told['serialise_s']:.2f} s")
