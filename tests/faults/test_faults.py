"""A few seeds of `make faults`, and protocols that are wrong on purpose, which it must catch."""

import pytest

from tests.faults.seeds import run_seed


@pytest.mark.parametrize("seed", range(1, 7))
def test_killed_again_and_again_the_log_the_journal_and_the_rows_agree(seed):
    outcome = run_seed(seed)
    assert outcome.problems == [], f"replay: python -m tests.faults.run --seed {seed}"
    assert outcome.figures["kills"] > 0
    assert outcome.figures["faults"] > 0


def test_a_seed_replays_exactly():
    first, again = run_seed(12), run_seed(12)
    assert first == again
    assert first.figures["fills"] > 0


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        ("resend", "was sent 2 times"),
        ("optimist", "the journal says refused, the log has 1"),
        ("forget", "has 0 rows"),
        ("amnesia", "does not reconcile"),
    ],
)
def test_a_protocol_that_is_wrong_on_purpose_is_caught(variant, says):
    for seed in range(10, 20):
        problems = run_seed(seed, variant).problems
        if any(says in problem for problem in problems):
            return
    pytest.fail(f"ten seeds of {variant} found nothing")
