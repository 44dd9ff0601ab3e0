"""A journal in Cloud Storage: one object a record, created once, never changed.

A record is stored when its object is: creation is conditional on there being none, so two writers
of one journal find out at once, and a repeated request cannot store a record twice.

A compaction creates one more object, a snapshot that stands for every record below its number, and
only then removes those: whoever reads takes the newest snapshot and what follows it, so that a kill
between any two steps leaves the journal whole. What is left of a removal that was killed is passed
over, and removed by the next.
"""

import gzip
import json
import uuid
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.gcp.objects import BucketName, Objects, StoredObject
from mbats.live.orders.journal import WORTH_COMPACTING

BUCKET: BucketName = "state"
FOLDER = "journals"
READERS = 16
READS = 10
"""How often a journal is read that is being compacted by its writer meanwhile."""

_DIGITS = 12
_SNAPSHOT = "snapshot-"  # sorts after every number: a listing in pages sees it before a removal
_MEND = "restore the object, or flatten the account and start a new journal"


class ObjectJournal:
    """Records of the journal ``name``, in order; a :class:`mbats.live.orders.ports.Journal`.

    For one thread of one process: the lease sees to that. ``worth`` is how many objects a
    compaction must save.
    """

    def __init__(self, objects: Objects, name: str, worth: int = WORTH_COMPACTING) -> None:
        """Read what is there. Raises :class:`DataError` where a record is missing or damaged."""
        self._objects = objects
        self._folder = f"{FOLDER}/{name}/"
        self._worth = worth
        self._writer = uuid.uuid4().hex
        self._base = 0  # what the snapshot stands for
        self._next = 0
        self._records: list[dict[str, Any]] = []
        self._read_all()
        self._unsure = False  # whether the last record may be stored though its write failed

    def append(self, record: dict[str, Any]) -> None:
        """Store one record; return only when Cloud Storage has it.

        Raises :class:`RefusedError` where another process has written to this journal: then two
        processes trade one account. Any other error leaves it open whether the record is stored;
        the next call finds out. A process that slept through a compaction may store a record that
        nobody reads: whoever sends looks at the lease once more after this.
        """
        self._settle()
        content = _content(record, self._writer)
        self._unsure = True
        try:
            self._create(self._name(self._next), content, f"record {self._next}")
        except RefusedError:
            self._unsure = False
            raise
        self._unsure = False
        self._took(json.loads(json.dumps(record)))

    def records(self) -> Sequence[dict[str, Any]]:
        """Return every record in order."""
        return tuple(self._records)

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        """Store ``kept`` as one object for all records so far, then remove theirs.

        Does only the removing, of what an earlier one left, where that is not worth the work.
        Raises as :meth:`append` does.
        """
        self._settle()
        if self._next - self._base >= self._worth:
            content = _packed(kept, self._next, self._writer)
            self._create(self._snapshot(self._next), content, f"the snapshot of {self._next}")
            self._base, self._records = self._next, list(kept)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what the snapshot stands for. In any order: nobody reads it any more."""
        current = self._snapshot(self._base)
        stale = [
            stored
            for stored in self._objects.list(BUCKET, self._folder)
            if (_SNAPSHOT in stored.name and stored.name < current)
            or (_SNAPSHOT not in stored.name and stored.name < self._name(self._base))
        ]
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._remove, stale))

    def _remove(self, stored: StoredObject) -> None:
        self._objects.remove(BUCKET, stored.name, stored.generation)

    def _settle(self) -> None:
        """Take a record in that an earlier call stored without learning so."""
        if not self._unsure:
            return
        found = self._read(self._name(self._next))
        if found is not None:
            written = _parsed(found, self._folder)
            if written["writer"] == self._writer:
                self._took(written["record"])
        self._unsure = False

    def _took(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        self._next += 1

    def _create(self, name: str, content: bytes, what: str) -> None:
        """Write an object that must not be there. Raises :class:`RefusedError` where it is."""
        kind = "application/gzip" if _SNAPSHOT in name else "application/json"
        try:
            self._objects.write(BUCKET, name, content, content_type=kind, if_generation=0)
        except RefusedError:
            # Google's client repeats a request whose answer was lost: then it is our own.
            if self._read(name) != content:
                raise RefusedError(
                    f"Another process wrote {what} of the journal {self._folder}.",
                    mend="find the other process and stop one of the two",
                ) from None

    def _read(self, name: str) -> bytes | None:
        found = self._objects.read(BUCKET, name)
        return None if found is None else found[0]

    def _read_all(self) -> None:
        """Read the newest snapshot and what follows it; again where the writer removes it now."""
        for _ in range(READS):
            if self._read_once():
                return
        raise NotReadyError(
            f"The journal {self._folder} is compacted faster than it can be read.",
            mend="read it again; if it stays, stop its writer",
        )

    def _read_once(self) -> bool:
        names = [stored.name for stored in self._objects.list(BUCKET, self._folder)]
        snapshots = [name for name in names if _SNAPSHOT in name]
        base = max((self._covered(name) for name in snapshots), default=0)
        numbered = [n for n in names if _SNAPSHOT not in n and n >= self._name(base)]
        self._require_whole(numbered, base)
        wanted = [self._snapshot(base), *numbered] if base else numbered
        with ThreadPoolExecutor(READERS) as pool:
            contents = list(pool.map(self._read, wanted))
        if None in contents:
            return False
        self._records = []
        if base:
            self._records += _unpacked(contents.pop(0) or b"", self._folder)
        self._records += [_parsed(content or b"", self._folder)["record"] for content in contents]
        self._base, self._next = base, base + len(numbered)
        return True

    def _require_whole(self, numbered: Sequence[str], base: int) -> None:
        expected = [self._name(base + number) for number in range(len(numbered))]
        if numbered != expected:
            odd = sorted(set(numbered) ^ set(expected))
            raise DataError(
                f"The journal {self._folder} is not whole: {odd[0]} is missing or too many.",
                mend=_MEND,
            )

    def _name(self, number: int) -> str:
        return f"{self._folder}{number:0{_DIGITS}d}.json"

    def _snapshot(self, number: int) -> str:
        """Return the name of the snapshot that stands for the records below ``number``."""
        return f"{self._folder}{_SNAPSHOT}{number:0{_DIGITS}d}.json.gz"

    def _covered(self, snapshot: str) -> int:
        return int(snapshot.removeprefix(f"{self._folder}{_SNAPSHOT}").partition(".")[0])


def _content(record: dict[str, Any], writer: str) -> bytes:
    body = json.dumps({"writer": writer, "record": record}, separators=(",", ":"), sort_keys=True)
    return b"%08x %s\n" % (zlib.crc32(body.encode()), body.encode())


def _parsed(content: bytes, journal: str) -> dict[str, Any]:
    checksum, _, body = content.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise DataError(
            f"A record of the journal {journal} is damaged: {content[:100]!r}.", mend=_MEND
        )
    parsed: dict[str, Any] = json.loads(body)
    return parsed


def _packed(records: Sequence[dict[str, Any]], number: int, writer: str) -> bytes:
    """Return a snapshot: lines as of single records, zipped; the first says how many they are."""
    head = {"stands_for": number, "records": len(records)}
    return gzip.compress(b"".join(_content(r, writer) for r in (head, *records)), mtime=0)


def _unpacked(content: bytes, journal: str) -> list[dict[str, Any]]:
    try:
        lines = gzip.decompress(content).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"The snapshot of the journal {journal} is damaged: {error}.", mend=_MEND
        ) from error
    head, *records = [_parsed(line, journal)["record"] for line in lines or [b""]]
    if head["records"] != len(records):
        raise DataError(f"The snapshot of the journal {journal} is not whole.", mend=_MEND)
    return records
