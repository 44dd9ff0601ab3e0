"""What a live strategy saw and decided is kept, and proves what parity says about it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.gcp.batch import table_of
from mbats.live.differences import Reason
from mbats.live.parity import compare
from mbats.live.recorded import Choice, load_session
from mbats.market.instrument import Instrument
from mbats.strategy.loading import load_strategy
from tests.live.house import House
from tests.live.rig import MINUTE, START, Tick, ticks_at

SECOND = timedelta(seconds=1)
FILE = '''
import backtrader as bt

class Rising(bt.Strategy):
    """Buys when a bar has risen, and is out a bar later."""

    def __init__(self):
        self.mean = bt.indicators.SMA(self.data.close, period=2)

    def next(self):
        if self.position.size:
            self.close()
        elif self.data.close[0] > self.data.open[0]:
            self.buy()
'''
CLOSES = ["1.1"] * 6


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rising.py"
    path.write_text(FILE)
    return path


def tick(seconds, bid):
    bid = Decimal(bid)
    return Tick("EUR_USD", START + timedelta(seconds=seconds), bid, bid + Decimal("0.0001"))


def signals(house):
    return [row for table, row in house.rows if table == "signal"]


def test_every_bar_is_a_row_with_what_was_decided_on_it_when_and_at_which_price(file):
    house = House()
    house.run([*ticks_at(CLOSES), tick(110, "1.1002")], strategy=load_strategy(str(file)))
    rows = signals(house)
    assert [row["known_at"] for row in rows] == [START + n * MINUTE for n in range(1, 6)]
    assert [row["action"] for row in rows] == [
        None, "buy 1000 market", "sell 1000 market", None, None,
    ]  # fmt: skip
    decided = rows[1]
    assert (decided["strategy"], decided["run_id"]) == ("S", "run-1")
    assert (decided["open"], decided["close"]) == (Decimal("1.10005"), Decimal("1.10025"))
    assert (decided["bid"], decided["ask"]) == (Decimal("1.1002"), Decimal("1.1003"))
    assert timedelta(0) <= decided["decided_at"] - decided["known_at"] <= 2 * SECOND
    assert rows[0]["indicators"] == {"SMA": None}
    assert decided["indicators"] == {"SMA": pytest.approx(1.10015)}
    table_of(schemas.table("risk", "signal"), rows)


class Risk:
    """A session's rows as the risk store would give them back."""

    def __init__(self, house, file):
        row, _ = house.runs.ended[0]
        self._run = {
            **dict.fromkeys(schemas.table("risk", "run").columns), **row, "status": "done",
            "kind": "paper", "strategy": "S", "parameters": {"S": {}}, "vendor": "oanda",
            "instruments": ["EUR_USD"], "granularity": "M1",
            "assumptions": {"sizer": {"S": "units:1000"}, "traded": {"S": ["EUR_USD"]}},
        }  # fmt: skip
        events = house.sink.stored
        rows = {
            "signal": signals(house),
            "fill": [e.row for e in events if e.table == "fill"],
            "order_event": [e.row for e in events if e.table == "order_event"],
        }
        empty = {name: schemas.table("risk", name).arrow.empty_table() for name in RESULT_TABLES}
        made = {n: table_of(schemas.table("risk", n), r) for n, r in rows.items() if r}
        whole = {n: pa.concat_tables([empty[n], t], promote_options="permissive")
                 for n, t in made.items()}  # fmt: skip
        self._tables = {**empty, **whole}
        self._events = [
            {**dict.fromkeys(schemas.table("risk", "risk_event").columns), **e.row}
            for e in events if e.table == "risk_event"
        ]  # fmt: skip

    def load(self, run_id):
        return RunResult(self._run, self._tables)

    def events(self, run_id):
        return self._events


