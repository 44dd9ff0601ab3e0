"""A few seeds in which the account is flattened while an order is on its way: it ends flat."""

from collections import Counter

from tests.faults.flattened import run_flattened


def test_flattened_and_killed_the_account_ends_flat_and_all_agree():
    figures = Counter()
    for seed in (1, 15, 16, 17, 21):
        outcome = run_flattened(seed)
        assert outcome.problems == [], f"seed {seed}"
        figures.update(outcome.figures)
    assert figures["closed"] > 0
    assert figures["kills"] > 0


def test_a_bot_that_keeps_nothing_flat_is_caught():
    problems = [p for seed in (1, 15, 17) for p in run_flattened(seed, deaf=True).problems]
    assert any("left in a flattened account: trade" in problem for problem in problems)
