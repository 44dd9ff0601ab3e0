"""Rows of live sessions reach the warehouse, and wait where it does not answer."""

import logging
from datetime import UTC, datetime

import pytest

from mbats.errors import NotReadyError
from mbats.gcp import live_runs
from mbats.gcp.live_runs import RowWriter

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Warehouse:
    """Fails ``failures`` times, and while it is ``away``; then keeps what it is given."""

    def __init__(self, failures=0, away=False):
        self.failures, self.away, self.asked, self.stored = failures, away, 0, []

    def merge(self, schema, table):
        self.asked += 1
        if self.away:
            raise NotReadyError("BigQuery does not answer.")
        if self.failures:
            self.failures -= 1
            raise NotReadyError("BigQuery does not answer.")
        self.stored.append((schema.name, table.to_pylist()))


def position(units, at=AT):
    return {
        "run_id": "run-1", "strategy": "S", "instrument": "EUR_USD", "time": at, "units": units,
        "average_price": 1, "price": 1, "unrealised_pnl": 0, "notional": 0,
    }  # fmt: skip


def test_rows_wait_for_a_warehouse_that_does_not_answer_and_the_newest_of_a_key_counts():
    warehouse = Warehouse(away=True)
    writer = RowWriter(warehouse, every_seconds=0.001)
    writer("position", [position(1), position(2)])
    writer.start()
    while warehouse.asked < 2:
        assert writer.is_alive()
        writer.join(0.01)
    writer("position", [position(3)])
    warehouse.away = False
    while not warehouse.stored:
        assert writer.is_alive()
        writer.join(0.01)
    writer.close()
    ((table, rows),) = warehouse.stored
    assert table == "position"
    assert [row["units"] for row in rows] == [3]


def test_the_oldest_rows_are_given_up_when_too_many_wait(monkeypatch, caplog):
    monkeypatch.setattr(live_runs, "MOST_WAITING", 2)
    warehouse = Warehouse(failures=1)
    writer = RowWriter(warehouse, every_seconds=60)
    writer("position", [position(n, AT.replace(second=n)) for n in range(3)])
    with caplog.at_level(logging.ERROR):
        writer.start()
        writer.close()
    assert "1 rows of risk.position are lost" in caplog.text


@pytest.mark.parametrize("error", [None, "ZeroDivisionError: by zero"])
def test_the_end_of_a_session_is_one_row_with_what_it_began_with(error):
    warehouse = Warehouse()
    runs = live_runs.LiveRuns(warehouse_with_target(warehouse))
    runs.end({"run_id": "run-1", "starting_cash": 5}, error)
    ((_, (row,)),) = warehouse.stored
    assert row["starting_cash"] == 5
    assert (row["status"], row["error"]) == ("done" if error is None else "failed", error)


def warehouse_with_target(warehouse):
    warehouse.target = lambda schema: f"risk.{schema.name}"
    return warehouse
