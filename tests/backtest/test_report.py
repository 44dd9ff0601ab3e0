import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rich.console import Console
from synthetic_runs import CASH, PAIRS, synthetic_run

from mbats.backtest import tables
from mbats.backtest.curve import curve_of
from mbats.backtest.report import document, report, warnings
from mbats.cli.output import plain

SEVEN = list(PAIRS)


def printed(result, bars=None, **how):
    out = io.StringIO()
    Console(file=out, width=100, **how).print(*report(result, bars))
    return out.getvalue()


def scaled(result, factor, **run):
    """The run in an account whose amounts are ``factor`` times as large."""
    made = {}
    for name, table in result.tables.items():
        for index, field in enumerate(table.schema):
            if pa.types.is_decimal(field.type) and "price" not in field.name:
                many = [None if v is None else v * factor for v in table.column(index).to_pylist()]
                table = table.set_column(index, field, pa.array(many, field.type))
        made[name] = table
    return type(result)({**result.run, **run}, made)


@pytest.fixture(scope="module")
def seven():
    return synthetic_run(instruments=SEVEN, days=260 * 25, trades=100)


def test_nothing_wraps_or_is_cut_at_100_columns(seven):
    text = printed(*seven)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    listed = text[text.index("By instrument") : text.index("By exit")].splitlines()
    names = [line.split()[0] for line in listed[3:] if line.strip() and "─" not in line]
    assert names == [*SEVEN, "TOTAL"]


def test_a_yen_account_of_billions_is_not_cut_either(seven):
    large = scaled(seven[0], 15_000, account_currency="JPY")
    text = printed(large, seven[1])
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_plain_in_a_file_and_coloured_in_a_terminal(seven):
    assert "\x1b" not in printed(*seven)
    assert "\x1b[32m" in printed(*seven, force_terminal=True, color_system="standard")


def test_markup_in_names_is_printed_as_it_is():
    result, _ = synthetic_run(run={"strategy": "[red]x[/red]", "parameters": {"[b]": "[i]"}})
    text = printed(result, force_terminal=True)
    assert "[red]x[/red]" in text
    assert "[b] = [i]" in text


def test_the_header_holds_every_assumption_and_parameter(seven):
    text = printed(*seven)
    for part in ("spread.pips.USD_JPY = 1.4", "20 USD a million", "risk = 0.01", "rsi_period = 30"):
        assert part in text
    for part in ("sha256:9f2c", "e69c5701d2", "from synthetic", "! Bars have mid prices only"):
        assert part in text


def test_the_total_row_is_the_whole_run(seven):
    result, _ = seven
    table = tables.per_instrument(result)
    net = [c.key for c in table.columns].index("net_pnl")
    assert table.footer[0] == "TOTAL"
    assert sum(row[net] for row in table.rows) == table.footer[net]
    assert table.footer[net] == pc.sum(result.tables["trade"].column("pnl")).as_py()


def test_bars_add_what_the_market_did(seven):
    result, bars = seven
    table = tables.per_instrument(result, bars)
    eur = dict(zip([c.key for c in table.columns], table.rows[0], strict=True))
    mid = bars[0].mid
    assert eur["market_change"] == pytest.approx(mid.close[-1] / mid.open[0] - 1)


def test_costs_lead_from_gross_to_net_to_the_last_digit(seven):
    table = tables.costs(seven[0])
    assert sum(row[1] for row in table.rows) == table.footer[1]
    assert [row[0] for row in table.rows][1:] == ["Spread", "Slippage", "Commission", "Financing"]
    assert table.rows[1][1] < 0
    assert table.footer[1] == tables.figures(seven[0])["net_pnl"]


def test_months_compound_to_their_year_and_years_to_the_run(seven):
    result, _ = seven
    whole = 1.0
    for _, *months, year in tables.monthly(curve_of(result.run, result.tables["equity"])).rows:
        grown = 1.0
        for month in months:
            grown *= 1 + (month or 0.0)
        assert grown == pytest.approx(1 + year)
        whole *= 1 + year
    assert whole == pytest.approx(float(result.run["ending_value"] / CASH))


