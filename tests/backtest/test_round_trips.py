import pytest

from tests.backtest.synthetic import bars_of, column, floats, run, scripted

ROWS = [
    (1.10, 1.10, 1.10, 1.10),
    (1.10, 1.13, 1.08, 1.11),  # entry at 1.10
    (1.11, 1.15, 1.07, 1.12),
    (1.12, 1.19, 1.01, 1.14),  # exit at 1.12: the rest of this bar was not suffered
    (1.14, 1.14, 1.14, 1.14),
    (1.14, 1.14, 1.14, 1.14),
]


def entered(side, size=None):
    return lambda s: getattr(s, side)(size=size)


def test_excursions_of_a_long_run_from_entry_to_exit_and_no_further():
    result = run(scripted({1: entered("buy"), 3: lambda s: s.close()}), bars_of(ROWS))
    assert floats(result, "trade", "mfe_fraction") == pytest.approx([0.05 / 1.10])
    assert floats(result, "trade", "mae_fraction") == pytest.approx([-0.03 / 1.10])
    assert column(result, "trade", "bars_held") == [2]
    assert floats(result, "trade", "pnl_per_bar") == pytest.approx([10.0])
    assert floats(result, "trade", "return_fraction") == pytest.approx([20 / 100_000])


def test_excursions_of_a_short_have_the_same_signs():
    result = run(scripted({1: entered("sell"), 3: lambda s: s.close()}), bars_of(ROWS))
    assert floats(result, "trade", "mfe_fraction") == pytest.approx([0.03 / 1.10])
    assert floats(result, "trade", "mae_fraction") == pytest.approx([-0.05 / 1.10])
    assert column(result, "trade", "direction") == ["short"]


def test_adding_and_closing_in_parts_is_one_trade_at_average_prices():
    actions = {1: entered("buy", 1000), 2: entered("buy", 3000), 3: entered("sell", 1000)}
    actions[4] = lambda s: s.close()
    result = run(scripted(actions), bars_of(ROWS))
    assert floats(result, "trade", "entry_price") == pytest.approx([(1.10 + 3 * 1.11) / 4])
    assert floats(result, "trade", "exit_price") == pytest.approx([(1.12 + 3 * 1.14) / 4])
    assert floats(result, "trade", "units") == [4000]
    assert floats(result, "trade", "gross_pnl") == pytest.approx([4000 * 1.135 - 4000 * 1.1075])


def test_one_order_that_reverses_ends_one_trade_and_begins_the_next():
    actions = {1: entered("buy", 1000), 3: entered("sell", 3000)}
    result = run(scripted(actions), bars_of(ROWS))
    assert column(result, "trade", "exit_reason") == ["reversal"]
    assert floats(result, "trade", "pnl") == pytest.approx([20.0])
    assert floats(result, "position", "units") == [-2000]
    assert floats(result, "position", "average_price") == pytest.approx([1.12])


@pytest.mark.parametrize("bars", [1, 6])
def test_a_run_without_a_trade_has_every_table(bars):
    result = run(scripted({}), bars_of(ROWS[:bars]))
    counts = {name: table.num_rows for name, table in result.tables.items()}
    assert counts == {
        "order_event": 0, "fill": 0, "trade": 0, "position": 0, "equity": bars, "signal": 0,
        "performance": 2,
    }  # fmt: skip
    assert result.tables["performance"].to_pylist()[0]["trades_closed"] == 0
