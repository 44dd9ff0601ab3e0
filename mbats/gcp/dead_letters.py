"""Dead letters: messages that nobody could use, kept in the bucket ``data`` for a replay.

One object a message, ``dead-letters/<topic>/<date>/<message id>.json``, so that the same message
given up by two readers, or delivered twice, is one. A second object beside it says that it was
replayed. Nothing here is ever overwritten or deleted.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from mbats.errors import DataError, RefusedError
from mbats.gcp.objects import BucketName, Objects

BUCKET: BucketName = "data"
FOLDER = "dead-letters"
REASON = "reason"
REPLAYED_FROM = "replayed_from"
_OF_PUBSUB = ("CloudPubSub", "googclient_")
_REPLAYED = ".replayed.json"


@dataclass(frozen=True)
class DeadLetter:
    """One message, whole. ``topic`` is where it was published first; times are in UTC."""

    topic: str
    message_id: str
    published_at: datetime
    data: bytes
    reason: str
    kept_by: str
    ordering_key: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its object."""
        day = self.published_at.astimezone(UTC).date()
        return f"{FOLDER}/{self.topic}/{day}/{re.sub(r'[^A-Za-z0-9_-]', '_', self.message_id)}.json"

    @property
    def own_attributes(self) -> dict[str, str]:
        """The attributes it was published with, but for those of its way here."""
        return {
            name: value
            for name, value in self.attributes.items()
            if name not in (REASON, REPLAYED_FROM) and not name.startswith(_OF_PUBSUB)
        }

    @property
    def content(self) -> str:
        """A digest of what was published: equal for copies that several readers gave up."""
        own = json.dumps([self.topic, self.ordering_key, sorted(self.own_attributes.items())])
        return hashlib.blake2b(own.encode() + self.data, digest_size=16).hexdigest()

    def to_record(self) -> dict[str, Any]:
        """Return it in plain JSON values; ``text`` is for people, where the data is text."""
        try:
            text = self.data.decode()
        except UnicodeDecodeError:
            text = None
        return {
            "topic": self.topic,
            "message_id": self.message_id,
            "published_at": self.published_at.isoformat(),
            "reason": self.reason,
            "kept_by": self.kept_by,
            "ordering_key": self.ordering_key,
            "attributes": dict(self.attributes),
            "data": base64.b64encode(self.data).decode(),
            "text": text,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "DeadLetter":
        """Return what :meth:`to_record` wrote. Raises :class:`DataError`."""
        try:
            return cls(
                topic=record["topic"],
                message_id=record["message_id"],
                published_at=datetime.fromisoformat(record["published_at"]),
                data=base64.b64decode(record["data"], validate=True),
                reason=record["reason"],
                kept_by=record["kept_by"],
                ordering_key=record["ordering_key"],
                attributes=dict(record["attributes"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DataError(f"A dead letter cannot be read: {error!r}") from error


@dataclass(frozen=True)
class Stored:
    """A dead letter in its bucket, and whether it was replayed."""

    letter: DeadLetter
    replayed: bool


class DeadLetters:
    """The dead letters of the desk."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def keep(self, letter: DeadLetter) -> bool:
        """Store a dead letter; return False where it is there already.

        Raises :class:`~mbats.errors.NotReadyError`: do not acknowledge the message then.
        """
        return self._write_once(letter.name, letter.to_record())

    def find(self, topic: str, since: date | None = None) -> Iterator[Stored]:
        """Yield the dead letters of a topic published on ``since`` or later, oldest day first."""
        prefix = f"{FOLDER}/{topic}/"
        names = [o.name for o in self._objects.list(BUCKET, prefix)]
        replayed = {name for name in names if name.endswith(_REPLAYED)}
        for name in names:
            day = name.removeprefix(prefix).partition("/")[0]
            if name in replayed or (since is not None and day < since.isoformat()):
                continue
            found = self._objects.read(BUCKET, name)
            if found is not None:
                yield Stored(_letter(name, found[0]), _marker(name) in replayed)

    def mark(self, letter: DeadLetter, how: Mapping[str, Any]) -> None:
        """Write down that a dead letter was replayed; ``how`` says when and as which message."""
        self._write_once(_marker(letter.name), how)

    def _write_once(self, name: str, document: Mapping[str, Any]) -> bool:
        content = json.dumps(document, indent=1, ensure_ascii=False).encode()
        try:
            self._objects.write(
                BUCKET, name, content, content_type="application/json", if_generation=0
            )
        except RefusedError:
            return False
        return True


def _marker(name: str) -> str:
    return name.removesuffix(".json") + _REPLAYED


def _letter(name: str, content: bytes) -> DeadLetter:
    try:
        return DeadLetter.from_record(json.loads(content))
    except ValueError as error:
        raise DataError(f"{name} is no dead letter: {error}") from error
