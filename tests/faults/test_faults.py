"""A few seeds of `make faults`, and protocols that are wrong on purpose, which it must catch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.seeds import run_seed

CHECKOUT = Path(__file__).parents[2]


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


def test_a_failing_run_says_how_to_replay_it_and_exits_with_an_error():
    command = [sys.executable, "-m", "tests.faults.run", "--variant", "resend", "--workers", "2"]
    done = subprocess.run(
        [*command, "--first", "10", "--seeds", "4"], cwd=CHECKOUT, capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "was sent 2 times" in done.stdout
    assert "replay: python -m tests.faults.run --seed 1" in done.stdout
    assert "failed seeds: 1" in done.stdout
