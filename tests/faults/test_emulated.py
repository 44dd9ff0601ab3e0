"""Two seeds through the emulators, and one of them again: the same faults, the same end."""

import pytest

from tests.faults import emulated
from tests.faults.emulated_runs import outcome, outcomes

pytestmark = [pytest.mark.emulators, pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(settings):
    names = {"risk": "risk_faults", "security_master": "security_master_faults"}
    own = settings.model_copy(update=names)
    emulated.prepare(own)
    return own


@pytest.fixture(scope="module")
def three(prepared):
    return list(outcomes(prepared, [1, 2, 1], "", workers=2))


def test_killed_again_and_again_the_views_the_objects_and_the_ledger_agree(three):
    for each in three:
        assert each.problems == [], (
            f"replay: python -m tests.faults.run --seed {each.seed} --emulators"
        )
        assert each.figures["fills"] > 0
        assert each.figures["faults"] > 0
        assert sum("archiver" not in kill for kill in each.kills) > 0


def test_a_seed_replays_exactly_though_services_answer_when_they_please(three):
    first, _, again = three
    assert first == again


def test_an_archiver_that_acknowledges_before_it_stores_is_caught(prepared):
    assert any("has 0 rows" in problem for problem in outcome(prepared, 1, "acknowledge").problems)
