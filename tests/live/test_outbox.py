"""Notices to people: what is said, once each, at a bounded rate, and nothing is lost."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.errors import DataError
from mbats.live.notices import LINES, Notice, digest, notice_of
from mbats.live.outbox import CRITICAL_RATE, MOST_HELD, RATE, SENDING, WINDOW, Outbox, short

NOON = datetime(2026, 9, 23, 12, tzinfo=UTC)
ROW = {
    "event_id": "e1",
    "severity": "critical",
    "code": "DRAWDOWN",
    "detail": "12% below the peak, limit 10%",
    "time": NOON,
    "account": "101-001-1234567-001",
    "strategy": "sma_reversal",
}


def notice(key="e1", severity="warning"):
    return Notice(key, severity, "CODE", "detail", "2026-09-23T12:00:00+00:00")


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def tell(outbox, now):
    """Send what there is to send, to one target that takes it; return outbox and texts."""
    texts = []
    while (sending := outbox.to_send(now, ["slack"])) is not None:
        texts.append(sending.sending.said)
        outbox = sending.after([], now)
    return outbox, texts


def test_a_notice_says_severity_account_strategy_what_happened_and_what_to_do():
    text = notice_of(ROW).text()

    for part in ("CRITICAL DRAWDOWN", "12% below", ROW["account"], "sma_reversal", "mbats resume"):
        assert part in text


def test_an_incident_of_cloud_monitoring_is_a_notice_when_it_opens_and_when_it_ends():
    incident = {
        "incident_id": "0.abc",
        "state": "open",
        "policy_name": "MBATS heartbeat lost: bot-trend",
        "summary": "no heartbeat",
        "url": "https://console.cloud.google.com/x",
        "started_at": 1_700_000_000,
        "severity": "CRITICAL",
    }

    opened = notice_of({"incident": incident, "version": "1.2"})
    closed = notice_of({"incident": {**incident, "state": "closed"}})

    assert (opened.severity, closed.severity) == ("critical", "info")
    assert opened.key != closed.key
    assert "heartbeat lost" in opened.text()


@pytest.mark.parametrize(
    "document", [{}, {"event_id": "x"}, {**ROW, "event_id": " "}, {"incident": []}, {"incident": 3}]
)
def test_what_is_nothing_to_tell_is_a_data_error(document):
    with pytest.raises(DataError):
        notice_of(document)


def test_a_digest_puts_the_worst_first_and_counts_what_it_does_not_show():
    text = digest([notice(f"e{n}") for n in range(LINES)] + [notice("bad", "critical")], more=4)

    assert text.splitlines()[0].startswith(f"{LINES + 5} notices")
    assert "🚨" in text.splitlines()[1]
    assert "and 5 more" in text


def test_a_notice_is_told_once_however_often_it_comes():
    outbox, first = tell(Outbox().admit(notice()), NOON)
    outbox, again = tell(outbox.admit(notice()), at(5))

    assert len(first) == 1
    assert again == []
    assert not outbox.must_come_back(short("e1"))


def test_above_the_rate_notices_wait_and_are_told_together_and_the_first_is_the_clock():
    outbox = Outbox()
    for number in range(RATE + 3):
        outbox, _ = tell(outbox.admit(notice(f"e{number}")), NOON)

    assert [n.key for n in outbox.held] == [f"e{RATE}", f"e{RATE + 1}", f"e{RATE + 2}"]
    assert outbox.must_come_back(short(f"e{RATE}"))
    assert not outbox.must_come_back(short(f"e{RATE + 1}"))
    outbox, texts = tell(outbox, at(WINDOW.total_seconds()))
    (text,) = texts
    assert text.startswith("3 notices")
    assert not outbox.must_come_back(short(f"e{RATE}"))
    assert not outbox.held


def test_a_critical_notice_does_not_wait_for_the_window():
    outbox = Outbox()
    for number in range(RATE + 1):
        outbox, _ = tell(outbox.admit(notice(f"e{number}")), NOON)

    outbox, (text,) = tell(outbox.admit(notice("bad", "critical")), at(1))

    assert "2 notices" in text
    assert CRITICAL_RATE > RATE


def test_a_failed_message_is_sent_again_to_those_that_lack_it_only():
    outbox = Outbox().admit(notice()).to_send(NOON, ["slack", "telegram"])
    failed = outbox.after(["telegram"], NOON)

    assert failed.must_come_back(short("e1"))
    again = failed.to_send(at(1), ["slack", "telegram"])
    assert again.sending.left == ("telegram",)
    assert not again.sending.again
    assert short("e1") in again.after([], at(1)).told


def test_a_message_whose_sender_died_is_taken_over_later_and_says_so():
    outbox = Outbox().admit(notice()).to_send(NOON, ["slack"])

    assert outbox.to_send(at(1), ["slack"]) is None
    taken = outbox.to_send(NOON + SENDING, ["slack"])
    assert taken.sending.said.startswith("(again")


def test_what_comes_while_a_message_is_on_its_way_is_held():
    outbox = Outbox().admit(notice("a")).to_send(NOON, ["slack"]).admit(notice("b"))

    assert [n.key for n in outbox.held] == ["b"]
    assert outbox.must_come_back(short("b"))


def test_a_flood_is_counted_and_the_state_stays_small():
    outbox = Outbox().admit(notice("a")).to_send(NOON, ["slack"])
    for number in range(MOST_HELD + 7):
        outbox = outbox.admit(notice(f"e{number}"))

    assert (len(outbox.held), outbox.more) == (MOST_HELD, 7)


def test_the_state_survives_a_round_through_its_record():
    outbox, _ = tell(Outbox().admit(notice("a")), NOON)
    outbox = outbox.admit(notice("b")).to_send(NOON, ["slack"]).admit(notice("c"))

    assert Outbox.from_record(outbox.to_record()) == outbox


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 90), st.sampled_from(["ok", "down", "die"])),
        max_size=60,
    )
)
def test_whatever_fails_in_between_every_notice_is_told_exactly_once_where_nobody_dies(steps):
    outbox, now, told, died = Outbox(), NOON, [], False
    keys = set()
    for key, seconds, fate in [*steps, *[(None, 120, "ok")] * 3]:
        now += timedelta(seconds=seconds)
        if key is not None:
            keys.add(key)
            outbox = outbox.admit(notice(f"e{key}"))
        sending = outbox.to_send(now, ["slack"])
        if sending is None:
            continue
        outbox = sending
        if fate == "die":
            died = True
        elif fate == "down":
            outbox = outbox.after(["slack"], now)
        else:
            told += sending.sending.keys
            outbox = outbox.after([], now)

    assert set(told) == {short(f"e{key}") for key in keys}
    assert len(told) == len(set(told))
    assert not died or outbox.sending is None
