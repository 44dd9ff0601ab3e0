from datetime import datetime

import pytest

from mbats import schemas
from mbats.gcp.batch import prepare
from mbats.gcp.sql import literal, merge_statement, restriction
from tests.gcp import samples

DAILY = schemas.table("security_master", "bar_daily")


def test_a_merge_reads_only_the_partitions_and_the_instrument_of_its_batch():
    sql, parameters = merge_statement(
        prepare(DAILY, samples.bars(["1", "2"])), "p.d.t", "p.d.s", "p"
    )
    condition = sql.split("\nON ")[1].split("\nWHEN")[0]
    assert "t.`start` BETWEEN @p_first AND @p_last" in condition
    assert "t.`instrument` = @p_0" in condition
    assert parameters == {
        "p_0": "EUR_USD",
        "p_1": "test",
        "p_first": samples.BEGIN,
        "p_last": samples.BEGIN.replace(day=2),
    }


def test_the_time_of_writing_is_set_and_never_compared():
    sql, _ = merge_statement(prepare(DAILY, samples.bars(["1"])), "p.d.t", "p.d.s", "p")
    assert "`ingested_at` IS DISTINCT" not in sql
    assert "`ingested_at` = CURRENT_TIMESTAMP()" in sql


def test_literals_cannot_break_out_of_their_quotes():
    assert literal('a"b\\\n') == '"a\\"b\\\\\\n"'
    assert literal(True) == "TRUE"
    assert literal(samples.BEGIN) == "TIMESTAMP '2024-01-01 22:00:00.000000+00:00'"


def test_a_time_without_a_zone_is_no_literal():
    with pytest.raises(ValueError, match="no time zone"):
        literal(datetime(2024, 1, 1))


def test_a_restriction_has_a_term_for_each_end_that_is_given():
    assert restriction({"a": "x", "b": (None, None), "c": None}) == '`a` = "x" AND `c` IS NULL'
    assert restriction({"n": (1, 2)}) == "`n` >= 1 AND `n` < 2"