class Master:
    def __init__(self, ticks):
        self._ticks = ticks

    def ticks(self, *about):
        return pa.Table.from_pylist(
            [
                {
                    "instrument": t.instrument, "time": t.time, "bid": t.bid, "ask": t.ask,
                    "tradeable": t.tradeable,
                }
                for t in sorted(self._ticks, key=lambda t: t.time)
            ]
        )  # fmt: skip

    def instruments(self, vendor):
        return [Instrument("EUR_USD", pip_location=-4, price_precision=5)]

    def bars(self, *about, **more):
        from mbats.market.bars import BAR_SCHEMA

        return BAR_SCHEMA.empty_table()


def report(house, ticks, file):
    choice = Choice(file=str(file))
    made = load_session("run-1", Risk(house, file), Master(ticks), choice, house.clock.now())
    return compare(made)


def unseen(house, late):
    """Let the broker see a tick that never reaches the bot."""
    return (late.time, lambda: house.broker.price(late))


def test_a_session_that_missed_nothing_has_parity_and_says_how_late_it_was(file):
    house, rise = House(), tick(110, "1.1002")
    ticks = [*ticks_at(CLOSES), rise]
    house.run(ticks, strategy=load_strategy(str(file)))
    found = report(house, ticks, file)
    assert found.parity
    assert found.bars_missed == []
    assert {d.reason for d in found.differences} <= {Reason.SAME, Reason.LATENCY}
    entry = found.differences[0]
    assert (entry.live_units, entry.role) == (Decimal(1000), "entry")


def test_a_tick_that_never_came_is_named_as_the_reason_of_a_trade_that_was_not_made(file):
    house, rise = House(), tick(110, "1.1002")
    heard = ticks_at(CLOSES)
    house.run([*heard, unseen(house, rise)], strategy=load_strategy(str(file)))
    assert house.broker.placed == []
    found = report(house, [*heard, rise], file)
    assert found.bars_missed == [("EUR_USD", START + 2 * MINUTE)]
    assert [d.reason for d in found.differences] == [Reason.MISSED_TICK, Reason.FOLLOWS]
    assert "12:02:00" in found.differences[0].detail
    assert found.parity


def test_latency_is_named_with_what_the_price_did_before_and_after_the_decision(file):
    """The price moves between the bar's end and the decision, which waits for its first tick."""
    house, rise = House(), tick(110, "1.1002")
    ticks = [t for t in ticks_at(CLOSES) if t.time.minute != 2]
    later = [tick(120.2, "1.1004"), tick(123, "1.1005")]
    house.run([*ticks, rise, *later], strategy=load_strategy(str(file)))
    first = house.runs.ended[0][0]
    slow = replace_fill_time(house, timedelta(seconds=3))
    found = report(slow, [*ticks, rise, *later], file)
    entry = found.differences[0]
    assert first["run_id"] == found.run_id
    assert entry.reason is Reason.LATENCY
    assert "decided 0.3" in entry.detail or "decided 0.2" in entry.detail
    assert "+1.00 after the decision" in entry.detail


def replace_fill_time(house, by):
    """Make the fills of a session later, at the prices of that time."""
    for number, event in enumerate(house.sink.stored):
        if event.table == "fill" and event.row["side"] == "buy":
            row = {**event.row, "time": event.row["time"] + by, "price": Decimal("1.1006")}
            house.sink.stored[number] = replace(event, row=row)
    return house


def test_a_bar_that_came_too_late_to_decide_on_is_named(file):
    house, rise = House(), tick(110, "1.1002")
    ticks = [*ticks_at(CLOSES), rise]
    house.run(ticks, strategy=load_strategy(str(file)))
    for table, row in house.rows:
        if table == "signal" and row["action"] == "buy 1000 market":
            row.update(decided_at=None, bid=None, ask=None, action=None)
    house.sink.stored = [e for e in house.sink.stored if e.table not in ("fill", "order_event")]
    found = report(house, ticks, file)
    assert found.differences[0].reason is Reason.LATE_BAR
    assert "12:02:00" in found.differences[0].detail
