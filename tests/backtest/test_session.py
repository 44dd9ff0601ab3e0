"""A run is whole or failed (seed defects D18, D22): one start, one finish, nothing between."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mbats import schemas
from mbats.backtest.engine import BacktestSpec
from mbats.backtest.result import RESULT_TABLES
from mbats.backtest.session import BacktestRequest, backtest, new_run_id
from mbats.errors import DataError, NotReadyError, RunFailedError
from mbats.strategy.loading import load_strategy
from tests.backtest.memory import MemoryMarket, MemoryStore
from tests.backtest.synthetic import DAY, bars_of, loaded, scripted, walk

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def request(strategy, *instruments, **spec):
    made = BacktestSpec([strategy], Decimal(100_000), **spec)
    return BacktestRequest(made, instruments or ["EUR_USD"], ["M1"], "test")


def play(asked, market, store):
    return backtest(asked, market, store, now=lambda: NOW, run_id="r1")


def crash(error):
    def act(strategy):
        raise error

    return loaded(scripted({200: act, 50: lambda s: s.buy()}))


def test_a_run_is_written_once_at_the_end_however_many_trades_it_has():
    store = MemoryStore()
    result, _ = play(request(load_strategy("sma_reversal")), MemoryMarket(walk(2000)), store)
    assert result.tables["trade"].num_rows > 200
    assert store.calls == ["start", "finish"]
    assert store.status == {"r1": "done"}


def test_the_result_has_every_table_in_the_schema_of_its_file():
    store = MemoryStore()
    play(request(load_strategy("rsi_stochastic"), log_signals=True), MemoryMarket(walk(600)), store)
    tables = store.results["r1"].tables
    assert set(tables) == set(RESULT_TABLES)
    for name, table in tables.items():
        assert table.schema.equals(schemas.table("risk", name).arrow), name
        table.validate(full=True)
        for field in table.schema:
            assert field.nullable or not table.column(field.name).null_count, (name, field.name)
    columns = set(schemas.table("risk", "run").columns)
    assert set(store.results["r1"].run) <= columns


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("float division"), "ZeroDivisionError: float division"),
        (KeyboardInterrupt(), "interrupted from the keyboard"),
        (SystemExit(3), "SystemExit"),
        (DataError("No rate."), "No rate."),
    ],
)
def test_a_run_that_breaks_off_is_marked_failed_and_holds_no_results(error, said):
    store = MemoryStore()
    with pytest.raises(RunFailedError, match=said) as caught:
        play(request(crash(error)), MemoryMarket(walk(500)), store)
    assert caught.value.exit_code == 6
    assert caught.value.__cause__ is error
    assert store.calls == ["start", "fail"]
    assert store.status == {"r1": "failed"}
    assert said in store.errors["r1"]
    assert not store.results


def test_a_store_that_cannot_finish_leaves_a_failed_run():
    store = MemoryStore({"finish": NotReadyError("BigQuery does not answer.", mend="mbats up")})
    with pytest.raises(RunFailedError, match="BigQuery does not answer") as caught:
        play(request(load_strategy("sma_reversal")), MemoryMarket(walk(100)), store)
    assert caught.value.mend == "mbats up"
    assert store.status == {"r1": "failed"}


def test_a_store_that_cannot_even_mark_it_failed_does_not_hide_why_it_failed():
    store = MemoryStore({"fail": NotReadyError("gone")})
    with pytest.raises(RunFailedError, match="ZeroDivisionError") as caught:
        play(request(crash(ZeroDivisionError("x"))), MemoryMarket(walk(500)), store)
    assert any("gone" in tried for tried in caught.value.tried)


def test_missing_bars_are_named_with_the_command_and_no_run_is_recorded():
    store = MemoryStore()
    with pytest.raises(DataError, match="no M1 bars of GBP_USD from test") as caught:
        play(request(load_strategy("sma_reversal"), "GBP_USD"), MemoryMarket(walk(10)), store)
    assert caught.value.mend.startswith("mbats data load")
    assert caught.value.tried[0].startswith("EUR_USD M1 test")
    assert store.calls == []


def test_rates_come_from_daily_bars_of_the_vendor_and_are_known_when_the_run_begins():
    yen = walk(600, 4, "USD_JPY", level=150.0, tick=1e-3)
    daily = bars_of(
        [(150.0, 150.0, 150.0, 150.0 + d) for d in range(4)],
        "USD_JPY", granularity="D", step=DAY, start="2023-12-30T00:00",
    )  # fmt: skip
    market = MemoryMarket(yen, daily)
    result, _ = play(request(load_strategy("sma_reversal"), "USD_JPY"), market, MemoryStore())
    assert ("USD_JPY", "D", "test") in market.asked
    rates = {float(r) for r in result.tables["fill"].column("conversion_rate").to_pylist()}
    assert sorted(rates) == [pytest.approx(1 / 152.0, abs=1e-9)]  # the bar that ended on 2 January


def test_without_daily_bars_the_runs_own_closes_convert():
    yen = walk(600, 4, "USD_JPY", level=150.0, tick=1e-3)
    _, inputs = play(
        request(load_strategy("sma_reversal"), "USD_JPY"), MemoryMarket(yen), MemoryStore()
    )
    rate = inputs.conversion.rate("JPY")
    assert rate.value.tolist() == pytest.approx((1 / yen.mid.close).tolist())
    assert (rate.known_at == yen.end).all()


def test_equal_data_has_an_equal_snapshot_and_other_data_another():
    from mbats.backtest.engine import snapshot

    assert snapshot([walk(50)]) == snapshot([walk(50)])
    changed = walk(50)
    changed.mid.close[49] += 1e-5
    assert snapshot([changed]) != snapshot([walk(50)])
    assert snapshot([walk(50, granularity="M5")]) != snapshot([walk(50)])


def test_run_ids_sort_by_time():
    assert new_run_id(NOW, lambda: "ab") == "20260304T050607-ab"


def test_fewer_bars_than_a_strategy_needs_are_named():
    asked = request(load_strategy("rsi_stochastic"))
    with pytest.raises(RunFailedError, match=r"needs \d+ bars of EUR_USD.*there are 20"):
        play(asked, MemoryMarket(walk(20)), MemoryStore())
