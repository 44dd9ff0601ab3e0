"""The functions, each killed by SIGKILL after its work and before it answers, the first time.

Run through functions-framework in the place of a function's own file; FUNCTIONS_DYING names a file
that remembers that it has died.
"""

import os
import signal
from pathlib import Path

import functions_framework

from mbats.desk.events import wiring


def die_once():
    mark = Path(os.environ["FUNCTIONS_DYING"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@functions_framework.cloud_event
def control_file(event):
    wiring.control_file(event)
    die_once()


@functions_framework.cloud_event
def risk_guard(event):
    wiring.risk_guard(event)
    die_once()


@functions_framework.cloud_event
def notify(event):
    wiring.notify(event)
    die_once()


@functions_framework.cloud_event
def dead_letter(event):
    wiring.dead_letter(event)
    die_once()
