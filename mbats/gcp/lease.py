"""A lease: an object in Cloud Storage that says who may be the one writer of something.

The object is only ever compared and swapped on its generation, never deleted, so the fencing
number in it grows for ever. No two machines' clocks are compared: a holder counts from before it
began to write its last renewal; who wants to take over counts from when it first saw that renewal,
which is later, and takes over only after the whole time to live without another. So a holder that
dies is replaced after one time to live, and one that let go at once. One that slept longer than
that finds out by the generation whether anybody was there; if not, it goes on under a new number.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from mbats.errors import DataError, MbatsError, RefusedError
from mbats.gcp.objects import BucketName, Objects
from mbats.live.orders.ports import NotHeldError
from mbats.live.wall_clock import elapsed

BUCKET: BucketName = "state"
FOLDER = "leases"
TTL_SECONDS = 20.0
MARGIN = 0.25
"""Share of the time to live that a holder gives away: clocks of two machines may run unlike."""

RENEWALS = 4
"""Renewals tried in one time to live."""

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Record:
    """What the object holds. ``ttl_s`` without a renewal and the lease may be taken over."""

    fencing: int
    holder: str
    token: str
    ttl_s: float
    released: bool = False

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> "Record":
        """Return the record in ``content``. Raises :class:`DataError`: nothing is taken then."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"The lease {name} is damaged: {content[:100]!r}.",
                mend="stop every writer, then restore the object's previous generation: its "
                "fencing number must not go back",
            ) from error


