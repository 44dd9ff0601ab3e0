"""What a session does around its trading: modes, limits, logs, halting, ending, suspending."""

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import backtrader as bt
import pytest

from mbats.config import Settings
from mbats.errors import ConfigError, RefusedError
from mbats.live.control import TradingOrder, set_state
from mbats.live.inbox import Continued, Control, Stop, Suspending, Unseen
from mbats.live.limits import parse_limits
from mbats.live.logs import log_as_json
from mbats.live.mode import Mode, banner, require_mode, week_end
from mbats.live.orders.protocol import DoubledOrderError
from mbats.trading.risk.context import Limits, TradingState
from tests.live.fakes import HeldLease
from tests.live.house import House, at
from tests.live.rig import CALM, START, ticks_at

LIVE_ACCOUNT = "001-001-1000001-001"


CLOSES = ["1.1"] * 6


def test_a_session_trades_tells_and_ends_with_a_checkpoint_and_its_brackets_at_the_broker():
    house = House()
    house.run(ticks_at(CLOSES))
    assert house.position() == 1000
    assert len(house.broker.state().orders) == 2, "stop and target stay"
    fills = [e.row for e in house.sink.stored if e.table == "fill"]
    assert [row["units"] for row in fills] == [Decimal(1000)]
    orders = [e.row for e in house.sink.stored if e.table == "order_event"]
    assert {row["trace_id"] for row in orders} == {"trace-1"}
    last = house.journal.records()[-1]
    assert last["record"] == "checkpoint"
    assert last["book"]["cursor"] == house.broker.state().last_id
    (row, error) = house.runs.ended[0]
    assert error is None
    assert row["ending_value"] > 0


def test_signs_of_life_and_the_equity_curve_are_told():
    house = House()
    house.run(ticks_at(CLOSES))
    beats = [e.row for e in house.sink.stored if e.table == "heartbeat"]
    assert len(beats) > 20
    assert beats[-1]["detail"]["approved"] == beats[-1]["detail"]["sent"] == 1
    equity = [row for table, row in house.rows if table == "equity"]
    positions = [row for table, row in house.rows if table == "position"]
    assert len(equity) >= 5
    assert positions[-1]["units"] == 1000
    assert positions[-1]["strategy"] == "S"


def test_a_second_session_goes_on_where_the_first_was():
    house = House()
    house.run(ticks_at(CLOSES))
    house.run([])
    assert house.position() == 1000
    assert [error for _, error in house.runs.ended] == [None, None]


def test_a_halted_desk_starts_and_sends_nothing():
    house = House()
    set_state(house.control, TradingState.HALTED, "me", "drill", START)
    house.run(ticks_at(CLOSES))
    assert house.broker.placed == []
    assert "KILL_SWITCH" in house.sink.codes()
    assert "BOT_HALTED" in house.sink.codes()


def test_a_halt_in_the_middle_of_a_session_is_obeyed():
    house = House()
    order = TradingOrder().next(TradingState.HALTED, "me", "drill", START)
    house.run([at(30, Control(order)), *ticks_at(CLOSES)])
    assert house.broker.placed == []


def test_a_bot_that_cannot_see_the_state_for_long_only_reduces():
    house = House()
    blind = Control(Unseen(START - timedelta(seconds=31), "no answer"))
    house.run([at(30, blind), *ticks_at(CLOSES)])
    assert house.broker.placed == []
    assert "STATE_UNREADABLE" in house.sink.codes()
    house = House()
    house.run(
        [at(30, Control(Unseen(START + timedelta(seconds=25), "a hiccup"))), *ticks_at(CLOSES)]
    )
    assert len(house.broker.placed) == 1


def test_a_broken_portfolio_limit_flattens_and_halts_once():
    house = House(replace(CALM, daily_loss=Decimal(1)))
    house.run(ticks_at(["1.1", "1.1", "1.1", "1.09", "1.09", "1.09"]))
    assert len(house.flattened) == 1
    assert house.sink.codes().count("DAILY_LOSS") == 1
    critical = [e.row for e in house.sink.stored if e.row.get("severity") == "critical"]
    assert critical


def test_an_order_that_was_doubled_stops_everything_and_halts_durably():
    house = House()

    def doubled():
        raise DoubledOrderError("Key k made 2 orders.")

    with pytest.raises(DoubledOrderError) as stopped:
        house.run([*ticks_at(CLOSES), at(200, doubled)])
    assert stopped.value.exit_code == 7
    assert house.control.read()[0].state is TradingState.HALTED
    assert "DoubledOrderError" in house.sink.codes()
    assert house.runs.ended[0][1] == "Key k made 2 orders."
    assert len(house.broker.state().orders) == 2, "the position keeps its stop"


def test_a_strategy_that_fails_ends_the_session_as_failed_and_touches_nothing():
    class Failing(bt.Strategy):
        def next(self):
            raise ZeroDivisionError("by zero")

    house = House()
    with pytest.raises(ZeroDivisionError):
        house.run(ticks_at(CLOSES), strategy=Failing)
    assert house.runs.ended[0][1] == "ZeroDivisionError: by zero"
    assert house.broker.placed == []


def test_a_lost_lease_stops_the_bot_before_it_sends():
    lease = HeldLease()
    house = House(lease=lease)

    def lose():
        lease.held = False

    with pytest.raises(RefusedError, match="lease"):
        house.run([at(30, lose), *ticks_at(CLOSES)])
    assert house.broker.placed == []


def test_the_session_ends_with_the_trading_week():
    house = House()
    house.run(ticks_at(CLOSES), until=START + timedelta(seconds=70))
    assert house.clock.time < START + timedelta(seconds=80)
    assert house.runs.ended[0][1] is None


