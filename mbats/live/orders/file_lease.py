"""A lease on this machine: a locked file. The kernel lets go of it when the holder dies."""

import fcntl
import os
from pathlib import Path

from mbats.errors import RefusedError
from mbats.live.orders.ports import NotHeldError


class FileLease:
    """The right to be the one writer of what ``path`` stands for, among processes of one machine.

    The file keeps the fencing number; it grows by one with every holding.
    """

    def __init__(self, path: Path) -> None:
        """Take the lease. Raises :class:`RefusedError` where another process holds it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 100, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise RefusedError(
                f"Another process trades this account: {path} is locked.",
                tried=[f"its last holder: {holder or 'unknown'}"],
                mend="stop that process; a dead one holds no lock",
            ) from error
        number, _, _ = os.pread(self._file, 100, 0).decode().partition(" ")
        self.fencing = int(number or 0) + 1
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{self.fencing} pid {os.getpid()}\n".encode(), 0)
        os.fsync(self._file)
        self._held = True

    def check(self) -> None:
        """Raise :class:`NotHeldError` once it was released, or the file is another one by now."""
        try:
            same = os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except OSError:
            same = False
        if not (self._held and same):
            raise NotHeldError(f"The lease {self._path} is not held.", mend="start again")

    def regain(self) -> None:
        """Raise as :meth:`check` does: a sleeping process keeps its lock, a lost one is lost."""
        self.check()

    def release(self) -> None:
        """Let go."""
        if self._held:
            self._held = False
            os.close(self._file)