def test_worst_trades_are_losses_and_best_are_gains(seven):
    pnl = seven[0].tables["trade"].column("pnl").to_pylist()
    for worst, expected in ((True, sorted(pnl)[:5]), (False, sorted(pnl)[-5:][::-1])):
        table = tables.extreme_trades(seven[0], worst)
        index = [c.key for c in table.columns].index("pnl")
        assert [row[index] for row in table.rows] == expected


def test_exits_and_orders_are_counted_by_reason(seven):
    exits = tables.exits(seven[0])
    assert sum(row[1] for row in exits.rows) == exits.footer[1] == 700
    orders = tables.orders_not_filled(seven[0])
    figures = tables.figures(seven[0])
    refused = sum(row[-1] for row in orders.rows if row[0] == "margin")
    assert refused == figures["rejected_orders"]


def test_json_has_the_same_content_as_the_tables(seven):
    made = json.loads(json.dumps(document(*seven), default=plain, allow_nan=False))
    assert made["run"]["run_id"] == seven[0].run["run_id"]
    assert made["warnings"] == warnings(seven[0])
    assert list(made["tables"]) == [table.key for table in tables.all_tables(*seven)]
    for table in tables.all_tables(*seven):
        assert len(made["tables"][table.key]) == len(table.rows) + (table.footer is not None)
    assert Decimal(made["tables"]["costs"][-1]["amount"]) == Decimal(made["figures"]["net_pnl"])


@pytest.mark.parametrize("leave_open", [True, False])
def test_a_run_without_trades_is_reported(leave_open):
    result, bars = synthetic_run(trades=0, leave_open=leave_open)
    assert "TOTAL" in printed(result, bars)
    assert any(line.startswith("No closed trades") for line in warnings(result))
    json.dumps(document(result), default=plain, allow_nan=False)


def test_a_failed_run_without_rows_is_reported_as_such():
    result, _ = synthetic_run(days=60, trades=0, performance=False)
    empty = {name: table.slice(0, 0) for name, table in result.tables.items()}
    run = {**result.run, "status": "failed", "error": "ZeroDivisionError", "ended_at": None}
    failed = type(result)({**run, "ending_value": None, "bars": None}, empty)
    assert "The run is failed: ZeroDivisionError" in printed(failed)


def test_each_thing_that_flatters_is_warned_of():
    free, _ = synthetic_run(costs=False, trades=5, run={"git_sha": "abc-dirty"})
    found = " ".join(warnings(free))
    for part in ("Costs are off", "15 closed trades: fewer than 30", "open at the end", "uncommit"):
        assert part in found
    sound, _ = synthetic_run(leave_open=False, run={"assumptions": {"spread": "bid/ask"}})
    assert warnings(sound) == []


@pytest.mark.parametrize(
    ("column", "part"),
    [("slippage_cost", "No slippage"), ("financing", "No financing")],
)
def test_one_missing_cost_is_warned_of_by_name(column, part):
    result, _ = synthetic_run(leave_open=False)
    trades = result.tables["trade"]
    index = trades.schema.get_field_index(column)
    none = pa.array([Decimal(0)] * len(trades), trades.schema.field(index).type)
    trades = trades.set_column(index, trades.schema.field(index), none)
    assert any(
        part in line
        for line in warnings(type(result)(result.run, {**result.tables, "trade": trades}))
    )


@pytest.mark.parametrize(
    ("value", "kind", "currency", "expected"),
    [
        (Decimal("-0.004"), "money", "USD", "0.00"),
        (Decimal("1234567.891"), "money", "JPY", "1,234,568"),
        (-0.12345, "change", "USD", "-12.35%"),
        (-0.0001, "points", "USD", "0.0"),
        (None, "money", "USD", ""),
        (Decimal("151.234567"), "price", "USD", "151.235"),
        (datetime(2024, 3, 1, 22, tzinfo=UTC), "time", "USD", "2024-03-01 22:00"),
    ],
)
def test_cells_are_shown_as_people_read_them(value, kind, currency, expected):
    assert tables.shown(value, kind, currency) == expected