class ObjectLease:
    """The right to be the one writer of ``name``, from :meth:`acquire` to :meth:`release`.

    ``clock`` counts seconds and is not set by anybody; ``wall`` is the time of day in seconds,
    only used to notice jumps. With ``keep`` a thread renews; without, the caller does.
    ``fencing`` is the number of this holding, greater than that of every earlier one.
    """

    def __init__(
        self,
        objects: Objects,
        name: str,
        *,
        ttl_s: float = TTL_SECONDS,
        holder: str = "",
        keep: bool = True,
        clock: Callable[[], float] = elapsed,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._objects = objects
        self._name = f"{FOLDER}/{name}.json"
        self._keep = keep
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._mine = Record(
            fencing=0,
            holder=holder or f"{socket.gethostname()}:{os.getpid()}",
            token=uuid.uuid4().hex,
            ttl_s=ttl_s,
        )
        self.fencing = 0
        self._generation = 0
        self._since: tuple[float, float] | None = None  # clock and wall before the last renewal
        self._why_not = "it was never acquired"
        self._trouble = ""  # what hindered the last renewal
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # renewing and regaining move the generation in turn
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, wait_s: float = 0.0) -> int:
        """Take the lease and return the fencing number.

        Waits up to ``wait_s`` for another holder to let go or to be silent for its time to live.
        Raises :class:`RefusedError` naming the holder where it does neither.
        """
        deadline = self._clock() + wait_s
        seen: tuple[int, float] | None = None
        while True:
            found = self._read()
            now = self._clock()
            if found is None:
                if self._take(Record(0, "", "", 0), 0):
                    return self.fencing
                continue
            record, generation = found
            if seen is None or seen[0] != generation:
                seen = (generation, now)
            if record.released or now - seen[1] >= record.ttl_s:
                if self._take(record, generation):
                    return self.fencing
                continue
            if now >= deadline:
                raise RefusedError(
                    f"The lease {self._name} is held by {record.holder} "
                    f"(fencing {record.fencing}).",
                    tried=[f"waited {wait_s:g} s"],
                    mend=f"stop that process; a dead one's lease ends after {record.ttl_s:g} s",
                )
            self._sleep(min(POLL_SECONDS, deadline - now))

    def check(self) -> None:
        """Raise :class:`NotHeldError` unless the lease is surely still held. Reads no network."""
        with self._lock:
            why_not = self._doubt()
        if why_not:
            raise NotHeldError(
                f"The lease {self._name} is not surely held: {why_not}.",
                mend="nothing is sent without it; start the process again when the other has ended",
            )

    def regain(self) -> None:
        """Hold the lease again, under the next number, if nobody took it since the last renewal.

        Raises :class:`NotHeldError` naming who did: that process is the writer now.
        """
        with self._writing:
            found = self._read()
            # An own token under another number: a regaining whose answer was lost.
            mine = found is not None and found[0].token == self._mine.token
            if found is not None and mine and not found[0].released and self._take(*found):
                return
            taker = self._read()
            with self._lock:
                self._since, self._why_not = None, "another holder took it"
        who = "nobody" if taker is None else f"{taker[0].holder}, fencing {taker[0].fencing}"
        raise NotHeldError(
            f"The lease {self._name} was taken while this process could not renew it.",
            tried=[f"its holder since: {who}", f"this process held fencing {self.fencing}"],
            mend="this process sends nothing any more: the other one is the writer. Stop that one "
            "before you start this one again",
        )

    def renew(self) -> bool:
        """Prolong the lease; return whether that is certain. False leaves the deadline as it was.

        One that ran out is not prolonged: who slept must learn of it, and :meth:`regain`. A lease
        that another took is gone for good: a new one must be acquired.
        """
        with self._writing:
            return self._renew()

    def _renew(self) -> bool:
        with self._lock:
            if self._doubt():
                return False
            generation = self._generation
        before = self._clock(), self._wall()
        try:
            written = self._write(self._mine, generation)
        except RefusedError:
            return self._after_refusal()
        with self._lock:
            if self._since is not None:
                self._generation, self._since, self._trouble = written, before, ""
        return True

    def release(self) -> None:
        """Let go, so that the next holder need not wait. Does nothing where it is lost already."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            held = self._since is not None
            self._since, self._why_not = None, "it was released"
        while held:
            try:
                self._write(replace(self._mine, released=True), self._generation)
                return
            except RefusedError:
                # A renewal whose answer was lost moved the generation; another holder did too.
                held = self._own_generation()

    def __enter__(self) -> "ObjectLease":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _take(self, record: Record, generation: int) -> bool:
        """Try to become the holder after ``record``; return whether that is so."""
        wanted = replace(self._mine, fencing=record.fencing + 1)
        before = self._clock(), self._wall()
        try:
            written = self._write(wanted, generation)
        except RefusedError:
            # Somebody was first; it may have been us, where Google's client sent it twice.
            found = self._read()
            if found is None or found[0] != wanted:
                return False
            written = found[1]
        with self._lock:
            self._mine, self._generation, self._since = wanted, written, before
            self.fencing, self._trouble = wanted.fencing, ""
        if self._keep and (self._thread is None or not self._thread.is_alive()):
            self._ending.clear()
            self._thread = threading.Thread(target=self._renewing, name=self._name, daemon=True)
            self._thread.start()
        return True

    def _renewing(self) -> None:
        """Renew until the lease is released or lost; what fails is tried again."""
        while not self._ending.wait(self._mine.ttl_s / RENEWALS):
            try:
                self.renew()
            except MbatsError as error:
                self._trouble = f": {error.cause}"
            with self._lock:
                if self._since is None:
                    return

    def _after_refusal(self) -> bool:
        """Find out who moved the generation: an own renewal whose answer was lost, or another."""
        if not self._own_generation():
            with self._lock:
                self._since, self._why_not = None, "another holder took it"
        return False

    def _own_generation(self) -> bool:
        """Take over the generation where the object is still ours; return whether it is."""
        found = self._read()
        if found is None or found[0] != self._mine:
            return False
        with self._lock:
            self._generation = found[1]
        return True

    def _doubt(self) -> str:
        """Return why the lease is not surely held, or an empty text."""
        if self._since is None:
            return self._why_not
        passed = self._clock() - self._since[0]
        passed_wall = self._wall() - self._since[1]
        sure_s = self._mine.ttl_s * (1 - MARGIN)
        if passed >= sure_s:
            return f"its last renewal was {passed:.1f} s ago{self._trouble}"
        if not -MARGIN * self._mine.ttl_s < passed_wall - passed < MARGIN * self._mine.ttl_s:
            return f"the time of day jumped by {passed_wall - passed:.1f} s"
        return ""

    def _read(self) -> tuple[Record, int] | None:
        found = self._objects.read(BUCKET, self._name)
        if found is None:
            return None
        content, generation = found
        return Record.from_bytes(content, self._name), generation

    def _write(self, record: Record, generation: int) -> int:
        options: dict[str, Any] = {"content_type": "application/json", "if_generation": generation}
        return self._objects.write(BUCKET, self._name, record.to_bytes(), **options)
