"""`mbats reconcile --repair` in an account that was flattened, and something came after."""

import pytest

from mbats.desk import reconcile
from mbats.errors import NotReadyError
from mbats.live.killswitch import NotFlatError
from mbats.live.proof import NOT_FLAT, Finding, Proof

LATE = Finding(NOT_FLAT, "m1-abc", "1000 EUR_USD")
LOST = Finding("missing_fill", "101-7", "no row")


class Switch:
    def __init__(self, error=None):
        self.error, self.flattened = error, []

    def flatten(self, why, within):
        self.flattened.append((why, within))
        if self.error is not None:
            raise self.error


def closed(monkeypatch, findings, error=None):
    """Return what is mended, and how often the switch was pulled in whose name."""
    switch = Switch(error)
    monkeypatch.setattr(reconcile, "kill_switch", lambda desk, account, actor: switch)
    return reconcile._closed(None, "A", Proof("A", 1, 9, None, findings)), switch.flattened


def test_what_came_late_is_closed_and_nothing_else_is_mended_by_it(monkeypatch):
    mended, flattened = closed(monkeypatch, [LOST, LATE])
    assert mended == [LATE]
    assert flattened == [("not flat: m1-abc", reconcile.CLOSING)]


def test_an_account_that_is_flat_is_left_alone(monkeypatch):
    assert closed(monkeypatch, [LOST]) == ([], [])


@pytest.mark.parametrize("error", [NotFlatError("left"), NotReadyError("no halt")])
def test_what_cannot_be_closed_stays_a_finding(monkeypatch, caplog, error):
    mended, flattened = closed(monkeypatch, [LATE], error)
    assert mended == []
    assert len(flattened) == 1
    assert "is not closed" in caplog.text
