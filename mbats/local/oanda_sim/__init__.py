"""An OANDA v20 broker on this machine: REST, both streams, one transaction log, seeded faults.

``serve`` runs it in a thread, ``launch`` as a process, ``mbats sim`` from the shell. The engine
(:mod:`~mbats.local.oanda_sim.engine`) is pure and deterministic; the server around it is thin.
"""

from mbats.local.oanda_sim.behaviour import Behaviour
from mbats.local.oanda_sim.config import (
    DEFAULT_ACCOUNT,
    AccountSpec,
    SimConfig,
    Spec,
    spec_of,
    with_conversions,
)
from mbats.local.oanda_sim.faults import Fault, FaultAt, FaultPlan, storm
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.running import Launched, Running, launch, serve
from mbats.local.oanda_sim.sources import RandomWalk, Replay, quotes_of_bars, quotes_of_file

__all__ = [
    "DEFAULT_ACCOUNT",
    "AccountSpec",
    "Behaviour",
    "Fault",
    "FaultAt",
    "FaultPlan",
    "Launched",
    "Quote",
    "RandomWalk",
    "Replay",
    "Running",
    "SimConfig",
    "Spec",
    "launch",
    "quotes_of_bars",
    "quotes_of_file",
    "serve",
    "spec_of",
    "storm",
    "with_conversions",
]
