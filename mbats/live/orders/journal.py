"""A journal in a file: one JSON record a line, each on the disk before the order is on the wire."""

import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from mbats.errors import DataError

WORTH_COMPACTING = 100
"""How many records fewer are worth writing a journal anew."""


class FileJournal:
    """Records in ``path``, each line a checksum and a JSON object.

    A process killed while it wrote leaves a torn last line: that record was never acknowledged,
    nothing was sent for it, and it is cut off at the next start. Damage anywhere else raises
    :class:`~mbats.errors.DataError`, for then the journal can no longer be trusted.

    A write that fails, as on a full disk, leaves no part of its record: it is cut off at once, or
    before the next record where that fails, too. After a failed fsync nobody knows what the disk
    has, whatever a later one says: what it was for is cut off as well.
    ``worth`` is how many records a compaction must save.
    """

    def __init__(self, path: Path, worth: int = WORTH_COMPACTING) -> None:
        self._worth = worth
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._records, self._whole = _read(path)
        self._file = path.open("ab", buffering=0)
        self._sure = False  # whether the file ends where the last whole record does, durably
        self._mend()

    def append(self, record: dict[str, Any]) -> None:
        """Store one record; return only when the disk has it.

        Raises :class:`OSError` where it cannot be stored; then it is not there.
        """
        self._mend()
        line = _line(record)
        self._sure = False
        try:
            _write(self._file, line)
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._mend()
            raise
        self._sure = True
        self._whole += len(line)
        self._records.append(record)

    def records(self) -> Sequence[dict[str, Any]]:
        """Return every whole record in order."""
        return tuple(self._records)

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        """Put a file of ``kept`` in the place of this one, at once; what a kill leaves is whole."""
        if len(self._records) - len(kept) < self._worth:
            return
        fresh, lines = self._path.with_name(f"{self._path.name}.new"), b"".join(map(_line, kept))
        fresh.unlink(missing_ok=True)
        file = fresh.open("ab", buffering=0)
        try:
            _write(file, lines)
            os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError:
            file.close()
            raise
        # From here on the name is the new file's: nothing may go into the old one any more.
        self._file.close()
        self._file, self._records, self._whole = file, list(kept), len(lines)
        self._sure = False
        self._mend()

    def close(self) -> None:
        """Close the file; every record is already on the disk."""
        self._file.close()

    def _mend(self) -> None:
        """Cut off what is no whole record, and make that and the file's name durable."""
        if self._sure:
            return
        self._file.truncate(self._whole)
        os.fsync(self._file.fileno())
        self._sync_folder()
        self._sure = True

    def _sync_folder(self) -> None:
        """Make the file's own name durable: fsync of a file does not cover its folder."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write(file: FileIO, content: bytes) -> None:
    """Write all of it, however much the system takes at a time."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _line(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the whole records and how many bytes of the file they fill."""
    if not path.exists():
        return [], 0
    lines = path.read_bytes().splitlines(keepends=True)
    records: list[dict[str, Any]] = []
    whole = 0
    for number, line in enumerate(lines, start=1):
        record = _parsed(line)
        if record is None:
            if number == len(lines):
                break
            raise DataError(
                f"Line {number} of the order journal {path} is damaged, and it is not the last.",
                mend="keep the file, flatten the account with `mbats flatten`, start a new journal",
            )
        records.append(record)
        whole += len(line)
    return records, whole


def _parsed(line: bytes) -> dict[str, Any] | None:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record
