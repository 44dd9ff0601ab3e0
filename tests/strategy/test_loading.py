import backtrader as bt
import pytest

from mbats.errors import ConfigError, DataError
from mbats.strategy.loading import (
    load_strategies,
    load_strategy,
    parse_assignments,
    with_parameters,
)

ONE = """
import backtrader as bt
class Mine(bt.Strategy):
    params = (("period", 10), ("ratio", 1.5), ("fast", True), ("name", "x"))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(ONE)
    return path


def test_a_file_and_a_shipped_name_both_load(file):
    assert load_strategy(str(file)).name == "mine"
    for name in ("sma_reversal", "strategies.sma_reversal"):
        loaded = load_strategy(name)
        assert issubclass(loaded.strategy, bt.Strategy)
        assert loaded.parameters == {"period": 10}


def test_parameters_take_the_type_of_their_default(file):
    given = {"period": "20", "ratio": "2", "fast": "false", "name": "7"}
    assert load_strategy(str(file), given).parameters == {
        "period": 20, "ratio": 2.0, "fast": False, "name": "7",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"period": "1.5"}, "int"), ({"ratio": "x"}, "float"), ({"fast": "maybe"}, "true or false")],
)
def test_a_value_of_another_type_says_what_is_expected(file, given, expected):
    with pytest.raises(ConfigError, match=f"must be {expected}"):
        load_strategy(str(file), given)


def test_an_unknown_parameter_lists_those_there_are(file):
    with pytest.raises(ConfigError) as caught:
        load_strategy(str(file), {"perod": "1"})
    assert "period (default 10)" in caught.value.tried


@pytest.mark.parametrize(
    ("text", "found"),
    [("x = 1", "holds none"), (ONE + "class Two(bt.Strategy): pass", "holds Mine, Two")],
)
def test_a_file_holds_exactly_one_strategy(tmp_path, text, found):
    path = tmp_path / "other.py"
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        load_strategy(str(path))


def test_a_file_that_does_not_load_says_why(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_that_name")
    with pytest.raises(DataError, match="nothing_of_that_name"):
        load_strategy(str(path))


def test_an_unknown_strategy_lists_those_there_are():
    with pytest.raises(ConfigError) as caught:
        load_strategy("no_such")
    assert "rsi_stochastic" in caught.value.mend


def test_assignments_are_name_equals_value():
    assert parse_assignments(["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(ConfigError, match="not a parameter"):
        parse_assignments(["a"])


def test_of_several_strategies_a_parameter_may_be_ones_own_or_everyones(file):
    pair = load_strategies([str(file), "sma_reversal"], {"period": "7", "mine.ratio": "3"})
    assert [s.parameters["period"] for s in pair] == [7, 7]
    assert pair[0].parameters["ratio"] == 3.0
    again = with_parameters(pair, {"sma_reversal.period": "9"})
    assert [s.parameters["period"] for s in again] == [10, 9]  # the others at their defaults
    with pytest.raises(ConfigError, match="names a strategy that is not run"):
        with_parameters(pair, {"other.period": "9"})
