"""A journal in Cloud Storage: one object a record, created once, never changed.

A record is stored when its object is: creation is conditional on there being none, so two writers
of one journal find out at once, and a repeated request cannot store a record twice.
"""

import json
import uuid
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mbats.errors import DataError, RefusedError
from mbats.gcp.objects import BucketName, Objects

BUCKET: BucketName = "state"
FOLDER = "journals"
READERS = 16
_DIGITS = 12


class ObjectJournal:
    """Records of the journal ``name``, in order; a :class:`mbats.live.ports.Journal`.

    For one thread of one process: the lease sees to that.
    """

    def __init__(self, objects: Objects, name: str) -> None:
        """Read what is there. Raises :class:`DataError` where a record is missing or damaged."""
        self._objects = objects
        self._folder = f"{FOLDER}/{name}/"
        self._writer = uuid.uuid4().hex
        self._records = self._read_all()
        self._unsure = False  # whether the last record may be stored though its write failed

    def append(self, record: dict[str, Any]) -> None:
        """Store one record; return only when Cloud Storage has it.

        Raises :class:`RefusedError` where another process has written to this journal: then two
        processes trade one account. Any other error leaves it open whether the record is stored;
        the next call finds out.
        """
        self._settle()
        number = len(self._records)
        content = _content(record, self._writer)
        try:
            self._write(number, content)
        except RefusedError:
            # Google's client repeats a request whose answer was lost: then the record is our own.
            if self._read(number) != content:
                raise RefusedError(
                    f"Another process wrote record {number} of the journal {self._folder}.",
                    mend="find the other process and stop one of the two",
                ) from None
        self._records.append(json.loads(json.dumps(record)))

    def records(self) -> Sequence[dict[str, Any]]:
        """Return every record in order."""
        return tuple(self._records)

    def _settle(self) -> None:
        """Take a record in that an earlier call stored without learning so."""
        if not self._unsure:
            return
        found = self._read(len(self._records))
        if found is not None and _parsed(found, self._folder)["writer"] == self._writer:
            self._records.append(_parsed(found, self._folder)["record"])
        self._unsure = False

    def _write(self, number: int, content: bytes) -> None:
        self._unsure = True
        try:
            self._objects.write(
                BUCKET,
                self._name(number),
                content,
                content_type="application/json",
                if_generation=0,
            )
        except RefusedError:
            self._unsure = False
            raise
        self._unsure = False

    def _read(self, number: int) -> bytes | None:
        found = self._objects.read(BUCKET, self._name(number))
        return None if found is None else found[0]

    def _read_all(self) -> list[dict[str, Any]]:
        names = [stored.name for stored in self._objects.list(BUCKET, self._folder)]
        expected = [self._name(number) for number in range(len(names))]
        if names != expected:
            odd = sorted(set(names) ^ set(expected))
            raise DataError(
                f"The journal {self._folder} is not whole: {odd[0]} is missing or too many.",
                mend="restore the object, or flatten the account and start a new journal",
            )
        with ThreadPoolExecutor(READERS) as pool:
            contents = list(pool.map(self._read, range(len(names))))
        return [_parsed(content or b"", self._folder)["record"] for content in contents]

    def _name(self, number: int) -> str:
        return f"{self._folder}{number:0{_DIGITS}d}.json"


def _content(record: dict[str, Any], writer: str) -> bytes:
    body = json.dumps({"writer": writer, "record": record}, separators=(",", ":"), sort_keys=True)
    return b"%08x %s\n" % (zlib.crc32(body.encode()), body.encode())


def _parsed(content: bytes, journal: str) -> dict[str, Any]:
    checksum, _, body = content.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise DataError(
            f"A record of the journal {journal} is damaged: {content[:100]!r}.",
            mend="restore the object, or flatten the account and start a new journal",
        )
    parsed: dict[str, Any] = json.loads(body)
    return parsed
