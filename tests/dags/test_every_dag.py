"""Every DAG for real, in one Airflow over one local Cloud Run: its rows are there, and once.

What `AS_EXPECTED` names is what there is: a DAG without a run here fails a test.
"""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from dags.floor import BOTS, OPEN, PAPER, PROVEN, TRADED, Floor, broker, settings_of
from dags.world import CloudRun

from mbats import schemas
from mbats.market.bars import BAR_SCHEMA, PARTS
from mbats.market.granularity import Granularity
from mbats.market.newyork import to_datetime
from mbats.market.session import FX
from tests.gcp import samples
from tests.live.parity.sessions import session, traded
from tests.live.stored import STRATEGY, stored_session, tick_rows

pytestmark = [pytest.mark.emulators, pytest.mark.slow]

LEADER, WATCHER = f"practice_sma_reversal_{TRADED}", f"practice_rsi_stochastic_{TRADED}"
ON_PAPER = f"paper_sma_reversal_{PAPER}"
STANDING = "backtest_sma_reversal_cfdf10"  # of EUR_USD
ROWS = f"""\
sma_reversal,practice,EUR_USD,,{TRADED},period=20
rsi_stochastic,practice,GBP_USD,,{TRADED},"rsi_low=35,rsi_high=65"
sma_reversal,paper,EUR_USD,,,
sma_reversal,backtest,EUR_USD,,,period=30
"""
THIS_WEEK = FX.next_close(datetime.now(UTC) + timedelta(hours=1)) - timedelta(days=1)


