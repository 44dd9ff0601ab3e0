"""What feeds show: every bar once, whole, in order, whatever happens to the prices."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mbats.backtest.feed import to_nums
from mbats.errors import NotReadyError
from mbats.live.candles import Recent
from mbats.live.feed import to_num
from mbats.live.inbox import PricesBack, PricesLost
from mbats.market.aggregate import BarBuilder, aggregate
from mbats.market.bars import bars_from_table, table_from_bars
from mbats.market.newyork import instant
from tests.live.rig import MINUTE, START, Recording, Rig, columns, random_ticks, ticks_at

SECOND = timedelta(seconds=1)


def stored(ticks, until=None):
    """The bars of ticks as the security master gives them back."""
    return bars_from_table(table_from_bars(aggregate(columns(ticks), "M1", "test", until), 5), "M1")


def history(ticks, until):
    """Everything that a broker could tell at ``until``: complete bars, and the open one."""
    before = [t for t in ticks if t.time <= until]
    builder = BarBuilder(ticks[0].instrument, "M1")
    for tick in before:
        builder.add(tick)
    builder.advance(until)
    ended = before and before[0].time < until.replace(second=0, microsecond=0)
    return Recent(
        stored(before, until) if ended else None,
        until,
        builder.forming,
        empty=builder.forming is None,
    )


def rows_of(ticks, until=None):
    bars = stored(ticks, until)
    return list(zip(to_nums(bars.end).tolist(), *(part.tolist() for part in bars.mid), strict=True))


def test_the_time_of_a_bar_is_the_very_double_of_a_backtest():
    moments = [START + i * timedelta(microseconds=777_777_777) for i in range(500)]
    assert [to_num(m) for m in moments] == [float(to_nums(instant(m))) for m in moments]


def test_warm_up_moves_indicators_and_decides_nothing():
    ticks, now = random_ticks(minutes=30, seed=1), START + 20 * MINUTE + 5 * SECOND
    rig = Rig()
    rig.clock.time = now
    rig.past.recents["EUR_USD"] = history(ticks, now)
    refused = []

    def order_in_warm_up(s, data, status):
        refused.append(s.buy(size=1000))

    class Eager(Recording):
        def notify_data(self, data, status, *args, **kwargs):
            super().notify_data(data, status)
            if len(data):
                refused.append(self.buy(size=1000))

    strategy = rig.only(Eager, [t for t in ticks if t.time > now])
    assert strategy.rows["EUR_USD"] == rows_of(ticks, START + 29 * MINUTE)
    assert strategy.seen[0] == START + 21 * MINUTE
    assert strategy.statuses == [("EUR_USD", "DELAYED"), ("EUR_USD", "LIVE")]
    assert refused
    assert strategy.last(refused[0]).info.reason == "NOT_DECIDING"
    assert rig.broker.placed == []


def test_the_open_bar_goes_on_from_the_broker_s_candle():
    ticks = random_ticks(minutes=6, seed=2)
    now = ticks[7].time
    rig = Rig()
    rig.clock.time = now
    rig.past.recents["EUR_USD"] = history(ticks, now)
    strategy = rig.only(Recording, ticks[8:])
    assert strategy.rows["EUR_USD"] == rows_of(ticks, START + 5 * MINUTE)


def test_a_bar_whose_beginning_is_not_known_is_left_out():
    ticks = random_ticks(minutes=6, seed=2)
    now = START + 2 * MINUTE + 20 * SECOND
    rig = Rig()
    rig.clock.time = now
    rig.past.recents["EUR_USD"] = replace(history(ticks, now), forming=None, empty=False)
    strategy = rig.only(Recording, [t for t in ticks if t.time > now])
    expected = rows_of(ticks, START + 5 * MINUTE)
    assert strategy.rows["EUR_USD"] == [*expected[:2], *expected[3:]]


def test_the_clock_closes_a_bar_that_no_tick_closes():
    rig = Rig()
    strategy = rig.only(Recording, ticks_at(["1.1"]), stop_after=120, wait=0.25)
    assert strategy.seen == [START + MINUTE]
    assert len(strategy.rows["EUR_USD"]) == 1


def test_a_late_tick_is_counted_and_told_and_changes_no_bar():
    first, second = ticks_at(["1.1", "1.2"])
    late = replace(first, time=START + 59 * SECOND, bid=first.bid * 2, ask=first.ask * 2)
    rig = Rig()
    strategy = rig.only(
        Recording, [first, (START + MINUTE + SECOND / 2, late), second], stop_after=120
    )
    assert strategy.rows["EUR_USD"][0][2] == pytest.approx(1.10005)
    assert ("late ticks", {"feed": "EUR_USD", "count": 1}) in strategy.messages
    assert "LATE_TICKS" in rig.codes()


@pytest.mark.parametrize("patience", [0.0, 0.3, 30.0])
def test_bars_that_end_together_are_seen_together(patience):
    names = ("EUR_USD", "GBP_USD", "AUD_USD")
    rig = Rig(names)
    ticks = [t for n, name in enumerate(names) for t in random_ticks(name, 20, seed=n)]

    class Lengths(Recording):
        def next(self):
            super().next()
            self.lengths = [*getattr(self, "lengths", ()), [len(d) for d in self.datas]]

    strategy = rig.only(Lengths, ticks, patience=patience, wait=0.25)
    assert strategy.lengths == [[n] * 3 for n in range(1, 20)]
    assert strategy.seen == [START + n * MINUTE for n in range(1, 20)]
    if patience >= 0.3:
        for name in names:
            own = [t for t in ticks if t.instrument == name]
            assert strategy.rows[name] == rows_of(own, START + 19 * MINUTE)


def lost_between(ticks, lost, back):
    """The ticks that get through, and the marks around those that do not."""
    through = [t for t in ticks if not lost < t.time <= back]
    return [*through, (lost, PricesLost("test")), (back, PricesBack())]


def test_lost_prices_are_read_afterwards_and_no_bar_is_missing_or_doubled():
    ticks = random_ticks(minutes=30, seed=4)
    lost, back = START + 10 * MINUTE + 30 * SECOND, START + 14 * MINUTE + 20 * SECOND
    rig = Rig()
    rig.past.recents["EUR_USD"] = lambda after: after and history(ticks, rig.clock.now())
    strategy = rig.only(Recording, lost_between(ticks, lost, back), wait=0.25)
    assert strategy.rows["EUR_USD"] == rows_of(ticks, START + 29 * MINUTE)
    skipped = {START + n * MINUTE for n in (11, 12, 13, 14)}
    assert skipped.isdisjoint(strategy.seen)
    states = [status for _, status in strategy.statuses]
    assert states == ["DELAYED", "LIVE", "CONNBROKEN", "DELAYED", "LIVE"]
    assert rig.past.asked[-1] == ("EUR_USD", START + 10 * MINUTE)


def test_the_clock_closes_the_bar_that_was_open_when_prices_came_back():
    ticks = ticks_at(["1.1", "1.2", "1.3", "1.4"])
    lost, back = START + MINUTE + 30 * SECOND, START + 3 * MINUTE + 20 * SECOND
    rig = Rig()
    rig.past.recents["EUR_USD"] = lambda after: after and history(ticks, rig.clock.now())
    entries = lost_between(ticks, lost, back)
    strategy = rig.only(Recording, entries, stop_after=60, wait=0.25)
    assert strategy.rows["EUR_USD"] == rows_of(ticks)
    assert strategy.seen[-1] == START + 4 * MINUTE


def test_bars_that_cannot_be_read_are_asked_for_again():
    ticks = random_ticks(minutes=12, seed=4)
    lost, back = START + 3 * MINUTE + 30 * SECOND, START + 5 * MINUTE
    failures = [NotReadyError("down"), ConnectionError("down")]
    rig = Rig()

    def source(after):
        if after is None:
            return None
        if failures:
            raise failures.pop()
        return history(ticks, rig.clock.now())

    rig.past.recents["EUR_USD"] = source
    strategy = rig.only(Recording, lost_between(ticks, lost, back), wait=0.25)
    assert strategy.rows["EUR_USD"] == rows_of(ticks, START + 11 * MINUTE)
    assert [m for m, _ in strategy.messages].count("bars not readable") == 2


def test_a_bot_that_was_frozen_decides_nothing_on_old_bars():
    ticks = random_ticks(minutes=20, seed=6)
    rig = Rig()

    def freeze():
        rig.clock.time += 5 * MINUTE

    rig.past.recents["EUR_USD"] = lambda after: after and history(ticks, rig.clock.now())
    entries = [*ticks, (START + 8 * MINUTE + 30 * SECOND, freeze)]
    strategy = rig.only(Recording, entries, wait=0.25)
    assert strategy.rows["EUR_USD"] == rows_of(ticks, START + 19 * MINUTE)
    frozen = {START + n * MINUTE for n in range(9, 13)}
    assert frozen.isdisjoint(strategy.seen)
    assert START + 14 * MINUTE in strategy.seen


def test_a_price_that_is_not_tradeable_does_not_become_a_value():
    ticks = ticks_at(["1.1"] * 3)
    weekend = replace(ticks[-1], bid=ticks[-1].bid / 2, tradeable=False)
    rig = Rig()
    seen = {}
    strategy = rig.only(
        Recording,
        [*ticks[:2], weekend],
        setup=lambda live: seen.update(trader=live.trader),
    )
    quote = seen["trader"].quote("EUR_USD")
    assert (quote.bid, quote.tradeable, quote.time) == (ticks[1].bid, False, weekend.time)
    assert strategy.rows["EUR_USD"][-1][4] == pytest.approx(1.10005)


@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.tuples(st.integers(60, 1000), st.integers(1, 240)), max_size=3),
    started=st.integers(0, 200),
)
def test_whatever_is_lost_the_bars_are_those_of_history(seed, cuts, started):
    ticks = random_ticks(minutes=20, seed=seed)
    begin = START + started * SECOND
    rig = Rig()
    rig.clock.time = begin
    rig.past.recents["EUR_USD"] = lambda after: history(ticks, rig.clock.now())
    through, marks, end = [t for t in ticks if t.time > begin], [], begin
    for at, length in sorted(cuts):
        lost = max(START + at * SECOND, end + SECOND)
        back = lost + length * SECOND
        through = [t for t in through if not lost < t.time <= back]
        marks += [(lost, PricesLost()), (back, PricesBack())]
        end = back
    strategy = rig.only(Recording, [*through, *marks], patience=0.5, wait=1.0)
    shown = strategy.rows["EUR_USD"]
    whole = rows_of(ticks)
    assert shown == whole[: len(shown)]
    assert len(shown) >= len(whole) - (2 if end < ticks[-1].time else 5)
    numbers = [row[0] for row in shown]
    assert numbers == sorted(set(numbers))
