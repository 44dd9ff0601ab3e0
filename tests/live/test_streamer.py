from collections import deque
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from mbats.errors import ConfigError, NotReadyError, RefusedError
from mbats.live.inbox import Stop
from mbats.live.streamer import HEARTBEAT_EVERY, Outlets, Streamer
from mbats.live.streams import Broken, Connected, Ended, Mark, Stream, Unreadable
from mbats.market.tick import Tick
from tests.live.fakes import START, HeldLease, ManualClock

PRICES = Stream.PRICES


class Ticks:
    """Keeps what it is given; ``fails`` at the next flush."""

    def __init__(self):
        self.got, self.flushed, self.fails = [], 0, False

    def tick(self, tick, received_at):
        self.got.append((tick, received_at))

    def mark(self, instrument, mark, moment):
        self.got.append((instrument, mark))

    def flush(self):
        if self.fails:
            raise NotReadyError("the bus is down")
        self.flushed = len(self.got)


class Rig:
    def __init__(self, *items):
        self.clock, self.lease, self.ticks = ManualClock(), HeldLease(fencing=7), Ticks()
        self.events, self.said, self.items = [], [], deque(items)
        outlets = Outlets(self.ticks, self.events.append, lambda *said: self.said.append(said))
        self.streamer = Streamer(
            ["EUR_USD", "USD_JPY"], self.take, outlets, self.lease, self.clock, "here:1"
        )

    def take(self, timeout):
        """Give the next item; a callable is done first; None takes the whole timeout."""
        item = self.items.popleft()
        if callable(item):
            item = item()
        if item is None:
            self.clock.advance(timeout)
        return item

    def codes(self):
        return [e.row["code"] for e in self.events if e.table == "risk_event"]

    def heartbeats(self):
        return [e.row for e in self.events if e.table == "heartbeat"]


def tick(number=0, instrument="EUR_USD", bid="1.1", ask="1.2"):
    moment = START + timedelta(seconds=number)
    return Tick(instrument, moment, bid and Decimal(bid), ask and Decimal(ask))


BACK = [("EUR_USD", Mark.BACK), ("USD_JPY", Mark.BACK)]
LOST = [("EUR_USD", Mark.LOST), ("USD_JPY", Mark.LOST)]


def test_ticks_pass_in_order_and_the_end_drains():
    rig = Rig(Connected(PRICES), tick(0), tick(1, "USD_JPY"), Stop("SIGTERM"))
    rig.streamer.run()
    assert rig.ticks.got == [*BACK, (tick(0), START), (tick(1, "USD_JPY"), START), *LOST]
    assert rig.ticks.flushed == len(rig.ticks.got)
    assert rig.codes() == ["STREAMER_STOPPED"]


def test_a_break_marks_a_gap_of_every_instrument_and_tells_why():
    rig = Rig(Connected(PRICES), Broken(PRICES, "cut"), Connected(PRICES), tick(), Stop())
    rig.streamer.run()
    assert rig.ticks.got == [*BACK, *LOST, *BACK, (tick(), START), *LOST]
    assert rig.codes() == ["PRICE_STREAM_BROKEN", "STREAMER_STOPPED"]
    assert next(e.row["detail"] for e in rig.events if e.table == "risk_event") == "cut"


def test_attempts_that_fail_do_not_mark_the_gap_again():
    rig = Rig(Broken(PRICES, "HTTP 500"), Broken(PRICES, "HTTP 500"), Connected(PRICES), Stop())
    rig.streamer.run()
    assert rig.ticks.got == [*BACK, *LOST]
    assert rig.streamer.counts["breaks"] == 2


def test_empty_books_and_unreadable_messages_are_counted_and_reported():
    bad = Unreadable(PRICES, "no number", "{}")
    rig = Rig(Connected(PRICES), tick(bid=None), bad, bad, None, Stop())
    rig.streamer.run()
    assert rig.streamer.counts["ticks_without_prices"] == 1
    told = next(e.row for e in rig.events if e.row.get("code") == "PRICE_UNREADABLE")
    assert told["detail"].startswith("2 messages could not be read, the first: no number")


def test_heartbeats_come_on_time_with_the_age_of_the_newest_tick():
    rig = Rig(Connected(PRICES), tick(0), None, None, None, Stop())
    rig.streamer.run()
    beats = rig.heartbeats()
    gaps = [b["time"] - a["time"] for a, b in pairwise(beats[:-1])]
    assert len(gaps) == 3
    assert gaps == [HEARTBEAT_EVERY] * len(gaps)
    assert beats[2]["lag_seconds"] == 2 * HEARTBEAT_EVERY.total_seconds()
    assert beats[2]["fencing"] == 7
    assert beats[2]["detail"]["ticks"] == 1


def test_a_lease_that_another_took_stops_it_without_another_word():
    rig = Rig(Connected(PRICES), tick(), lambda: setattr(rig.lease, "held", False), tick(1), Stop())
    with pytest.raises(RefusedError):
        rig.streamer.run()
    assert rig.ticks.got == [*BACK, (tick(), START)]


def test_a_lease_that_ran_out_is_held_again_where_nobody_took_it_and_prices_go_on():
    rig = Rig(
        Connected(PRICES), lambda: setattr(rig.lease, "held", False) or tick(0), tick(1), Stop()
    )
    rig.lease.taken = False
    rig.streamer.run()
    assert rig.ticks.got == [*BACK, (tick(0), START), (tick(1), START), *LOST]
    assert rig.codes() == ["LEASE_REGAINED", "STREAMER_STOPPED"]
    assert [beat["fencing"] for beat in rig.heartbeats()] == [7, 8]
    assert [event.row["run_id"] for event in rig.events] == ["streamer-7"] + ["streamer-8"] * 3


def test_an_expired_token_marks_the_gap_and_stops_clearly():
    rig = Rig(Connected(PRICES), Ended(PRICES, ConfigError("OANDA refused the token")))
    with pytest.raises(ConfigError, match="refused the token"):
        rig.streamer.run()
    assert rig.ticks.got == [*BACK, *LOST]
    assert rig.codes() == ["STREAMER_STOPPED"]


def test_a_bus_that_takes_nothing_stops_it():
    def broken():
        rig.ticks.fails = True
        return tick()

    rig = Rig(Connected(PRICES), broken, None, Stop())
    with pytest.raises(NotReadyError):
        rig.streamer.run()
    assert (tick(), START) in rig.ticks.got


def test_a_tick_that_nobody_asked_for_is_counted():
    rig = Rig(Connected(PRICES), tick(0, "GBP_USD"), Stop())
    rig.streamer.run()
    assert rig.streamer.counts["not_asked_for"] == 1
    assert rig.ticks.got == [*BACK, *LOST]
