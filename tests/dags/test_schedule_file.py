"""strategies.csv as the DAG factory reads it: bad rows are left out and told."""

from datetime import date

import pytest
from desk.commands import backtest_command, live_command
from desk.schedule_file import COLUMNS, PAPER_ACCOUNT, read

from mbats.local.paper import FIRST_ACCOUNT

ONE, TWO = "101-001-1234567-001", "101-001-1234567-002"
BOTS = {ONE: "bot-one", TWO: "bot-two", PAPER_ACCOUNT: "bot-paper"}


@pytest.fixture
def reading(tmp_path):
    def read_rows(*rows):
        file = tmp_path / "strategies.csv"
        file.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
        return read(file, BOTS)

    return read_rows


def test_the_default_paper_account_is_the_librarys():
    assert PAPER_ACCOUNT == FIRST_ACCOUNT


def test_a_row_is_read(reading):
    (row,), problems = reading(
        f'rsi_stochastic,practice,"eur/usd;USDJPY",runs:/1a2b,{ONE},"rsi_low=35,size=risk:0.5"'
    )
    assert problems == []
    assert (row.strategy, row.mode, row.account) == ("rsi_stochastic", "practice", ONE)
    assert row.instruments == ("EUR_USD", "USD_JPY")
    assert row.parameters == {"rsi_low": "35", "model_id": "runs:/1a2b"}
    assert row.options == {"size": "risk:0.5"}
    assert row.leader == row.dag_id == f"practice_rsi_stochastic_{ONE}"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("sma_reversal,trade,EUR_USD,,,", "Mode must be"),
        ("../x,paper,EUR_USD,,,", "Strategy cannot be"),
        ("sma_reversal,paper,EURO,,,", "Securities cannot be"),
        ("sma_reversal,paper,,,,", "must name instruments"),
        ("sma_reversal,paper,EUR_USD EUR_USD,,,", "each once"),
        ("sma_reversal,live,EUR_USD,,,", "Account cannot be"),
        (f"sma_reversal,paper,EUR_USD,,{ONE},", "only they, begin with 000-"),
        (f"sma_reversal,live,EUR_USD,,{PAPER_ACCOUNT},", "only they, begin with 000-"),
        ("sma_reversal,live,EUR_USD,,101-001-1234567-009,", "has no bot"),
        ("sma_reversal,paper,EUR_USD,,,--arm", "no name=value"),
        ("sma_reversal,paper,EUR_USD,,,a=1;a=2", "there twice"),
        ("sma_reversal,paper,EUR_USD,--arm,,", "Model ID"),
        ("sma_reversal,paper,EUR_USD,USD_JPY,,,", "more cells"),
        ("sma_reversal,paper,EUR_USD,USD_JPY,,", "is an instrument"),
    ],
)
def test_a_bad_row_is_left_out_and_told_and_the_others_stay(reading, row, reason):
    rows, problems = reading(row, f"sma_reversal,practice,EUR_USD,,{TWO},")
    assert [each.account for each in rows] == [TWO]
    (problem,) = problems
    assert problem.startswith("strategies.csv, row 2: ")
    assert reason in problem


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (f"rsi_stochastic,live,GBP_USD,,{ONE},", "in mode practice"),
        (f"sma_reversal,practice,GBP_USD,,{ONE},", "the same strategy and account"),
        (f"rsi_stochastic,practice,EUR_USD,,{ONE},", "traded by sma_reversal"),
        (f"rsi_stochastic,practice,GBP_USD,,{ONE},granularity=H1", "must be the same"),
    ],
)
def test_rows_of_an_account_must_go_together(reading, second, reason):
    rows, (problem,) = reading(f"sma_reversal,practice,EUR_USD,,{ONE},", second)
    assert len(rows) == 1
    assert reason in problem


def test_the_first_row_of_an_account_leads_the_others(reading):
    rows, _ = reading(
        f"sma_reversal,practice,EUR_USD,,{ONE},",
        f"rsi_stochastic,practice,GBP_USD,,{ONE},",
        f"rsi_stochastic,practice,GBP_USD,,{TWO},",
    )
    assert [each.leader for each in rows] == [rows[0].dag_id, rows[0].dag_id, rows[2].dag_id]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'"open'])
def test_what_is_no_schedule_starts_nothing_and_is_told(tmp_path, content):
    file = tmp_path / "strategies.csv"
    file.write_bytes(content)
    rows, problems = read(file, BOTS)
    assert rows == []
    assert len(problems) == 1


def test_a_missing_file_is_an_empty_schedule(tmp_path):
    assert read(tmp_path / "none.csv", BOTS) == ([], [])


def test_nothing_in_the_file_arms_a_bot(reading):
    rows, _ = reading(f"sma_reversal,live,EUR_USD,,{ONE},arm=1")
    command = live_command(rows, date(2026, 11, 27))
    assert "--live" in command
    assert "--arm" not in command
    assert command[command.index("--param") + 1] == "sma_reversal.arm=1"


def test_a_backtest_row_is_a_run_that_is_not_repeated(reading):
    (row,), _ = reading("sma_reversal,backtest,EUR_USD GBP_USD,,,period=20;size=equity:10")
    assert backtest_command(row) == [
        "backtest", "sma_reversal", "--instruments", "EUR_USD,GBP_USD", "--granularity", "D",
        "--sizer", "equity:10", "--param", "sma_reversal.period=20", "--reuse", "--brief",
    ]  # fmt: skip
