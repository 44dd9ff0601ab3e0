"""Kills a process of a stack as a crash would."""

import psutil


def kill(pid):
    """Kill the process, and return when it is gone."""
    assert pid, "psutil takes None for this very process"
    process = psutil.Process(pid)
    process.kill()
    process.wait(60)
