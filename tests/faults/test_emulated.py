"""Two seeds through the emulators, and one of them again: the same faults, the same end."""

import pytest

from tests.faults import emulated
from tests.faults.emulated_runs import outcomes

pytestmark = [pytest.mark.emulators, pytest.mark.slow]


@pytest.fixture(scope="module")
def three(settings):
    names = {"risk": "risk_faults", "security_master": "security_master_faults"}
    own = settings.model_copy(update=names)
    emulated.prepare(own)
    return list(outcomes(own, [1, 2, 1], "", workers=2))


def test_killed_again_and_again_the_views_the_objects_and_the_ledger_agree(three):
    for outcome in three:
        assert outcome.problems == [], (
            f"replay: python -m tests.faults.run --seed {outcome.seed} --emulators"
        )
        assert outcome.figures["fills"] > 0
        assert outcome.figures["faults"] > 0
        assert sum("archiver" not in kill for kill in outcome.kills) > 0


def test_a_seed_replays_exactly_though_services_answer_when_they_please(three):
    first, _, again = three
    assert first == again
