"""A few seeds of bots that are suspended, and a protocol that sends what it had on its way."""

from collections import Counter

import pytest

from tests.faults.suspended import run_suspended


@pytest.mark.parametrize("first", range(1, 19, 6))
def test_suspended_and_taken_over_or_not_the_log_the_journal_and_the_rows_agree(first):
    figures = Counter()
    for seed in range(first, first + 6):
        outcome = run_suspended(seed)
        assert outcome.problems == [], f"seed {seed}"
        figures.update(outcome.figures)
    assert min(figures[name] for name in ("taken", "fills")) > 0


def test_what_froze_on_its_way_does_not_go_after_another_took_over():
    figures = Counter()
    for seed in range(1, 10):
        outcome = run_suspended(seed, kind="leave")
        assert outcome.problems == [], f"seed {seed}"
        figures.update(outcome.figures)
    assert min(figures[name] for name in ("taken", "flattened", "went_on")) > 0


def test_a_bot_that_never_looks_a_last_time_is_caught():
    problems = [p for seed in range(1, 10) for p in run_suspended(seed, "late", "leave").problems]
    assert any("after it was taken over" in problem for problem in problems)
    assert any("after it was flattened" in problem for problem in problems)


def test_a_seed_replays_exactly():
    assert run_suspended(7) == run_suspended(7)


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(87, id="too briefly to know it: it hears of the flattening within a second"),
        pytest.param(107, id="between two orders of one step: it looks again before the second"),
    ],
)
def test_who_slept_while_the_account_was_flattened_sends_nothing(seed):
    outcome = run_suspended(seed)
    assert outcome.problems == []
    assert (outcome.figures["slept"], outcome.figures["flattened"]) == (1, 1)
