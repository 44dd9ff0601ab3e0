"""The whole way on the emulators: bars in the security master, a run in the risk store."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mbats import schemas
from mbats.backtest.engine import BacktestSpec
from mbats.backtest.session import BacktestRequest, backtest
from mbats.desk import Desk
from mbats.errors import RunFailedError
from mbats.gcp.tables import apply_tables
from mbats.strategy.loading import load_strategy
from tests.backtest.memory import arrow
from tests.backtest.synthetic import loaded, scripted, walk

pytestmark = pytest.mark.emulators


@pytest.fixture(scope="module")
def desk(settings):
    names = {"security_master": "security_master_backtest", "risk": "risk_backtest"}
    with Desk(settings.model_copy(update=names)) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        yield desk


def play(desk, strategy, run_id):
    bars = walk(600, spread_ticks=7)
    desk.security_master.merge_bars("M1", arrow(bars, None, None))
    spec = BacktestSpec([strategy], Decimal(100_000), log_signals=True)
    request = BacktestRequest(spec, ["EUR_USD"], ["M1"], "test")
    return backtest(
        request,
        desk.security_master,
        desk.risk_store,
        now=lambda: datetime.now(UTC),
        run_id=run_id,
    )


def test_a_run_comes_back_from_the_risk_store_as_it_was_stored(desk):
    result, inputs = play(desk, load_strategy("rsi_stochastic"), "whole-1")
    assert inputs.bars[0].mid.low.tolist() == walk(600).mid.low.tolist()
    stored = desk.risk_store.load("whole-1")
    assert stored.run["status"] == "done"
    assert stored.run["parameters"] == result.run["parameters"]
    assert stored.run["assumptions"] == result.run["assumptions"]
    assert result.tables["trade"].num_rows > 10
    for name in ("trade", "fill", "equity", "performance", "position"):
        keys = [(key, "ascending") for key in schemas.table("risk", name).primary_key]
        assert stored.tables[name].sort_by(keys) == result.tables[name].sort_by(keys), name
    assert stored.tables["signal"].num_rows == 600


def test_a_crash_leaves_a_failed_run_and_not_a_row_of_results(desk):
    def crash(strategy):
        raise ZeroDivisionError("in the middle")

    with pytest.raises(RunFailedError, match="in the middle"):
        play(desk, loaded(scripted({20: lambda s: s.buy(), 300: crash})), "broken-1")
    stored = desk.risk_store.load("broken-1")
    assert stored.run["status"] == "failed"
    assert "in the middle" in stored.run["error"]
    assert all(table.num_rows == 0 for table in stored.tables.values())
