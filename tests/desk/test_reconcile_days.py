"""Which sessions belong to a trading day, as the end-of-day jobs ask for them."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mbats.cli.main import app
from mbats.cli.reconcile import day_of
from mbats.desk.reconcile import accounts_on, sessions_on, trading_day
from mbats.errors import ConfigError

MONDAY, FRIDAY = date(2026, 11, 23), date(2026, 11, 27)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def run(run_id, started, ended, account="A"):
    return {"run_id": run_id, "started_at": started, "ended_at": ended, "account": account}


def desk(*runs):
    return SimpleNamespace(risk_store=SimpleNamespace(sessions=lambda since, until: list(runs)))


def test_a_day_ends_at_five_in_new_york_and_a_weekend_is_its_friday():
    assert trading_day(datetime(2026, 11, 23, 21, 59, tzinfo=UTC)) == MONDAY
    assert trading_day(datetime(2026, 11, 23, 22, 1, tzinfo=UTC)) == date(2026, 11, 24)
    assert trading_day(datetime(2026, 11, 27, 22, 0, 5, tzinfo=UTC)) == FRIDAY
    assert trading_day(datetime(2026, 11, 28, 12, tzinfo=UTC)) == FRIDAY


def test_a_week_s_session_ends_on_friday_and_runs_on_every_day_before():
    week = run("week", datetime(2026, 11, 22, 22, 5, tzinfo=UTC),
               datetime(2026, 11, 27, 22, 0, 5, tzinfo=UTC))  # fmt: skip
    open_one = run("open", datetime(2026, 11, 24, 12, tzinfo=UTC), None, account="B")
    both = desk(week, open_one)
    assert [r["run_id"] for r in sessions_on(both, FRIDAY, NOW, ended=True)] == ["week"]
    assert sessions_on(both, MONDAY, NOW, ended=True) == []
    assert accounts_on(both, MONDAY, NOW) == ["A"]
    assert accounts_on(both, NOW.date(), NOW) == ["A", "B"]


def test_a_date_is_written_one_way():
    assert day_of("2026-11-23") == MONDAY
    with pytest.raises(ConfigError, match="no date"):
        day_of("yesterday")


@pytest.mark.parametrize("arguments", [[], ["run-1", "--ended-on", "2026-11-23"]])
def test_parity_is_asked_for_one_session_or_one_day(arguments):
    done = CliRunner().invoke(app, ["parity", *arguments])
    assert isinstance(done.exception, ConfigError)
