"""`make faults SEEDS=n`: many seeds on all cores; a failing one is named and can be replayed.

python -m tests.faults.run --seeds 200
python -m tests.faults.run --seed 17            # replay one, and show what happened
python -m tests.faults.run --seeds 20 --variant resend   # a protocol that is wrong on purpose
python -m tests.faults.run --seeds 30 --emulators        # through a local stack of its own
python -m tests.faults.run --seeds 60 --suspended        # suspended, and taken over or not
python -m tests.faults.run --seeds 60 --flattened        # killed, and flattened in between
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.faults.broken import VARIANTS
from tests.faults.flattened import run_flattened
from tests.faults.seeds import Outcome, run_seed
from tests.faults.suspended import run_suspended

ARCHIVER = "acknowledge"  # an archiver that is wrong on purpose: with --emulators only


def _one(arguments: argparse.Namespace, seed: int) -> Outcome:
    if arguments.suspended:
        return run_suspended(seed)
    if arguments.flattened:
        return run_flattened(seed)
    return run_seed(seed, arguments.variant, rate=arguments.rate)


def _here(seeds: Sequence[int], arguments: argparse.Namespace) -> Iterator[Outcome]:
    # Workers outlive their seeds, for each bot is a fork of a warm process; one that dies ends all.
    workers = min(arguments.workers, len(seeds))
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        yield from pool.map(partial(_one, arguments), seeds)


def _through_emulators(seeds: Sequence[int], arguments: argparse.Namespace) -> Iterator[Outcome]:
    from tests.faults.emulated_runs import outcomes, own_stack

    with own_stack() as settings:
        yield from outcomes(settings, seeds, arguments.variant, arguments.workers)


def main() -> int:
    arguments = _parsed()
    if arguments.seed is not None:
        seeds = [arguments.seed]
    else:
        seeds = list(range(arguments.first, arguments.first + arguments.seeds))
    began, total, failed = time.monotonic(), Counter[str](), []
    run = _through_emulators if arguments.emulators else _here
    for outcome in run(seeds, arguments):
        total.update(outcome.figures)
        if outcome.problems:
            failed.append(outcome.seed)
        if outcome.problems or arguments.seed is not None:
            _show(outcome, arguments)
    figures = ", ".join(f"{count} {name}" for name, count in total.items())
    seconds = time.monotonic() - began
    print(f"{len(seeds)} seeds in {seconds:.0f} s: {len(failed)} failed. {figures}.")
    if failed:
        print("failed seeds:", *sorted(failed))
    return 1 if failed else 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults.run")
    parser.add_argument("--seeds", type=_at_least_one, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, help="replay this one alone")
    parser.add_argument("--rate", type=float, default=0.12, help="share of writes that fail")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--variant", default="", choices=["", *VARIANTS, ARCHIVER])
    parser.add_argument("--emulators", action="store_true", help="through a local stack")
    parser.add_argument("--suspended", action="store_true", help="asleep instead of killed")
    parser.add_argument("--flattened", action="store_true", help="and flattened in between")
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("no seeds prove nothing")
    return number


def _show(outcome: Outcome, arguments: argparse.Namespace) -> None:
    state = "FAILED" if outcome.problems else "passed"
    print(f"seed {outcome.seed} {state}: {outcome.figures}; killed at {outcome.kills}")
    for problem in outcome.problems[:20]:
        print("   ", problem)
    if outcome.problems:
        more = f" --variant {arguments.variant}" if arguments.variant else ""
        more += " --emulators" if arguments.emulators else ""
        more += " --suspended" if arguments.suspended else ""
        more += " --flattened" if arguments.flattened else ""
        print(f"    replay: python -m tests.faults.run --seed {outcome.seed}{more}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
