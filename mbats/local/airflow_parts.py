"""The parts of a local Airflow as one process: ``python -m mbats.local.airflow_parts AIRFLOW``.

`airflow standalone` serves logs on every interface of the machine and leaves its children behind
when it is killed. Here the parts are the same, nothing but the API server listens, and when one
part ends, all end.
"""

import signal
import subprocess
import sys
import time
from types import FrameType

from mbats.local import rest

HEALTH = "/api/v2/monitor/health"
# On one machine the logs are read from their files: no part serves them.
API = ("api-server",)
OTHERS = (
    ("dag-processor",),
    ("scheduler", "--skip-serve-logs"),
    ("triggerer", "--skip-serve-logs"),
)
GRACE = 3.0  # seconds from SIGTERM to SIGKILL
PAUSE = 0.2

Parts = dict[str, subprocess.Popen[bytes]]


def main() -> None:
    """Make the database, run every part until one ends or SIGTERM comes, then end them all.

    A task asks the API server for its work, so the scheduler starts when that answers.
    """
    airflow, port = sys.argv[1], int(sys.argv[2])
    running: Parts = {}
    signal.signal(signal.SIGTERM, _leave)
    subprocess.run([airflow, "db", "migrate"], check=True)
    try:
        _start(airflow, (API,), running)
        while _all_live(running) and not rest.answers(port, HEALTH):
            time.sleep(PAUSE)
        _start(airflow, OTHERS, running)
        while _all_live(running):
            time.sleep(PAUSE)
    finally:
        _end(running)
    sys.exit(1)


def _start(airflow: str, parts: tuple[tuple[str, ...], ...], running: Parts) -> None:
    for part in parts:
        running[part[0]] = subprocess.Popen([airflow, *part])


def _all_live(running: Parts) -> bool:
    ended = [name for name, each in running.items() if each.poll() is not None]
    if ended:
        print(f"{', '.join(ended)} ended: stopping the others", flush=True)
    return not ended


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _end(running: Parts) -> None:
    for each in running.values():
        each.terminate()
    for each in running.values():
        try:
            each.wait(GRACE)
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()


if __name__ == "__main__":
    main()
