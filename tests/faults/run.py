"""`make faults SEEDS=n`: many seeds on all cores; a failing one is named and can be replayed.

python -m tests.faults.run --seeds 200
python -m tests.faults.run --seed 17            # replay one, and show what happened
python -m tests.faults.run --seeds 20 --variant resend   # a protocol that is wrong on purpose
"""

import argparse
import os
import sys
import time
from collections import Counter
from multiprocessing import get_context

from tests.faults.broken import VARIANTS
from tests.faults.seeds import Outcome, run_seed


def _one(job: tuple[int, str, float]) -> Outcome:
    seed, variant, rate = job
    return run_seed(seed, variant, rate=rate)


def main() -> int:
    arguments = _parsed()
    if arguments.seed is not None:
        seeds = [arguments.seed]
    else:
        seeds = list(range(arguments.first, arguments.first + arguments.seeds))
    jobs = [(seed, arguments.variant, arguments.rate) for seed in seeds]
    began, total, failed = time.monotonic(), Counter[str](), []
    # Workers outlive their seeds: each bot is a fork of a warm process.
    context = get_context("fork")
    with context.Pool(min(arguments.workers, len(jobs))) as pool:
        for outcome in pool.imap_unordered(_one, jobs):
            total.update(outcome.figures)
            if outcome.problems:
                failed.append(outcome.seed)
                _show(outcome, arguments.variant)
            elif arguments.seed is not None:
                _show(outcome, arguments.variant)
    figures = ", ".join(f"{count} {name}" for name, count in total.items())
    seconds = time.monotonic() - began
    print(f"{len(jobs)} seeds in {seconds:.0f} s: {len(failed)} failed. {figures}.")
    if failed:
        print("failed seeds:", *sorted(failed))
    return 1 if failed else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults.run")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, help="replay this one alone")
    parser.add_argument("--rate", type=float, default=0.12, help="share of writes that fail")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--variant", default="", choices=["", *VARIANTS])
    return parser.parse_args()


def _show(outcome: Outcome, variant: str) -> None:
    state = "FAILED" if outcome.problems else "passed"
    print(f"seed {outcome.seed} {state}: {outcome.figures}; killed at {outcome.kills}")
    for problem in outcome.problems[:20]:
        print("   ", problem)
    if outcome.problems:
        more = f" --variant {variant}" if variant else ""
        print(f"    replay: python -m tests.faults.run --seed {outcome.seed}{more}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
