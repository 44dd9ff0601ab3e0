"""Tells people of risk events and alerts: each once, not too many at a time, none lost."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from mbats.desk.events.delivery import Delivery, Say
from mbats.errors import MbatsError, NotReadyError, RefusedError
from mbats.gcp.messages import TABLE
from mbats.gcp.records import Record
from mbats.live.notices import ALERT_OVER, SEVERITIES, Notice, notice_of
from mbats.live.outbox import Outbox, short

RECORD = "notify/outbox.json"
LEAST = "warning"
"""The least severity that people are told of."""

_ATTEMPTS = 20


class Target(Protocol):
    """A place to tell: see :class:`mbats.vendors.webhooks.Webhook`."""

    @property
    def name(self) -> str:
        """What it is called in the log."""
        ...

    def post(self, text: str) -> None:
        """Tell. Raises :class:`NotReadyError` unless it was taken."""
        ...


class Notifier:
    """Tells ``targets``. ``say`` logs; ``now`` is the clock."""

    def __init__(
        self,
        record: Record,
        targets: Sequence[Target],
        now: Callable[[], datetime],
        say: Say,
    ) -> None:
        self._record = record
        self._targets = {target.name: target for target in targets}
        self._now = now
        self._say = say

    def take(self, delivery: Delivery) -> None:
        """Tell what a delivery says; what returns may be acknowledged.

        Raises :class:`NotReadyError` where this delivery must come back: its message is not told
        yet and nobody else would come for it. Raises :class:`DataError` for a malformed message.
        """
        notice = told_of(delivery)
        if notice is not None:
            self._say("notice", severity=notice.severity.upper(), code=notice.code,
                      key=notice.key, account=notice.account)  # fmt: skip
        if not self._targets:
            return
        trouble: MbatsError | None = None
        outbox, mine = self._admit(notice)
        while mine and trouble is None:
            outbox, trouble = self._send(outbox)
            if trouble is None:
                outbox, mine = self._admit(None)
        if notice is not None and outbox.must_come_back(short(notice.key)):
            raise trouble or NotReadyError(
                "The notice waits to be told together with others.",
                mend="nothing: Pub/Sub delivers it again, until then it is kept",
            )
        if trouble is not None:
            self._say("webhook_down", severity="ERROR", cause=trouble.cause)

    def _admit(self, notice: Notice | None) -> tuple[Outbox, bool]:
        """Take a notice in; return the outbox and whether this process now has to send."""
        for _ in range(_ATTEMPTS):
            document, generation = self._record.read()
            before = Outbox.from_record(document) if document else Outbox()
            admitted = before.admit(notice) if notice is not None else before
            sending = admitted.to_send(self._now(), list(self._targets))
            after = sending or admitted
            if after == before:
                return before, False
            try:
                self._record.write(after.to_record(), generation)
            except RefusedError:
                continue  # another delivery was first
            return after, sending is not None
        raise NotReadyError("Too many notices at once.", mend="nothing: it is delivered again")

    def _send(self, outbox: Outbox) -> tuple[Outbox, MbatsError | None]:
        """Send the message that this process has taken on; return what is left to do."""
        message = outbox.sending
        assert message is not None
        left, trouble = [], None
        for name in message.left:
            try:
                if name in self._targets:  # one that was removed from the setting is not told
                    self._targets[name].post(message.said)
            except MbatsError as error:
                left.append(name)
                trouble = error
        for _ in range(_ATTEMPTS):
            document, generation = self._record.read()
            now = Outbox.from_record(document) if document else outbox
            if now.sending is None or now.sending.at != message.at:
                break  # another has taken it over meanwhile
            after = now.after(left, self._now())
            try:
                self._record.write(after.to_record(), generation)
            except RefusedError:
                continue
            return after, trouble
        return outbox, trouble or NotReadyError(
            "Another process has taken the message over.", mend="nothing: it is told again"
        )


def told_of(delivery: Delivery) -> Notice | None:
    """Return what people are to be told of a delivery; None where it is nothing for them.

    Raises :class:`DataError` for a message that cannot be read.
    """
    table = delivery.attributes.get(TABLE)
    if table is not None and table != "risk_event":
        return None
    notice = notice_of(delivery.json())
    told = notice.rank >= SEVERITIES.index(LEAST) or notice.code == ALERT_OVER
    return notice if told else None
