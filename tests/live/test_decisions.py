"""What a live strategy saw and decided is kept, and proves what parity says about it."""

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.gcp.batch import table_of
from mbats.live.candles import Recent
from mbats.live.inbox import PricesBack, PricesLost
from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason
from mbats.live.parity.recorded import Choice, load_session
from mbats.market.aggregate import aggregate
from mbats.market.instrument import Instrument
from mbats.strategy.loading import load_strategy
from tests.live.house import House
from tests.live.rig import MINUTE, START, Tick, columns, ticks_at

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
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

    def account_events(self, account, since):
        return []

    def account_rows(self, account, since):
        return {"fill": [], "order_event": []}

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


def test_a_bar_that_was_read_after_prices_were_lost_is_kept_and_nobody_was_asked(file):
    house, ticks = House(), ticks_at(CLOSES)

    def missed(after):
        if after is None:
            return None
        bars = aggregate(columns(ticks), "M1", "test", until=house.clock.now())
        return Recent(bars, house.clock.now(), empty=True)

    house.past.recents["EUR_USD"] = missed
    heard = [t for t in ticks if t.time < START + 2 * MINUTE or t.time > START + 4 * MINUTE]
    lost, back = START + 130 * SECOND, START + 230 * SECOND
    house.run([*heard, (lost, PricesLost("cut")), (back, PricesBack())])
    asked = {row["known_at"]: row["decided_at"] for row in signals(house)}
    assert asked[START + 3 * MINUTE] is None
    assert asked[START + MINUTE] is not None
    assert asked[START + 5 * MINUTE] is not None


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


CROSSING = '''
import backtrader as bt

class Crossing(bt.Strategy):
    """Always in the market, on the side of a mean that only a long past makes right."""

    def __init__(self):
        self.mean = bt.indicators.EMA(self.data.close, period=8)

    def next(self):
        if self.position.size:
            self.close()
        if self.data.close[0] > self.mean[0]:
            self.buy()
        else:
            self.sell()
'''


def crossing(tmp_path, after_the_bar):
    """A session that warmed up on an hour of candles; no tick of before its start is recorded.

    It starts ``after_the_bar`` that ended at START.
    """
    path = tmp_path / "crossing.py"
    path.write_text(CROSSING)
    rng = random.Random(4)
    closes = [f"{1.1 + rng.randint(-40, 40) / 1e4:.4f}" for _ in range(70)]
    ticks = [replace(t, time=t.time - HOUR) for t in ticks_at(closes)]
    now = [t for t in ticks if t.time >= START]
    house = House()
    house.clock.time += after_the_bar

    def past(after):
        bars = aggregate(columns(ticks), "M1", "test", until=house.clock.now())
        return Recent(bars, house.clock.now(), empty=True) if after is None else None

    house.past.recents["EUR_USD"] = past
    house.run(now, strategy=load_strategy(str(path)))
    return house, now, path


def test_what_a_session_warmed_up_with_is_kept_and_its_replay_begins_with_it(tmp_path):
    house, ticks, path = crossing(tmp_path, after_the_bar=timedelta(seconds=15))
    warm = [row for row in signals(house) if row["known_at"] <= START]
    assert len(warm) == 60
    found = report(house, ticks, path)
    assert len(found.differences) > 8
    assert {d.reason for d in found.differences} <= {Reason.SAME, Reason.LATENCY}
    # Without it the replay has no mean for eight bars, and another one after.
    house.rows = [(table, row) for table, row in house.rows if row not in warm]
    assert not report(house, ticks, path).parity


def test_a_decision_on_a_bar_that_ended_before_the_session_began_says_that_it_is_not_recorded(
    tmp_path,
):
    house, ticks, path = crossing(tmp_path, after_the_bar=timedelta(seconds=4))
    decided = [row["known_at"] for row in signals(house) if row["decided_at"] is not None]
    assert decided[0] == START
    found = report(house, [t for t in ticks if t.time > START + MINUTE], path)
    assert found.bars_missed[0] == ("EUR_USD", START)
    assert Reason.MISSED_TICK in {d.reason for d in found.differences}
    assert found.parity