@pytest.fixture(scope="module")
def floor(make_desk, start_inside, dag_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("floor")
    (folder / "strategies").mkdir()
    (folder / "strategies" / "mine.py").write_text(STRATEGY)
    with broker() as running:
        desk = make_desk("every_dag", **settings_of(running))
        cloud_run = CloudRun(folder / "cloud-run", desk.settings, folder)
        airflow = None
        try:
            cloud_run.make_bots(BOTS)
            cloud_run.make_committed("backtest")
            told = cloud_run.airflow() | {"MARKET_DATA_VENDOR": "oanda"}
            airflow = start_inside("run.py", dag_folder(ROWS), bots=BOTS, **told)
            made = Floor(desk, airflow, cloud_run)
            made.load("EUR_USD")
            yield made
        finally:
            if airflow:
                airflow.communicate(timeout=60)
            cloud_run.close()


def daily_load(floor, dag_id):
    asked = {"vendor": "ecb", "instruments": "USD_JPY"}
    floor.run(dag_id, asked)
    stored = starts(floor, "USD_JPY", "D", "ecb")
    assert len(stored) == len(set(stored)) > 6_000
    floor.run(dag_id, asked | {"session_date": "2026-01-02"})
    assert starts(floor, "USD_JPY", "D", "ecb") == stored


def minute_load(floor, dag_id):
    """From the broker, whose token the job gets: from the session on, to the last whole minute."""
    asked = {"instruments": "EUR_USD", "session_date": "2026-11-27"}
    floor.run(dag_id, asked)
    stored = starts(floor, "EUR_USD", "M1", "oanda")
    assert stored[0] == datetime(2026, 11, 27, tzinfo=UTC)
    assert stored[-1] < OPEN
    assert len(set(stored)) == len(stored) > 800
    floor.run(dag_id, asked)
    assert starts(floor, "EUR_USD", "M1", "oanda") == stored


def quality(floor, dag_id):
    """An error is a row, one however often Cloud Run tries, and fails the run. Once corrected it is
    mended, and the run ends well.
    """
    asked, bars, master = {"instruments": "NZD_USD"}, fresh_days(), floor.desk.security_master

    def found():
        rows = master.rows("data_quality", {"instrument": "NZD_USD"})
        return [row["severity"] for row in rows if row["check_name"] == "bid_above_ask"]

    master.merge_bars("D", with_bid_above_ask(bars, 2))
    assert floor.airflow.run(dag_id, asked)["state"] == "failed"
    assert found() == ["error"]
    master.merge_bars("D", bars)
    for _ in range(2):
        floor.run(dag_id, asked)
        assert found() == ["mended"]


def proof_of_the_day(floor, dag_id):
    """The account agrees, once; after an order that is nobody's it does not, and that is told."""
    ran = {"started_at": OPEN, "ended_at": OPEN + timedelta(hours=1), "status": "done"}
    floor.store("run", samples.run("proven", kind="practice", account=PROVEN, **ran))
    asked = {"session_date": "2026-11-27"}
    with floor.archived():
        for _ in range(2):
            floor.run(dag_id, asked)
    assert codes(floor, PROVEN) == {"RECONCILED": 1}
    floor.buy_by_hand(PROVEN)
    with floor.archived():
        assert floor.airflow.run(dag_id, asked)["state"] == "failed"
    told = codes(floor, PROVEN)
    assert told.pop("RECONCILED") == 1
    assert set(told) == {"RECONCILIATION_MISMATCH"}
    rows = floor.rows("risk_event", "account = @account", account=PROVEN)
    assert len({row["event_id"] for row in rows}) == len(rows)


def verdict(floor, dag_id):
    made = session()
    made = traded(replace(made, loaded=replace(made.loaded, name="mine")))
    result = stored_session("of-the-test", made)
    floor.desk.security_master.merge("tick", tick_rows(made.ticks["EUR_USD"]))
    floor.store("run", result.run)
    floor.desk.warehouse.merge(schemas.table("risk", "fill"), result.tables["fill"])
    for _ in range(2):
        floor.run(dag_id, {"session_date": "2026-11-23"})
    (event,) = floor.rows("risk_event", "code = 'PARITY'")
    assert (event["run_id"], event["severity"]) == ("of-the-test", "info")
    assert event["figures"]["trades"] == len(result.tables["fill"])


def one_backtest(floor, dag_id):
    asked = {"instruments": "EUR_USD", "from": "2020-01-01", "param": ["period=20"]}
    (run_id,) = ran_once(floor, dag_id, asked)
    tables = floor.desk.risk_store.load(run_id).tables
    assert {name for name, table in tables.items() if table.num_rows} >= {
        "trade", "equity", "performance",
    }  # fmt: skip
    reports = [each.name for each in floor.desk.objects.list("reports", "")]
    assert any(run_id in name for name in reports), reports


def standing_backtest(floor, dag_id):
    (run_id,) = ran_once(floor, dag_id, {})
    run = floor.desk.risk_store.load(run_id)
    assert run.run["parameters"]["period"] == 30
    assert run.tables["trade"].num_rows > 100


def ran_once(floor, dag_id, asked):
    """Run a backtest twice; return the ids of the runs that the first time left."""
    before = done(floor, "backtest")
    floor.run(dag_id, asked)
    first = done(floor, "backtest")
    floor.run(dag_id, asked)
    assert done(floor, "backtest") == first
    return first - before


def one_sweep(floor, dag_id):
    asked = {
        "instruments": "EUR_USD", "from": "2024-01-01", "param": ["period=5:10:1"], "tasks": 3,
    }  # fmt: skip
    for _ in range(2):
        floor.run(dag_id, asked)
        members = floor.rows("run", "kind = 'sweep'")
        assert [row["status"] for row in members] == ["done"] * 6
        periods = sorted(row["parameters"]["period"] for row in members)
        assert periods == list(range(5, 11))
        ids = {row["run_id"] for row in members}
        figures = Counter(
            row["run_id"] for row in floor.rows("performance") if row["run_id"] in ids
        )
        assert set(figures) == ids
        assert len(set(figures.values())) == 1


def leading_bot(floor, dag_id):
    """A week of a moment: the bot recovers its account, warms up, and stops at the close."""
    week_of_a_bot(floor, dag_id, "practice", TRADED, "sma_reversal+rsi_stochastic")


def bot_on_paper(floor, dag_id):
    week_of_a_bot(floor, dag_id, "paper", PAPER, "sma_reversal")


def week_of_a_bot(floor, dag_id, kind, account, strategy):
    before = done(floor, kind)
    floor.run(dag_id, week_closes=datetime.now(UTC))
    (run_id,) = done(floor, kind) - before
    (run,) = floor.rows("run", "run_id = @run_id", run_id=run_id)
    assert (run["status"], run["account"], run["strategy"]) == ("done", account, strategy)
    assert run["starting_cash"] == run["ending_value"] == 100_000
    (equity, *_) = floor.rows("equity", "run_id = @run_id", run_id=run_id)
    assert equity["net_asset_value"] == 100_000


def watching_row(floor, dag_id):
    """It ends as the leader of its account does, of the same Sunday; by hand it says who leads."""
    floor.run(LEADER, due=THIS_WEEK, week_closes=datetime.now(UTC))
    ran = floor.run(dag_id, due=THIS_WEEK)
    assert set(ran["tasks"]) == {"plan", "watch"}
    another = THIS_WEEK + timedelta(minutes=1)
    with floor.without_broker():
        assert floor.airflow.run(LEADER, due=another)["state"] == "failed"
    followed = floor.airflow.run(dag_id, due=another)
    assert followed["tasks"] == {"plan": "success", "watch": "failed"}
    alone = floor.airflow.run(dag_id)
    assert alone["tasks"]["plan"] == "failed"
    assert f"Trigger {LEADER}" in alone["log"]


def whole_file(floor, dag_id):
    assert floor.run(dag_id)["tasks"] == {"check": "success"}


AS_EXPECTED = {
    "market_data_daily": daily_load,
    "market_data_minute": minute_load,
    "data_quality": quality,
    "reconciliation": proof_of_the_day,
    "parity": verdict,
    "backtest": one_backtest,
    "sweep": one_sweep,
    "strategies": whole_file,
    LEADER: leading_bot,
    WATCHER: watching_row,
    ON_PAPER: bot_on_paper,
    STANDING: standing_backtest,
}


@pytest.mark.parametrize("dag_id", AS_EXPECTED)
def test_a_dag_leaves_what_it_is_for_and_a_second_run_adds_nothing(floor, dag_id):
    AS_EXPECTED[dag_id](floor, dag_id)


def test_no_dag_is_without_a_real_run(run_inside, dag_folder):
    told = run_inside("describe.py", dag_folder(ROWS), bots=BOTS)
    assert told["errors"] == {}
    assert set(told["dags"]) == set(AS_EXPECTED)


def starts(floor, instrument, granularity, vendor):
    bars = floor.desk.security_master.bars(instrument, granularity, vendor)
    return bars.column("start").to_pylist()


def done(floor, kind):
    return {row["run_id"] for row in floor.rows("run", "kind = @kind", kind=kind)}


def codes(floor, account):
    rows = floor.rows("risk_event", "account = @account", account=account)
    return Counter(row["code"] for row in rows)


def fresh_days():
    """Daily bars up to the last that has ended: a check of today finds no error in them."""
    now = datetime.now(UTC)
    begun = FX.expected_starts(Granularity.D, now - timedelta(days=21), now)
    ends = FX.bar_end(Granularity.D, begun)
    both = zip(map(to_datetime, begun), map(to_datetime, ends), strict=True)
    spans = [span for span in both if span[1] <= now]
    prices = [f"{0.6 + number / 1000:.5f}" for number in range(len(spans))]
    rows = samples.bars(prices, instrument="NZD_USD").to_pylist()
    for row, (start, end) in zip(rows, spans, strict=True):
        row |= {"start": start, "end_time": end}
    return pa.Table.from_pylist(rows, schema=BAR_SCHEMA)


def with_bid_above_ask(bars, number):
    rows = bars.to_pylist()
    rows[number] |= {f"ask_{part}": rows[number][f"bid_{part}"] / 2 for part in PARTS}
    return pa.Table.from_pylist(rows, schema=BAR_SCHEMA)
