"""Answers that are lost and a log that cannot be read: nothing is sent twice or forgotten."""

from mbats.live.trader import quarantine_of
from tests.live.rig import CALM, MINUTE, START, Rig
from tests.live.trades import bought, bracket


def test_a_lost_order_stays_submitted_until_it_is_surely_not_there():
    rig = Rig()
    rig.broker.faults.append("lost")
    plan = {5: lambda s, sent: sent.update(again=s.buy(size=1000))}
    _, strategy, sent = bought(plan, rig=rig)
    assert strategy.life(sent["entry"]) == ["Submitted", "Rejected"]
    assert strategy.last(sent["entry"]).info.reason == "NOT_PLACED"
    rejected_at = next(r["time"] for r in rig.rows("risk_event") if r["code"] == "not_placed")
    assert rejected_at >= START + 2 * MINUTE + quarantine_of(CALM)
    assert strategy.life(sent["again"])[-1] == "Completed"
    assert rig.position() == 1000


def test_an_order_whose_answer_was_lost_is_found_in_the_log():
    rig = Rig()
    rig.broker.faults.append("dropped")

    def mute(live):
        rig.script.mute_stream()

    _, strategy, sent = bought(rig=rig, entry=bracket, setup=mute)
    assert strategy.life(sent["entry"][0]) == ["Submitted", "Accepted", "Completed"]
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Accepted", "Accepted"]
    assert rig.position() == 1000


def test_a_reversal_whose_exit_is_unknown_sends_no_entry():
    rig = Rig()
    plan = {
        3: lambda s, sent: rig.broker.faults.append("dropped"),
        4: lambda s, sent: sent.update(turn=s.sell(size=3000)),
    }
    _, strategy, sent = bought(plan, rig=rig)
    assert strategy.life(sent["turn"])[-1] == "Canceled"
    assert strategy.last(sent["turn"]).executed.size == -1000
    assert rig.position() == strategy.getposition(strategy.data).size == 0


def test_a_log_that_cannot_be_read_for_a_while_loses_nothing():
    rig = Rig()
    plan = {1: lambda s, sent: setattr(rig.broker, "unreadable", 4)}
    _, strategy, sent = bought(plan, rig=rig, entry=bracket)
    assert strategy.life(sent["entry"][0])[-1] == "Completed"
    assert [strategy.life(o)[-1] for o in sent["entry"][1:]] == ["Accepted", "Accepted"]
