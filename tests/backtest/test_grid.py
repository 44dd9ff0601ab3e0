"""Parameter sets: every combination, in an order that follows from the input alone."""

import json

import pytest

from mbats.backtest.grid import parameter_sets
from mbats.errors import ConfigError, DataError


def test_lists_and_ranges_make_every_combination_the_last_name_fastest():
    assert parameter_sets(["a=1,2", "b=5:7:1"]) == [
        {"a": "1", "b": "5"}, {"a": "1", "b": "6"}, {"a": "1", "b": "7"},
        {"a": "2", "b": "5"}, {"a": "2", "b": "6"}, {"a": "2", "b": "7"},
    ]  # fmt: skip


def test_a_range_is_exact_and_ends_at_or_before_its_high():
    assert [s["x"] for s in parameter_sets(["x=0.1:0.5:0.1"])] == [
        "0.1",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
    ]
    assert [s["x"] for s in parameter_sets(["x=5:19:5"])] == ["5", "10", "15"]
    assert [s["x"] for s in parameter_sets(["x=1:3:1,50,7:7:1"])] == ["1", "2", "3", "50", "7"]


def test_a_text_with_colons_is_a_value():
    assert parameter_sets(["sizer=risk:1"]) == [{"sizer": "risk:1"}]


def test_without_anything_there_is_one_set_of_defaults():
    assert parameter_sets([]) == [{}]


@pytest.mark.parametrize(
    "text",
    ["x=5:1:1", "x=1:5:0", "x=1:5:-1", "x=1:5", "x=1:2:3:4", "x=1,,2", "x", "x=1:1000000000:1"],
)
def test_a_malformed_assignment_is_refused(text):
    with pytest.raises(ConfigError):
        parameter_sets([text])


def test_a_name_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        parameter_sets(["a=1", "a=2"])


def test_more_than_a_million_sets_are_refused_before_they_are_made():
    with pytest.raises(ConfigError, match="1,002,001 parameter sets"):
        parameter_sets(["a=0:1000:1", "b=0:1000:1"])


def test_a_json_file_gives_sets_and_options_multiply_them(tmp_path):
    file = tmp_path / "sets.json"
    file.write_text(json.dumps([{"a": 1, "b": 0.5}, {"a": True}]))
    assert parameter_sets(["c=x,y"], file) == [
        {"a": "1", "b": "0.5", "c": "x"}, {"a": "1", "b": "0.5", "c": "y"},
        {"a": "true", "c": "x"}, {"a": "true", "c": "y"},
    ]  # fmt: skip


def test_an_empty_cell_of_a_csv_leaves_the_default(tmp_path):
    file = tmp_path / "sets.csv"
    file.write_text("\ufeffa, b\n1,2\n\n,3\n")
    assert parameter_sets([], file) == [{"a": "1", "b": "2"}, {"b": "3"}]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.csv", "a,b\n1\n", "line 2: 1 cells, 2 names"),
        ("s.csv", "a,a\n1,2\n", "header"),
        ("s.csv", "a,b\n", "no parameter set"),
        ("s.csv", "", "no parameter set"),
        ("s.json", "[{", "not JSON"),
        ("s.json", '{"a": 1}', "not a list"),
        ("s.json", "[1]", "set 1: 1 is not an object"),
        ("s.json", '[{"a": 1}, {"a": [1]}]', r"set 2: a is \[1\]"),
    ],
)
def test_a_malformed_file_is_refused_by_row(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        parameter_sets([], tmp_path / name)


def test_a_name_in_file_and_option_and_a_missing_file_are_refused(tmp_path):
    file = tmp_path / "sets.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        parameter_sets([], file)
    file.write_text('[{"b": 1}, {"a": 1}]')
    with pytest.raises(ConfigError, match="a is in"):
        parameter_sets(["a=1"], file)
