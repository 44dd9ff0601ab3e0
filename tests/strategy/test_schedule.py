"""strategies.csv: what is read, what is refused, how that is said, and that no secret is told."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.local.paper import FIRST_ACCOUNT
from mbats.strategy.schedule import COLUMNS, PAPER_ACCOUNT, SECRET, RowMode, read_schedule

HEADER = "Strategy,Mode,Securities,Model ID,Account,Strategy Parameters"
PRACTICE = "101-001-1234567-001"


def made(*rows, header=HEADER):
    return "\n".join([header, *rows, ""]).encode()


def problems(*rows, **more):
    return [str(problem) for problem in read_schedule(made(*rows), **more).problems]


def test_a_row_of_each_mode_is_read():
    schedule = read_schedule(
        made(
            'rsi_stochastic,backtest,"EUR_USD, usdjpy GBP/USD",,,"rsi_buy=40,stop_atr=1.5"',
            "sma_reversal,paper,EUR_USD,,,",
            f"sma_reversal,practice,EUR_USD,models:/fx@champion,{PRACTICE},period=10",
            "rsi_stochastic,live,AUD_USD,,001-001-7654321-002,",
        )
    )

    assert not schedule.problems
    first, second, third, _ = schedule.entries
    assert first.securities == ("EUR_USD", "USD_JPY", "GBP_USD")
    assert first.parameters == {"rsi_buy": "40", "stop_atr": "1.5"}
    assert [entry.mode for entry in schedule.entries] == list(RowMode)
    assert (second.account, second.model_id, second.parameters) == ("", "", {})
    assert (third.model_id, third.account, third.row) == ("models:/fx@champion", PRACTICE, 4)


def test_columns_may_stand_in_any_order_and_a_byte_order_mark_is_no_part_of_the_first():
    shuffled = ["Account", "Mode", "Strategy", "Strategy Parameters", "Securities", "Model ID"]
    content = b"\xef\xbb\xbf" + made(",backtest,sma_reversal,,EUR_USD,", header=",".join(shuffled))

    (entry,) = read_schedule(content).entries

    assert (entry.strategy, entry.securities) == ("sma_reversal", ("EUR_USD",))


def test_the_row_number_is_that_of_a_spreadsheet_also_after_blank_rows_and_cells_of_two_lines():
    content = made(
        'sma_reversal,backtest,"EUR_USD\nUSD_JPY",,,', "", ",,,,,", "x!,backtest,EUR_USD"
    )

    schedule = read_schedule(content)

    assert schedule.entries[0].securities == ("EUR_USD", "USD_JPY")
    assert [problem.row for problem in schedule.problems] == [5]


@pytest.mark.parametrize(
    ("row", "column", "said"),
    [
        ("Sma Reversal,backtest,EUR_USD,,,", "Strategy", "no strategy's name"),
        ("../evil,backtest,EUR_USD,,,", "Strategy", "no strategy's name"),
        ("sma_reversal,Live,EUR_USD,,,", "Mode", "backtest, paper, practice, live"),
        ("sma_reversal,,EUR_USD,,,", "Mode", "backtest"),
        ("sma_reversal,backtest,,,,", "Securities", "no instrument"),
        ("sma_reversal,backtest,EURO,,,", "Securities", "'EURO'"),
        ('sma_reversal,backtest,"EUR_USD,eurusd",,,', "Securities", "twice"),
        ("sma_reversal,backtest,EUR_USD,$(id),,", "Model ID", "no model"),
        ("sma_reversal,practice,EUR_USD,,,", "Account", "needs a broker's account"),
        ("sma_reversal,live,EUR_USD,,000-001-0000001-001,", "Account", "needs a broker's account"),
        (f"sma_reversal,paper,EUR_USD,,{PRACTICE},", "Account", "broker's account"),
        ("sma_reversal,practice,EUR_USD,,main,", "Account", "no account id"),
        ("sma_reversal,backtest,EUR_USD,,,period", "Strategy Parameters", "no name=value"),
        ("sma_reversal,backtest,EUR_USD,,,period=`id`", "Strategy Parameters", "cannot be"),
        ("sma_reversal,backtest,EUR_USD,,,period=1;period=2", "Strategy Parameters", "twice"),
        ("sma_reversal,backtest,EUR_USD,,,x=1,y=2", "", "7 cells under 6 columns"),
        ("sma_reversal,backtest,EUR_USD,,,x=1,", "", "7 cells under 6 columns"),
        ("sma_reversal,backtest,EUR_USD,USD_JPY,,", "Model ID", "double quotes"),
    ],
)
def test_a_wrong_cell_is_named_with_row_column_and_what_was_expected(row, column, said):
    (problem,) = read_schedule(made("rsi_stochastic,backtest,EUR_USD,,,", row)).problems

    assert (problem.row, problem.column) == (3, column)
    assert said in problem.reason


def test_a_row_with_three_wrong_cells_has_three_problems():
    assert len(problems("A b,swing,EURO,,,")) == 3


def test_a_strategy_that_is_not_there_is_a_problem_where_the_names_are_known():
    row = "sma_reversall,backtest,EUR_USD,,,"

    assert not problems(row)
    assert "there are sma_reversal" in problems(row, known=["sma_reversal"])[0]


def test_two_rows_that_say_the_same_exclude_each_other():
    same = "sma_reversal,backtest,EUR_USD,,,period={}"

    assert "the same as row 2" in problems(same.format(1), same.format(2))[0]
    on_an_account = same.format(1).replace(",,,", f",,{PRACTICE},")
    assert "the same as row 2" in problems(same.format(1), on_an_account)[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"rsi_x,practice,USD_JPY,,{PRACTICE},", ""),
        ("sma_reversal,practice,USD_JPY,,101-001-1234567-002,", ""),
        ("sma_reversal,backtest,EUR_USD,,,", ""),
        (f"rsi_x,live,USD_JPY,,{PRACTICE},", "of mode practice in row 2"),
        (f"sma_reversal,practice,USD_JPY,,{PRACTICE},", "in row 2 already"),
        (f"rsi_x,practice,usdjpy EUR_USD,,{PRACTICE},", "EUR_USD belongs to sma_reversal"),
        (f"rsi_x,practice,USD_JPY,,{PRACTICE},size=units:5", "size is another one"),
    ],
)
def test_one_account_has_one_bot_of_one_mode_whose_strategies_share_no_instrument(row, said):
    found = problems(f"sma_reversal,practice,EUR_USD,,{PRACTICE},", row)

    assert bool(found) == bool(said)
    if said:
        assert found[0].startswith("row 3, column Account")
        assert said in found[0]


def test_paper_rows_without_an_account_share_the_first_one():
    row = "{},paper,EUR_USD,,{},"

    assert PAPER_ACCOUNT == FIRST_ACCOUNT
    assert problems(row.format("sma_x", ""), row.format("rsi_x", FIRST_ACCOUNT))
    assert not problems(row.format("sma_x", ""), row.format("rsi_x", "000-001-0000002-001"))


TOKENS = [
    "0123456789abcdef" * 2 + "-" + "fedcba9876543210" * 2,
    "ab1" * 20,
    "Bearer abc",
    "eyJ" + "hbGciOiJI" * 2,
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("column", range(6))
def test_what_looks_like_a_token_is_refused_in_any_column_and_never_repeated(token, column):
    cells = ["sma_reversal", "practice", "EUR_USD", "", PRACTICE, ""]
    cells[column] = token

    (said,) = problems(",".join(cells))

    assert SECRET in said
    assert said.startswith(f"row 2, column {COLUMNS[column]}")
    assert token.lower() not in said.lower()


@pytest.mark.parametrize("name", ["Token", "API key", "oanda_token", "Secret", TOKENS[0]])
def test_a_column_for_a_secret_is_refused_whole_without_a_word_of_what_it_holds(name):
    content = made(f"sma_reversal,live,EUR_USD,,,,{TOKENS[0]}", header=f"{HEADER},{name}")

    with pytest.raises(DataError) as caught:
        read_schedule(content)

    assert SECRET in str(caught.value)
    assert TOKENS[0] not in str(caught.value)


def test_a_parameter_named_after_a_secret_is_refused_without_its_value():
    (said,) = problems("sma_reversal,backtest,EUR_USD,,,api_key=hunter2")

    assert SECRET in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "missing Strategy"),
        (b"Strategy,Mode\n", "missing Securities"),
        (made(header=HEADER + ",Notes"), "unknown Notes"),
        (made(header=HEADER + ",Mode"), "twice"),
        (made("x" * 1_000_001), "limit is 1,000,000"),
        (HEADER.encode("utf-16"), "UTF-8"),
        (HEADER.encode() + b"\n\0", "zero bytes"),
        (HEADER.encode() + b'\n"sma', "quotes"),
        (b"PK\x03\x04 a workbook", "missing Strategy"),
        (made(*["a,backtest,EUR_USD,,,"] * 1_001), "limit is 1,000"),
    ],
)
def test_what_is_no_schedule_at_all_is_an_error_that_says_how_to_save_it(content, said):
    with pytest.raises(DataError, match=said) as caught:
        read_schedule(content)

    assert "comma-separated" in caught.value.mend


def test_a_file_without_strategies_is_a_problem_not_an_order_to_stop_them_all():
    assert "mbats halt" in problems()[0]


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(noise):
    for content in (noise, made() + noise):
        try:
            schedule = read_schedule(content)
        except DataError:
            continue
        assert schedule.problems or schedule.entries


names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9_.:+/@%-]{1,20}", fullmatch=True)


@given(
    st.lists(
        st.tuples(names, st.dictionaries(names, values, max_size=4)),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_what_a_writer_of_csv_writes_is_read_back(rows):
    secret = ("token", "secret", "passw", "credential", "bearer", "api", "private")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    wanted = []
    for name, given_parameters in rows:
        parameters = {
            k: v
            for k, v in given_parameters.items()
            if not any(word in k.lower() or word in v.lower() for word in secret)
            and "eyj" not in v.lower()
        }
        text = ",".join(f"{k}={v}" for k, v in parameters.items())
        writer.writerow([name, "backtest", "EUR_USD,USD_JPY", "", "", text])
        wanted.append((name, parameters))

    schedule = read_schedule(file.getvalue().encode())

    assert not schedule.problems
    assert [(e.strategy, dict(e.parameters)) for e in schedule.entries] == wanted


def test_rows_for_the_risk_store_keep_their_key_when_parameters_change():
    first, second = (
        read_schedule(made(f'rsi_x,backtest,"{pairs}",{model},,a={n}')).rows("gs://b/s#1")[0]
        for pairs, model, n in (("EUR_USD,USD_JPY", "", 1), ("USD_JPY,EUR_USD", "m1", 2))
    )

    assert first["schedule_id"] == second["schedule_id"] == "rsi_x/backtest/-/EUR_USD+USD_JPY"
    assert (second["parameters"], second["model_id"], second["source_row"]) == ({"a": "2"}, "m1", 2)
    assert first["model_id"] is None
    assert first["active"] is True
