"""The account of a live session as rows: financing, values, positions, and what a failure keeps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import backtrader as bt
import pytest

from mbats import schemas
from mbats.gcp.batch import table_of
from mbats.live.inbox import Control, Valued
from tests.live.house import Bracket, House, at
from tests.live.rig import START, ticks_at

NEW_YORK_CLOSE = datetime(2026, 11, 23, 22, tzinfo=UTC)
CLOSES = ["1.1"] * 6


class Round(bt.Strategy):
    """In on the first bar, out on the third."""

    def next(self):
        if len(self) == 1:
            self.buy(size=1000)
        elif len(self) == 3:
            self.close()


def rows(house, table):
    found = [row for name, row in house.rows if name == table]
    table_of(schemas.table("risk", table), found)
    return found


def financed(house):
    documents = house.broker.account.ledger.documents(1)
    charged = [d for d in documents if d["type"] == "DAILY_FINANCING"]
    return sum((Decimal(d["financing"]) for d in charged), Decimal(0))


def a_night():
    """A session that holds a position over the New York close."""
    house = House()
    house.clock.time = evening = NEW_YORK_CLOSE - timedelta(minutes=5)
    ticks = [replace(t, time=t.time + (evening - START)) for t in ticks_at(CLOSES)]
    house.run([*ticks, (evening + timedelta(minutes=7), lambda: None)])
    return house


def test_financing_is_what_the_broker_charged_at_the_new_york_close():
    house = a_night()
    equity = rows(house, "equity")
    assert financed(house) != 0
    assert equity[0]["financing"] == 0
    assert equity[-1]["financing"] == financed(house)
    starting = house.runs.noted[0]["starting_cash"]
    assert equity[-1]["balance"] == starting + financed(house)


def test_a_second_session_counts_its_own_financing_only():
    house = a_night()
    house.rows.clear()
    house.run([(house.clock.time + timedelta(seconds=100), lambda: None)])
    assert {row["financing"] for row in rows(house, "equity")} == {0}


def test_every_fill_writes_the_position_it_leaves_also_none():
    house = House()
    house.run(ticks_at(CLOSES), strategy=Round)
    fills = [e.row for e in house.sink.stored if e.table == "fill"]
    positions = {row["time"]: row for row in rows(house, "position")}
    assert [positions[fill["time"]]["units"] for fill in fills] == [1000, 0]
    assert positions[fills[0]["time"]]["average_price"] == fills[0]["price"]
    assert positions[fills[1]["time"]]["strategy"] == "S"
    assert positions[fills[1]["time"]]["notional"] == 0


def test_positions_are_written_at_least_once_a_minute():
    house = House()
    house.run(ticks_at(CLOSES))
    times = [row["time"] for row in rows(house, "position")]
    assert len(times) >= 4
    assert max(b - a for a, b in pairwise(times)) <= timedelta(seconds=65)


def test_the_value_of_the_account_is_the_broker_s_where_it_says_it():
    house = House()

    def said():
        state = replace(house.broker.state(), net_asset_value=Decimal("99000.5"))
        return Control(Valued(state))

    house.run([*ticks_at(CLOSES), at(200, said)])
    at_200 = [r for r in rows(house, "equity") if r["net_asset_value"] == Decimal("99000.5")]
    assert len(at_200) == 1
    assert at_200[0]["unrealised_pnl"] == Decimal("99000.5") - at_200[0]["balance"]
    assert at_200[0]["margin_used"] == house.broker.state().margin_used


def test_realised_profit_is_in_account_currency_and_adds_up_to_the_balance():
    house = House()
    house.run(ticks_at(["1.1", "1.1", "1.105", "1.105", "1.105", "1.105"]), strategy=Round)
    fills = [e.row for e in house.sink.stored if e.table == "fill"]
    realised = sum(row["realised_pnl"] for row in fills)
    assert realised == house.broker.state().balance - house.runs.noted[0]["starting_cash"] > 0
    assert rows(house, "equity")[-1]["balance"] == house.broker.state().balance


def test_a_session_that_fails_keeps_what_it_began_and_ended_with():
    def fail():
        raise ZeroDivisionError("by zero")

    house = House()
    with pytest.raises(ZeroDivisionError):
        house.run([*ticks_at(CLOSES), at(200, fail)], strategy=Bracket)
    row, error = house.runs.ended[0]
    assert error == "ZeroDivisionError: by zero"
    assert row["starting_cash"] == 100_000
    assert row["ending_value"] > 0
    assert row["ended_at"] >= START


def test_every_fill_says_between_which_prices_it_was_made():
    house = House()
    house.run(ticks_at(CLOSES), strategy=Round)
    fills = [e.row for e in house.sink.stored if e.table == "fill"]
    for row in fills:
        half = row["spread_cost"] / row["units"]
        assert half == Decimal("0.00005")
        assert row["mid_price"] == row["price"] - (half if row["side"] == "buy" else -half)
    assert len(fills) == 2
