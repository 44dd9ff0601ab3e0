"""Runs seeds through the emulators, each in a process of its own, and gathers their outcomes."""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from mbats.config import Settings
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.stack import Stack
from tests.faults import emulated
from tests.faults.seeds import Outcome

CHECKOUT = Path(__file__).parents[2]
PATIENCE_SECONDS = 900
_accounts = itertools.count(1)


@contextmanager
def own_stack() -> Iterator[Settings]:
    """Start the emulators on free ports, with data of their own; stop them at the end."""
    with tempfile.TemporaryDirectory(prefix="mbats-faults-") as folder:
        home = Path(folder) / ".mbats"
        venvs = CHECKOUT / ".mbats" / "venvs"
        stack = Stack(
            Settings(home=home, venvs=venvs, project="mbats-faults"),
            services=EMULATOR_SERVICES,
            any_ports=True,
        )
        try:
            stack.up()
            settings = stack.running_settings()
            emulated.prepare(settings)
            yield settings
        finally:
            stack.down()


def outcomes(
    settings: Settings, seeds: Sequence[int], variant: str, workers: int
) -> Iterator[Outcome]:
    """Yield the outcome of each seed, in order; the tables must be there."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda seed: outcome(settings, seed, variant), seeds)


def outcome(settings: Settings, seed: int, variant: str = "") -> Outcome:
    """Run one seed, on an account that no other run has."""
    document = settings.model_dump_json(exclude={"oanda_token"})
    account = f"101-001-{next(_accounts):07d}-001"
    command = [sys.executable, "-m", "tests.faults.emulated", document, str(seed), account]
    done = subprocess.run(
        [*command, variant], cwd=CHECKOUT, capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    if done.returncode:
        return Outcome(seed, [f"exit code {done.returncode}: {done.stderr[-3000:]}"])
    return Outcome(**json.loads(done.stdout))