def test_a_stop_ends_the_session_well():
    house = House()
    house.run([at(100, Stop("SIGTERM")), *ticks_at(CLOSES)])
    assert house.runs.ended[0][1] is None
    assert house.sink.waiting == []


def test_a_suspended_bot_checkpoints_first_and_reconciles_before_it_goes_on():
    house = House()
    house.run([*ticks_at(CLOSES), at(200, Control(Suspending())), at(210, Control(Continued()))])
    assert house.suspended == [True]
    assert "BOT_CONTINUED" in house.sink.codes()


def test_a_bar_that_is_due_as_a_bot_is_suspended_is_not_decided_on_before_it_reconciles():
    """It is halted in its sleep: what it knew as it fell asleep must not send an order."""
    house = House()
    (first,) = ticks_at(["1.1"])

    def slow_tick():
        house.clock.advance(0.2)  # and the signal comes meanwhile
        return replace(first, time=START + timedelta(seconds=60.1))

    def suspend():
        assert house.broker.placed == []
        set_state(house.control, TradingState.HALTED, "me", "drill", house.clock.now())
        house.script.put_first(Control(Continued()))  # as the handler of SIGCONT does

    house.suspend = suspend
    house.run([first, at(60.1, slow_tick), at(60.2, Control(Suspending())), at(70, lambda: None)])
    codes = house.sink.codes()
    assert codes.index("BOT_CONTINUED") < codes.index("KILL_SWITCH")
    assert house.broker.placed == []


def test_a_continued_bot_whose_account_changed_refuses_to_go_on():
    house = House()

    def stranger():
        from tests.live.fakes import intent

        house.broker.place(intent(99), comment="")
        house.broker.committed.clear()
        return Control(Continued())

    with pytest.raises(RefusedError, match="does not reconcile"):
        house.run([*ticks_at(CLOSES), at(200, stranger)])


# Modes.


def settings(**changes):
    return Settings(**{"oanda_environment": "live", "live_accounts": LIVE_ACCOUNT, **changes})


def test_live_money_needs_environment_arm_and_list():
    require_mode(settings(), Mode.LIVE, LIVE_ACCOUNT, armed=True)
    for wrong, armed, account in (
        (settings(), False, LIVE_ACCOUNT),
        (settings(live_accounts=""), True, LIVE_ACCOUNT),
        (settings(oanda_environment="practice"), True, LIVE_ACCOUNT),
        (settings(), True, "001-001-1000001-002"),
    ):
        with pytest.raises(RefusedError, match="not armed") as refused:
            require_mode(wrong, Mode.LIVE, account, armed=armed)
        assert any(line.endswith("no") for line in refused.value.tried)


def test_practice_never_touches_the_live_environment_and_arm_means_live():
    with pytest.raises(RefusedError, match="would trade live money"):
        require_mode(settings(), Mode.PRACTICE, LIVE_ACCOUNT, armed=False)
    with pytest.raises(RefusedError, match="no meaning"):
        require_mode(settings(), Mode.PAPER, LIVE_ACCOUNT, armed=True)
    require_mode(settings(oanda_environment="sim"), Mode.PRACTICE, LIVE_ACCOUNT, armed=False)


def test_the_banner_says_which_money():
    assert "REAL MONEY" in banner(Mode.LIVE, "A", "OANDA live")
    assert "PAPER" in banner(Mode.PAPER, "A", "")
    assert "no money" in banner(Mode.PRACTICE, "A", "OANDA practice")


def test_a_week_ends_on_friday_at_five_in_new_york():
    assert week_end(datetime(2026, 11, 23, 12, tzinfo=UTC)) == datetime(
        2026, 11, 27, 22, tzinfo=UTC
    )
    assert week_end(datetime(2026, 11, 28, 12, tzinfo=UTC)) == datetime(2026, 12, 4, 22, tzinfo=UTC)


def test_limits_are_read_by_name():
    limits = parse_limits(["units=5", "price-age=3", "drawdown=off", "open_orders=7"])
    assert limits == replace(
        Limits(), units=Decimal(5), price_age=timedelta(seconds=3), drawdown=None, open_orders=7
    )
    for wrong in ("unit=5", "units", "units=many", "units=-1", "price_age=off", "price_age=301"):
        with pytest.raises(ConfigError):
            parse_limits([wrong])


def test_logs_are_json_with_the_order_and_never_the_token():
    stream = StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        log_as_json({"account": "A"}, ["very-secret"], stream)
        logging.getLogger("x").warning(
            "token very-secret", extra={"order_key": "k", "strategy": "S", "trace_id": "t"}
        )
        try:
            raise ValueError("very-secret")
        except ValueError:
            logging.getLogger("x").exception("failed")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0]["order_key"] == "k"
    assert (lines[0]["strategy"], lines[0]["trace_id"], lines[0]["account"]) == ("S", "t", "A")
    assert "very-secret" not in stream.getvalue()


@pytest.mark.parametrize(("halted", "orders"), [(True, 0), (False, 1)])
def test_a_bot_that_stood_still_looks_at_the_state_before_it_decides(halted, orders):
    """Nobody told it: no signal came, and what the state's watch says waits behind the ticks."""
    house = House()
    (first,) = ticks_at(["1.1"])

    def stand_still():
        if halted:
            set_state(house.control, TradingState.HALTED, "me", "drill", house.clock.now())
        house.clock.time += timedelta(seconds=7)
        return replace(first, time=START + timedelta(seconds=60.1))

    house.run([first, at(60.1, stand_still), at(70, lambda: None)])
    assert len(house.broker.placed) == orders
    assert ("KILL_SWITCH" in house.sink.codes()) is halted
    assert "BOT_CONTINUED" in house.sink.codes()
