"""The proof at the end of a day finds what was lost, doubled, invented or nobody's, by name."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.live import proof
from mbats.live.orders.book import Book
from mbats.live.orders.transactions import OrderFilled, Remark
from mbats.live.proof import Evidence, prove
from mbats.live.recovery import first_checkpoint
from tests.live.fakes import intent
from tests.live.house import House
from tests.live.rig import START, ticks_at
from tests.live.test_account_rows import Round

CLOSES = ["1.1", "1.1", "1.101", "1.102", "1.102", "1.102"]
LATER = START + timedelta(hours=1)


@pytest.fixture
def house():
    made = House()
    made.run(ticks_at(CLOSES), strategy=Round)
    return made


def evidence(house, **changes):
    records = house.journal.records()
    book = first_checkpoint(records)
    rows = {"order_event": [], "fill": []}
    for event in house.sink.stored:
        if event.table in rows:
            rows[event.table].append(event.row)
    found = Evidence(
        book, house.broker.transactions_since(book.cursor).transactions, house.broker.state(),
        records, rows, LATER,
    )  # fmt: skip
    return replace(found, **changes)


def kinds(evidence):
    return [(f.kind, f.subject) for f in prove(evidence).findings]


def rows_without(house, table, number):
    rows = {name: list(told) for name, told in evidence(house).rows.items()}
    removed = rows[table].pop(number)
    return rows, removed


def test_a_day_without_a_fault_is_clean_and_says_what_it_proved(house):
    found = prove(evidence(house))
    assert found.clean, found.findings
    assert (found.fills, found.order_events) == (2, 4)
    assert found.book.cursor == house.broker.state().last_id
    assert found.book.positions() == {}


def test_a_remark_of_the_brokers_is_no_row_of_the_proof(house):
    before = evidence(house)
    state = replace(before.state, last_id=before.state.last_id + 1)
    said = Remark(id=state.last_id, time=START, type="MARGIN_CALL_ENTER", detail="a margin call")
    found = prove(replace(before, log=[*before.log, said], state=state))
    assert found.clean, found.findings
    assert (found.fills, found.order_events, found.reached) == (2, 4, said.id)


def test_the_next_proof_goes_on_from_the_book_of_the_last(house):
    book = prove(evidence(house)).book
    later = replace(evidence(house), book=Book.from_record(book.to_record()), log=[], rows={})
    assert prove(later).clean


def test_what_the_desk_sent_stands_in_a_flattened_account_and_not_in_another():
    house = House()
    house.run(ticks_at(CLOSES))
    (key,) = {r["key"] for r in house.journal.records() if r["record"] == "intent"}
    assert house.position() == 1000
    assert kinds(evidence(house)) == []
    assert kinds(evidence(house, flat=True)) == [(proof.NOT_FLAT, key)]


@pytest.mark.parametrize(
    ("table", "kind"), [("fill", proof.LOST_FILL), ("order_event", proof.MISSING_EVENT)]
)
def test_a_row_that_never_came_is_found_and_its_repair_makes_the_day_clean(house, table, kind):
    rows, removed = rows_without(house, table, 1)
    (finding,) = prove(evidence(house, rows=rows)).findings
    assert (finding.kind, finding.subject) == (kind, removed["event_id"])
    assert finding.mend.table == table
    rows[table].append({**finding.mend.row, "run_id": "run-1"})
    assert prove(evidence(house, rows=rows)).clean


def test_a_row_on_its_way_is_no_finding_and_the_next_proof_looks_for_it(house):
    rows, removed = rows_without(house, "fill", 1)
    early = evidence(house, rows=rows, settled_at=removed["time"] - timedelta(seconds=1))
    found = prove(early)
    assert found.clean
    assert found.book.cursor < int(removed["broker_transaction_id"])
    again = replace(evidence(house, rows=rows), book=found.book)
    assert kinds(again) == [(proof.LOST_FILL, removed["event_id"])]


def test_a_row_that_says_something_else_is_found_and_equal_repeats_are_not(house):
    rows = evidence(house).rows
    fill = rows["fill"][0]
    again = {**fill, "run_id": "another", "price": fill["price"] + Decimal("0E-9")}
    assert prove(evidence(house, rows={**rows, "fill": [*rows["fill"], again]})).clean
    wrong = {**fill, "price": fill["price"] + Decimal("0.0001")}
    (finding,) = prove(evidence(house, rows={**rows, "fill": [*rows["fill"], wrong]})).findings
    assert (finding.kind, finding.mend) == (proof.WRONG_ROW, None)
    assert "price" in finding.detail


def test_a_row_of_a_fill_that_never_was_is_found(house):
    rows = evidence(house).rows
    number = rows["order_event"][0]["broker_transaction_id"]
    made_up = {**rows["fill"][0], "event_id": "x-1-fill", "broker_transaction_id": number}
    found = kinds(evidence(house, rows={**rows, "fill": [*rows["fill"], made_up]}))
    assert found == [(proof.INVENTED_ROW, "x-1-fill")]


def test_a_doubled_order_is_found(house):
    again = house.broker.placed[0]
    house.broker.place(replace(again, expires_at=None, price_bound=None), comment="")
    found = dict(kinds(evidence(house)))
    assert found[proof.DOUBLED_ORDER] == again.key


def test_an_order_of_nobody_is_found_and_what_the_kill_switch_closes_is_not(house):
    from mbats.local.oanda_sim import orders

    def send(units):
        body = {"type": "MARKET", "instrument": "EUR_USD", "units": units, "timeInForce": "FOK"}
        orders.create(house.broker.account, house.broker.engine.now_ns, {"order": body})

    send("1000")
    unclaimed = [kind for kind, _ in kinds(evidence(house))]
    assert proof.UNCLAIMED_ORDER in unclaimed
    assert "unclaimed_trade" in unclaimed
    other = House()
    other.run(ticks_at(CLOSES[:3]))
    body = {"type": "MARKET", "instrument": "EUR_USD", "units": "-1000", "timeInForce": "FOK"}
    orders.create(other.broker.account, other.broker.engine.now_ns, {"order": body})
    left = {kind for kind, _ in kinds(evidence(other))}
    assert left <= {proof.LOST_FILL, proof.MISSING_EVENT}, "its rows were told by no bot"


def intent_record(key, since, sent_at):
    return {
        "record": "intent", "key": key, "strategy": "S", "instrument": "EUR_USD", "units": "1000",
        "role": "entry", "since": since, "sent_at": sent_at.isoformat(), "fencing": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fate", "kind"), [("placed", proof.LOST_ORDER), (None, proof.UNSETTLED_ORDER)]
)
def test_an_order_that_the_journal_knows_and_the_log_does_not_is_found(house, fate, kind):
    key, since = intent(7).key, first_checkpoint(house.journal.records()).cursor
    records = [*house.journal.records(), intent_record(key, since, START)]
    if fate is not None:
        records.append({"record": "outcome", "key": key, "fate": fate, "detail": ""})
    assert kinds(evidence(house, records=records)) == [(kind, key)]


def test_an_order_that_was_given_up_and_came_after_all_is_found(house):
    records = house.journal.records()
    for record in records:
        if record["record"] == "outcome":
            record["fate"] = "not_placed"
    found = kinds(evidence(house, records=records))
    assert found == [(proof.LATE_ORDER, order.key) for order in house.broker.placed]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"positions": {"EUR_USD": Decimal(5)}}, "position"), ({"balance": Decimal(1)}, "balance")],
)
def test_an_account_that_is_not_what_its_log_adds_up_to_is_found(house, changes, kind):
    state = replace(house.broker.state(), **changes)
    assert [k for k, _ in kinds(evidence(house, state=state))] == [kind]


def test_every_finding_has_a_sentence_for_the_docs():
    names = {v for k, v in vars(proof).items() if k.isupper() and isinstance(v, str)}
    assert {n for n in names if not n.startswith("_")} <= set(proof.FINDINGS)


def test_every_fill_of_the_log_is_proved(house):
    fills = [t for t in evidence(house).log if isinstance(t, OrderFilled)]
    assert prove(evidence(house)).fills == len(fills) == 2
