"""Every planned name, number, duration and text against what the provider and Google take.

``limits.tsv`` has a rule a row, in our words, and who says so: ``schema`` is the description in the
provider's own schema (7.45), ``FOLDER/FILE.go`` a validator in its source, under google/services
or google/, and ``cloud.google.com/...`` Google's page. Several rules with `` or `` between them:
one of them must hold.

    matches REGEX    the whole value
    keys REGEX       every key of a map
    between A B      a number, or seconds with an s
    least A          the same, without a greatest
    multiple N       the same
    length N         characters at most
    items N          of a list, at most
"""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.planned import given

pytestmark = pytest.mark.slow

TABLE = Path(__file__).parent / "limits.tsv"

# BigQuery's page on each: data types that a table may be partitioned, clustered or keyed by.
PARTITIONED_BY = {"DATE", "DATETIME", "TIMESTAMP"}
NEVER_KEYS = {"ARRAY", "FLOAT", "GEOGRAPHY", "JSON", "RECORD", "STRUCT"}


def number(value: Any) -> float:
    """Return a number, whether it is one or seconds with an s."""
    return float(value.removesuffix("s")) if isinstance(value, str) else float(value)


RULES: dict[str, Callable[[Any, str], bool]] = {
    "matches": lambda value, rule: re.fullmatch(rule, str(value)) is not None,
    "keys": lambda value, rule: all(re.fullmatch(rule, key) for key in value),
    "between": lambda value, rule: (
        float(rule.split()[0]) <= number(value) <= float(rule.split()[1])
    ),
    "least": lambda value, rule: number(value) >= float(rule),
    "multiple": lambda value, rule: number(value) % float(rule) == 0,
    "length": lambda value, rule: len(value) <= int(rule),
    "items": lambda value, rule: len(value) <= int(rule),
}


def holds(value: Any, rule: str) -> bool:
    """Say whether a value keeps a rule of the table."""
    kinds = [alternative.split(" ", 1) for alternative in rule.split(" or ")]
    return any(RULES[kind](value, rest) for kind, rest in kinds)


@pytest.fixture(scope="module")
def rules() -> list[list[str]]:
    """Return the rows of the table: type, attribute, rule, who says so."""
    return [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]


def test_the_table_is_in_order_and_says_who_says_so(rules):
    assert rules == sorted(rules)
    assert [row for row in rules if len(row) != 4 or not row[3]] == []


@pytest.mark.parametrize(
    ("value", "rule", "kept"),
    [
        ("mbats", "matches [a-z]+", True),
        ("mbats ", "matches [a-z]+", False),
        ({"A": 1, "b": 2}, "keys [A-Z]", False),
        ("600s", "between 10 600", True),
        ("601s", "between 10 600", False),
        (0, "matches 0 or between 5 9", True),
        (4, "matches 0 or between 5 9", False),
        ("90s", "multiple 60", False),
        (1, "least 2", False),
        ("abc", "length 2", False),
        (["a", "b"], "items 1", False),
    ],
)
def test_a_rule_says_no_to_what_breaks_it(value, rule, kept):
    assert holds(value, rule) is kept


def test_every_planned_value_is_within_its_limits(plans, rules):
    met, wrong = set(), set()
    for kind, attribute, rule, _ in rules:
        for plan in plans.values():
            for resource in plan.resources:
                if not fnmatchcase(resource.kind.removeprefix("google_"), kind):
                    continue
                for value in given(resource.values, attribute):
                    met.add((kind, attribute, rule))
                    if not holds(value, rule):
                        wrong.add((resource.address, attribute, str(value), rule))
    assert wrong == set()
    assert met == {tuple(row[:3]) for row in rules}, "a rule that nothing planned meets"


def test_no_type_is_planned_whose_limits_nobody_looked_up(plans, rules):
    planned = {
        r.kind.removeprefix("google_")
        for plan in plans.values()
        for r in plan.resources
        if r.kind.startswith("google_")
    }
    assert {k for k in planned if not any(fnmatchcase(k, row[0]) for row in rules)} == set()


def test_tables_are_partitioned_clustered_and_keyed_by_what_bigquery_takes(plans):
    tables = [r.values for r in plans["dev/today"].of("bigquery_table") if r.values.get("schema")]
    assert tables
    for table in tables:
        types = {field["name"]: field["type"] for field in json.loads(table["schema"])}
        assert len(types) <= 10_000
        assert all(re.fullmatch(r"[A-Za-z_]\w{0,299}", name) for name in types), table["table_id"]
        (key,) = given(table, "table_constraints.primary_key.columns")
        clustered = table.get("clustering") or []
        assert {types[name] for name in [*clustered, *key]} & NEVER_KEYS == set(), table["table_id"]
        by = {types[name] for name in given(table, "time_partitioning.field")}
        assert by <= PARTITIONED_BY, table["table_id"]
