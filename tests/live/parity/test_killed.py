"""A bot killed between an order and its fill: the next run is told, and each side says so."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Reason
from tests.live.parity.sessions import MINUTE, session, traded


def cut_at(number):
    """Return a session that was killed after it sent its order ``number``, and the fill of that."""
    whole = traded(session())
    fill = whole.fills[number]
    killed = fill["time"] + timedelta(seconds=1)
    made = replace(
        whole, run={**whole.run, "ended_at": killed}, fills=whole.fills[:number],
        signals=[], orders=[],
    )  # fmt: skip
    return made, {**fill, "run_id": "run-2"}


@pytest.mark.parametrize("number", [0, 3])
def test_the_killed_run_says_whom_its_fill_was_told_to(number):
    made, fill = cut_at(number)
    alone = compare(made).differences[-1]
    assert (alone.key, alone.reason) != (fill["order_key"], Reason.OTHER_RUN)
    found = compare(replace(made, other_fills=[fill]))
    last = next(d for d in found.differences if d.key == fill["order_key"])
    assert (last.reason, last.detail) == (
        Reason.OTHER_RUN, "told to run run-2, as it recovered",
    )  # fmt: skip
    assert found.parity


def test_a_fill_of_another_order_explains_nothing():
    made, fill = cut_at(3)
    assert not compare(replace(made, other_fills=[{**fill, "order_key": "m1-other"}])).parity


def test_what_the_next_run_found_out_of_an_order_is_what_became_of_it():
    made, fill = cut_at(3)
    said = {"order_key": fill["order_key"], "run_id": "run-2", "code": "not_placed", "detail": "x"}
    found = compare(replace(made, other_events=[said]))
    last = next(d for d in found.differences if d.key == fill["order_key"])
    assert (last.reason, last.detail) == (Reason.OTHER_RUN, "not_placed, told to run run-2: x")
    assert not compare(replace(made, other_events=[{**said, "code": "placed"}])).parity


def recovered(fill, **changes):
    """Return the session after the killed one, which was told of ``fill`` and did nothing else."""
    made = session()
    began = fill["time"] + timedelta(seconds=90)
    run = {**made.run, "run_id": "run-2", "started_at": began, "ended_at": began + MINUTE / 2}
    return replace(made, run=run, fills=[fill], **changes)


def test_the_next_run_says_that_it_was_told_of_an_order_of_before_it_began():
    _, fill = cut_at(0)
    found = compare(recovered(fill))
    (told,) = found.differences
    assert told.reason is Reason.OTHER_RUN
    assert "filled 90.000 s before this run began" in told.detail
    assert found.parity


def test_the_next_run_names_the_run_that_told_of_the_order():
    _, fill = cut_at(0)
    late = {**fill, "time": fill["time"] + timedelta(seconds=95)}
    quote = recovered(fill)
    made = recovered(fill, other_orders=[{"order_key": fill["order_key"], "run_id": "run-1"}])
    made = replace(made, fills=[priced(made, late)])
    (told,) = compare(made).differences
    assert (told.reason, told.detail) == (Reason.OTHER_RUN, "sent by run run-1, told to this one")
    (alone,) = compare(replace(quote, fills=made.fills)).differences
    assert alone.reason is Reason.UNEXPLAINED


def priced(made, fill):
    from tests.live.parity.sessions import quote_at

    bid, ask = quote_at(made.ticks["EUR_USD"], fill["time"])
    return {**fill, "price": ask if fill["side"] == "buy" else bid}


def test_a_fill_off_its_quote_is_not_excused_by_who_was_told():
    _, fill = cut_at(0)
    found = compare(recovered({**fill, "price": fill["price"] + Decimal("0.0010")}))
    assert not found.parity
