"""The tear sheet in a real browser, without a network. Skipped, loudly, without Chromium."""

import pytest
from headless_chromium import browser, chromium_or_skip, opened
from synthetic_runs import PAIRS, synthetic_run

from mbats.backtest.tearsheet import write_tearsheet

CHARTS = [
    "equity", "underwater", "monthly", "prices", "contribution",
    "returns", "excursions", "rolling", "costs", "exits",
]  # fmt: skip
DRAWN = """
() => Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].map((plot) => [
  plot.dataset.key,
  ['.scatterlayer .trace', '.barlayer .trace', '.waterfalllayer .trace', '.heatmaplayer image']
    .reduce((sum, drawn) => sum + plot.querySelectorAll(drawn).length, 0),
]))
"""


@pytest.fixture(scope="module")
def chromium():
    with browser(chromium_or_skip()) as running:
        yield running


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    result, bars = synthetic_run(instruments=list(PAIRS)[:3], days=260 * 4)
    return write_tearsheet(result, tmp_path_factory.mktemp("sheet") / "sheet.html", bars)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_chart_is_drawn_with_the_network_cut_and_no_complaint(sheet, chromium, width, scheme):
    with opened(chromium, sheet, width, color_scheme=scheme) as page:
        drawn = page.evaluate(DRAWN)
        assert list(drawn) == CHARTS
        assert all(traces > 0 for traces in drawn.values()), drawn
        assert page.asked == []
        assert page.complaints == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_selector_changes_the_instrument_of_the_price_chart(sheet, chromium):
    with opened(chromium, sheet) as page:
        plot = "document.getElementById('plot-prices')"
        before = page.evaluate(f"{plot}.layout.yaxis.title.text")
        page.select_option("select[data-for=prices]", "USD_JPY")
        page.wait_for_function(f"{plot}.layout.yaxis.title.text === 'JPY'")
        low, high = page.evaluate(f"{plot}.layout.yaxis.range")
        assert before == "USD"
        assert 10 < low < high < 1_000
        assert page.complaints == []


def test_the_table_of_trades_turns_and_sorts(sheet, chromium):
    with opened(chromium, sheet) as page:
        rows = "[...document.querySelectorAll('#trades tbody tr')]"
        column = rows + ".map(row => row.children[{}].textContent)"
        assert page.evaluate(column.format(0)) == [str(n) for n in range(1, 26)]
        page.click("#on")
        assert page.evaluate(column.format(0))[0] == "26"
        page.click("#trades th:nth-child(9) button")
        pnl = [float(text.replace(",", "")) for text in page.evaluate(column.format(8))]
        assert pnl == sorted(pnl)
        page.click("#trades th:nth-child(9) button")
        assert float(page.evaluate(column.format(8))[0].replace(",", "")) > pnl[-1]
        heading = page.locator("#trades th:nth-child(9)")
        assert heading.get_attribute("aria-sort") == "descending"


def test_a_run_without_trades_opens_without_complaint(chromium, tmp_path):
    result, bars = synthetic_run(trades=0, leave_open=False)
    with opened(chromium, write_tearsheet(result, tmp_path / "empty.html", bars)) as page:
        assert set(page.evaluate(DRAWN)) == {"equity", "underwater", "monthly", "prices", "rolling"}
        assert page.complaints == []


def test_what_a_strategy_says_is_never_run(chromium, tmp_path):
    attack = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"
    result, bars = synthetic_run(
        trades=5, run={"strategy": attack, "parameters": {attack: attack}, "git_sha": attack}
    )
    trades = result.tables["trade"]
    for column in ("exit_reason", "instrument"):
        index = trades.schema.get_field_index(column)
        field = trades.schema.field(index)
        trades = trades.set_column(index, field, [[attack] * len(trades)])
    result = type(result)(result.run, {**result.tables, "trade": trades})
    with opened(chromium, write_tearsheet(result, tmp_path / "attack.html", bars)) as page:
        page.select_option("select[data-for=prices]", attack)
        page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length > 5")
        assert page.evaluate("window.hit") is None
        assert page.asked == []


def test_tools_lie_over_no_chart_where_nothing_hovers(sheet, chromium):
    with opened(chromium, sheet, 390, has_touch=True, is_mobile=True) as page:
        assert not page.evaluate("matchMedia('(hover: hover)').matches")
        assert page.evaluate("document.querySelectorAll('.modebar-btn').length") == 0
        assert page.complaints == []


def test_paper_is_light_even_when_the_screen_is_dark(sheet, chromium):
    with opened(chromium, sheet, color_scheme="dark") as page:
        ink = "document.getElementById('plot-equity').layout.font.color"
        dark = page.evaluate(ink)
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.wait_for_function(f"{ink} !== '{dark}'")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        page.wait_for_function(f"{ink} === '{dark}'")
