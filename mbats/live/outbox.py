"""Notices on their way to people: each told once, not too many at a time, none lost. Pure.

Every notice goes through a durable outbox: admitted, then one message at a time is sent, then
marked as told. More than ``rate`` messages a minute are held back and told together. Somebody must
come back for what is held: the delivery that began the waiting is not acknowledged until it is
told, so that Pub/Sub's own redelivery is the clock. All others may be acknowledged.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mbats.live.notices import Notice, digest

WINDOW = timedelta(minutes=1)
RATE = 6
CRITICAL_RATE = 20
"""Messages a window where one of them is critical: it does not wait for the others."""

SENDING = timedelta(seconds=45)
"""A message that has been on its way for longer was given up by who sent it."""

REMEMBERED = timedelta(days=8)
"""How long an id is known: longer than Pub/Sub keeps a message."""

MOST_REMEMBERED = 5_000
MOST_HELD = 500


@dataclass(frozen=True)
class Message:
    """What is being sent: its text, which notices it tells, and the targets that lack it.

    ``again`` says that an earlier attempt may have arrived.
    """

    text: str
    keys: tuple[str, ...]
    severity: str
    at: datetime
    left: tuple[str, ...]
    failed: bool = False
    again: bool = False

    @property
    def said(self) -> str:
        """The text to send."""
        return f"(again: it may have reached you before)\n{self.text}" if self.again else self.text


@dataclass(frozen=True)
class Outbox:
    """The state between two deliveries. Keys are digests of event ids."""

    told: Mapping[str, datetime] = field(default_factory=dict)
    held: tuple[Notice, ...] = ()
    more: int = 0
    opener: str = ""
    sending: Message | None = None
    sent: tuple[datetime, ...] = ()

    def admit(self, notice: Notice) -> "Outbox":
        """Take a notice in, unless it is known."""
        key = short(notice.key)
        if self.knows(key):
            return self
        if len(self.held) >= MOST_HELD:
            return replace(self, more=self.more + 1)
        return replace(self, held=(*self.held, notice), opener=self.opener or key)

    def knows(self, key: str) -> bool:
        """Say whether a notice was told, is held or is on its way."""
        return (
            key in self.told
            or (self.sending is not None and key in self.sending.keys)
            or any(short(notice.key) == key for notice in self.held)
        )

    def must_come_back(self, key: str) -> bool:
        """Say whether the delivery of a notice is the clock: not to be acknowledged yet."""
        return key == self.opener or (self.sending is not None and key in self.sending.keys)

    def to_send(self, now: datetime, targets: Sequence[str]) -> "Outbox | None":
        """Return the outbox with a message for this process to send, None where there is none now.

        It must be stored before the message is sent: whoever stores it, sends it.
        """
        if self.sending is not None:
            if not self.sending.failed and now - self.sending.at < SENDING:
                return None  # another process sends it
            taken = replace(self.sending, at=now, failed=False, again=not self.sending.failed)
            return replace(self, sending=taken)
        recent = [at for at in self.sent if now - at < WINDOW]
        critical = any(notice.severity == "critical" for notice in self.held)
        if not self.held or len(recent) >= (CRITICAL_RATE if critical else RATE):
            return None
        alone = len(self.held) == 1 and not self.more
        text = self.held[0].text() if alone else digest(self.held, self.more)
        worst = max(self.held, key=lambda notice: notice.rank)
        keys = tuple(short(notice.key) for notice in self.held)
        message = Message(text, keys, worst.severity, now, tuple(targets))
        return replace(self, held=(), more=0, opener="", sending=message, sent=tuple(recent))

    def after(self, left: Sequence[str], now: datetime) -> "Outbox":
        """Return the outbox after the message was sent to all targets but ``left``."""
        assert self.sending is not None
        if left:
            return replace(
                self, sending=replace(self.sending, left=tuple(left), failed=True, again=False)
            )
        told = {**self.told, **dict.fromkeys(self.sending.keys, now)}
        kept = [(key, at) for key, at in told.items() if now - at < REMEMBERED][-MOST_REMEMBERED:]
        return replace(self, told=dict(kept), sending=None, sent=(*self.sent, now))

    def to_record(self) -> dict[str, Any]:
        """Return it in plain JSON values."""
        sending = self.sending
        return {
            "told": {key: at.isoformat() for key, at in self.told.items()},
            "held": [notice.to_record() for notice in self.held],
            "more": self.more,
            "opener": self.opener,
            "sending": sending and {**vars(sending), "at": sending.at.isoformat()},
            "sent": [at.isoformat() for at in self.sent],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Outbox":
        """Return what :meth:`to_record` wrote."""
        sending = record["sending"]
        return cls(
            told={key: datetime.fromisoformat(at) for key, at in record["told"].items()},
            held=tuple(Notice(**notice) for notice in record["held"]),
            more=record["more"],
            opener=record["opener"],
            sending=sending
            and Message(
                text=sending["text"],
                keys=tuple(sending["keys"]),
                severity=sending["severity"],
                at=datetime.fromisoformat(sending["at"]),
                left=tuple(sending["left"]),
                failed=sending["failed"],
                again=sending["again"],
            ),
            sent=tuple(datetime.fromisoformat(at) for at in record["sent"]),
        )


def short(key: str) -> str:
    """Return a digest of an event's id."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
