import json
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import PAIRS, synthetic_bars, synthetic_run

from mbats.backtest.tearsheet import tearsheet_html, write_tearsheet
from mbats.backtest.tearsheet.figure import FIRST_X
from mbats.backtest.tearsheet.figures import all_figures
from mbats.backtest.tearsheet.page import MOST_TRADES
from mbats.backtest.tearsheet.series import keep_extremes, price_buckets

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What a page loads, and its embedded data."""

    def __init__(self, html):
        super().__init__()
        self.loads, self.scripts, self.images, self.handlers = [], 0, 0, []
        self.data, self._in_data = "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.loads += [attrs[a] for a in ("src", "href", "srcset", "action") if attrs.get(a)]
        self.handlers += [name for name in attrs if name.startswith("on")]
        self._in_data = attrs.get("id") == "page"

    def handle_data(self, data):
        if self._in_data:
            self.data += data

    def handle_endtag(self, tag):
        self._in_data = False


@pytest.fixture(scope="module")
def many():
    return synthetic_run(instruments=list(PAIRS)[:3], days=260 * 4)


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_equal_input_gives_an_equal_file(many, tmp_path):
    first = write_tearsheet(*many_args(many, tmp_path / "a" / "one.html"))
    second = write_tearsheet(*many_args(many, tmp_path / "two.html"))
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def many_args(many, path):
    result, bars = many
    return result, path, bars


def test_the_file_asks_for_nothing_else(many):
    page = Page(tearsheet_html(*many))
    assert page.loads == []
    assert page.scripts == 3
    assert json.loads(page.data, parse_constant=no_constant)["trades"]["total"] == 180


def test_what_a_strategy_says_is_never_run():
    result, bars = synthetic_run(
        trades=4,
        run={
            "strategy": ATTACK,
            "parameters": {ATTACK: ATTACK},
            "vendor": ATTACK,
            "assumptions": {ATTACK: {"x": ATTACK}, "warnings": [ATTACK]},
            "error": ATTACK,
            "status": "failed",
            "git_sha": ATTACK,
        },
    )
    trades = result.tables["trade"]
    for column in ("exit_reason", "instrument", "direction"):
        index = trades.schema.get_field_index(column)
        said = pa.array([ATTACK] * len(trades))
        trades = trades.set_column(index, trades.schema.field(index), said)
    html = tearsheet_html(type(result)(result.run, {**result.tables, "trade": trades}), bars)
    page = Page(html)
    assert page.scripts == 3
    assert page.images == 0
    assert page.handlers == []
    assert "alert(1)" in html
    assert "<script>alert" not in html
    figures = json.loads(page.data)["figures"].values()
    labels = json.dumps([list(variants.values()) for variants in figures])
    assert "<img" not in labels
    assert "<script" not in labels


def test_the_header_holds_every_assumption(many):
    html = tearsheet_html(*many)
    for part in ("spread.pips.USD_JPY", "20 USD a million", "sha256:9f2c4b1e", "rsi_period"):
        assert part in html
    for part in ("e69c5701d2a6", "Bars have mid prices only", "open at the end", "amounts in USD"):
        assert part in html


def test_plotly_knows_every_attribute_of_every_figure(many):
    figures = all_figures(*many)
    assert [figure.key for figure in figures] == [
        "equity", "underwater", "monthly", "prices", "contribution",
        "returns", "excursions", "rolling", "costs", "exits",
    ]  # fmt: skip
    for figure in figures:
        for variant in figure.variants.values():
            text = json.dumps({"data": variant["data"], "layout": variant["layout"]})
            for name in ("accent", "muted", "surface", "line", "band", "gain", "loss", "loss-soft"):
                text = text.replace(f"var(--{name})", "#123456")
            text = text.replace("var(--heat-gain)", "#123456").replace("var(--heat-loss)", "#123")
            for number in range(1, 8):
                text = text.replace(f"var(--series-{number})", "#123456")
            assert "var(" not in text
            made = json.loads(text)
            for trace in made["data"]:
                if trace["x"] == FIRST_X:
                    trace["x"] = made["data"][0]["x"]
            go.Figure(made)  # raises on an attribute that does not exist


def test_without_bars_the_trades_draw_the_price(many):
    result, bars = many
    prices = next(f for f in all_figures(result, bars[:1]) if f.key == "prices")
    assert list(prices.variants) == result.run["instruments"]
    assert "No bars were given" not in prices.variants["EUR_USD"]["note"]
    assert "No bars were given" in prices.variants["USD_JPY"]["note"]


@pytest.mark.parametrize("leave_open", [True, False])
def test_a_run_without_trades_has_a_page(leave_open):
    html = tearsheet_html(*synthetic_run(trades=0, leave_open=leave_open))
    data = json.loads(Page(html).data, parse_constant=no_constant)
    assert "No closed trades" in html
    assert "costs" not in data["figures"]
    assert "equity" in data["figures"]


def test_a_run_without_anything_has_a_page():
    result, _ = synthetic_run(days=60, trades=0, performance=False)
    empty = {name: table.slice(0, 0) for name, table in result.tables.items()}
    html = tearsheet_html(type(result)({**result.run, "status": "failed"}, empty))
    assert "Nothing to draw" in html


def test_a_losing_run_has_a_page():
    result, bars = synthetic_run(edge=-0.01, trades=100)
    assert result.run["ending_value"] < result.run["starting_cash"]
    Page(tearsheet_html(result, bars))


def test_a_hundred_thousand_bars_stay_below_ten_megabytes(many):
    result, _ = many
    bars = [synthetic_bars(name, 100_000, 1) for name in result.run["instruments"]]
    html = tearsheet_html(result, bars)
    assert len(html.encode()) < 10_000_000
    prices = json.loads(Page(html).data)["figures"]["prices"]
    assert "low to high of 13 bars" in prices["EUR_USD"]["note"]


def test_quarter_of_a_century_of_seven_pairs_and_8400_trades_stays_below_ten_megabytes():
    html = tearsheet_html(*synthetic_run(instruments=list(PAIRS), days=6_900, trades=1_200))
    assert len(html.encode()) < 10_000_000


def test_the_table_of_trades_is_capped_and_says_so(many):
    result, _ = many
    row = result.tables["trade"].to_pylist()[0]
    rows = [row | {"trade_id": number} for number in range(1, MOST_TRADES + 501)]
    trades = pa.Table.from_pylist(rows, result.tables["trade"].schema)
    html = tearsheet_html(type(result)(result.run, {**result.tables, "trade": trades}))
    data = json.loads(Page(html).data)
    assert "The newest 2,000 of 2,500 trades" in html
    assert [data["trades"]["rows"][index][0][0] for index in (0, -1)] == [501, 2500]


@given(st.integers(0, 1_000), st.integers(1, 3_000), st.integers(6, 60))
def test_thinning_keeps_the_extremes_the_ends_and_the_order(seed, count, limit):
    values = np.random.default_rng(seed).normal(size=count)
    kept = keep_extremes(values, limit)
    assert len(kept) <= max(limit, 6)
    assert np.all(np.diff(kept) > 0)
    assert {0, len(values) - 1} <= set(kept.tolist())
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()


@given(st.integers(1, 400), st.integers(1, 50))
def test_a_bucket_holds_the_low_and_high_of_all_its_bars(count, limit):
    bars = synthetic_bars("EUR_USD", count, 7)
    made = price_buckets(bars, limit)
    each = made["bars_each"]
    assert len(made["time"]) <= limit
    for index in range(len(made["time"])):
        window = slice(index * each, (index + 1) * each)
        assert made["low"][index] == bars.mid.low[window].min()
        assert made["high"][index] == bars.mid.high[window].max()
        assert made["close"][index] == bars.mid.close[window][-1]
        assert made["time"][index] == bars.start[window][0]
