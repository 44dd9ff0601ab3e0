"""A process that stops what another one started, however that one ended.

``kept`` starts it before anything else. It holds the other end of a pipe: when that closes, because
the block was left or its process was killed, the keeper stops every service of the stack that did
not run before.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbats.config import load
from mbats.errors import NotReadyError
from mbats.local import processes
from mbats.local.stack import Stack

READY = "ready\n"
PAUSE = 0.1  # seconds


@contextmanager
def kept(home: Path) -> Iterator[None]:
    """Stop what the block starts of the stack at ``home``, also after ``kill -9``.

    Raises :class:`NotReadyError` where nobody would: then nothing is to be started.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "mbats.local.keeper", str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us, not for it
    )
    assert keeper.stdin
    assert keeper.stdout
    said = keeper.stdout.readline()  # from here on it knows what ran before
    if said != READY:
        raise NotReadyError(
            f"What stops the local stack at the end did not start: exit code {keeper.wait()}.",
            tried=["its words are above"],
            mend="mbats doctor",
        )
    try:
        yield
    finally:
        keeper.stdin.close()
        while not _ended(keeper):
            processes.reap()  # it waits for them to end, and they are our children


def _ended(keeper: subprocess.Popen[str]) -> bool:
    try:
        keeper.wait(PAUSE)
    except subprocess.TimeoutExpired:
        return False
    return True


def main() -> None:
    """Keep the stack whose home is the first argument until standard input ends."""
    home = Path(sys.argv[1]).resolve()
    before = set(processes.tagged(home))
    sys.stdout.write(READY)
    sys.stdout.flush()
    sys.stdin.read()
    Stack(load({"home": home}).settings).down(set(processes.tagged(home)) - before)


if __name__ == "__main__":
    main()
