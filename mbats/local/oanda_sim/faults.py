"""What goes wrong, and when: a schedule drawn from a seed, or written down point by point.

A decision depends only on the seed and on how many requests (or stream lines) of its kind came
before, never on the clock. So the same seed and the same sequence of requests meet the same
faults. Reads and writes are counted apart: a client that polls at its own pace does not move
the faults of its orders.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from mbats.errors import ConfigError


class Fault(StrEnum):
    """What can happen to a request or to a stream; :data:`MEANINGS` says what each does."""

    LOSE_REQUEST = "lose_request"
    DROP_ANSWER = "drop_answer"
    DELAY_APPLY = "delay_apply"
    DELAY_ANSWER = "delay_answer"
    RATE_LIMIT = "rate_limit"
    SERVER_ERROR = "server_error"
    SERVER_ERROR_AFTER = "server_error_after"
    RESET = "reset"
    RESET_AFTER = "reset_after"
    CUT_ANSWER = "cut_answer"
    GARBLED_ANSWER = "garbled_answer"
    REFUSE = "refuse"

    CUT = "cut"
    END = "end"
    STALL = "stall"
    MALFORMED = "malformed"
    DUPLICATE = "duplicate"
    UNKNOWN_TYPE = "unknown_type"


MEANINGS = {
    Fault.LOSE_REQUEST: "closed with nothing applied",
    Fault.DROP_ANSWER: "applied, then closed without an answer",
    Fault.DELAY_APPLY: "applied only after the client has timed out",
    Fault.DELAY_ANSWER: "applied at once, answered after the client has timed out",
    Fault.RATE_LIMIT: "429, nothing applied",
    Fault.SERVER_ERROR: "5xx with an HTML body, nothing applied",
    Fault.SERVER_ERROR_AFTER: "5xx with an HTML body, applied",
    Fault.RESET: "TCP reset, nothing applied",
    Fault.RESET_AFTER: "TCP reset, applied",
    Fault.CUT_ANSWER: "applied, the answer ends in mid-body",
    Fault.GARBLED_ANSWER: "applied, a 2xx whose body is not JSON",
    Fault.REFUSE: "nothing applied; connections are refused for a while",
    Fault.CUT: "the stream ends in the middle of a chunk",
    Fault.END: "the stream ends cleanly",
    Fault.STALL: "the stream stays open and says nothing more, no heartbeats either",
    Fault.MALFORMED: "a line that is not JSON",
    Fault.DUPLICATE: "the last transaction line again",
    Fault.UNKNOWN_TYPE: "a transaction line of a type no client knows",
}
STREAM_FAULTS = (
    Fault.CUT, Fault.END, Fault.STALL, Fault.MALFORMED, Fault.DUPLICATE, Fault.UNKNOWN_TYPE,
)  # fmt: skip
REQUEST_FAULTS = tuple(fault for fault in Fault if fault not in STREAM_FAULTS)
_TRANSACTIONS_ONLY = (Fault.DUPLICATE, Fault.UNKNOWN_TYPE)

_LONGEST_REFUSAL = 2.0
STREAMS = ("pricing", "transactions")
KINDS = ("write", "read", *STREAMS)


@dataclass(frozen=True)
class FaultAt:
    """One fault at the ``number``-th (from 1) request or stream line of a kind.

    ``kind`` is write (POST, PUT, PATCH), read (GET), pricing or transactions (lines of that
    stream, counted over all connections). ``seconds`` is how long a delay or a refusal lasts;
    ``status`` the code of a server error.
    """

    kind: str
    number: int
    fault: Fault
    seconds: float = 15.0
    status: int = 503

    def __post_init__(self) -> None:
        allowed = STREAM_FAULTS if self.kind in STREAMS else REQUEST_FAULTS
        if self.kind not in KINDS or self.fault not in allowed:
            raise ConfigError(
                f"{self.fault.value} cannot happen to {self.kind!r}.",
                tried=[f"{self.kind}: {', '.join(allowed)}"],
                mend=f"use one of the kinds {', '.join(KINDS)} and a fault it has",
            )
        if self.kind == "pricing" and self.fault in _TRANSACTIONS_ONLY:
            raise ConfigError(f"{self.fault.value} is of the transaction stream.")


@dataclass(frozen=True)
class FaultPlan:
    """Rates per request or line, drawn with ``seed``, and faults at fixed points.

    ``write_rates`` and ``read_rates`` map request faults to a probability per request,
    ``stream_rates`` stream faults to a probability per line. ``delays`` is the range in seconds a
    delay is drawn from; a drawn refusal lasts two seconds at most. The fixed points of ``at`` come
    first.
    """

    seed: int = 0
    write_rates: Mapping[Fault, float] = field(default_factory=lambda: MappingProxyType({}))
    read_rates: Mapping[Fault, float] = field(default_factory=lambda: MappingProxyType({}))
    stream_rates: Mapping[Fault, float] = field(default_factory=lambda: MappingProxyType({}))
    delays: tuple[float, float] = (11.0, 20.0)
    at: tuple[FaultAt, ...] = ()

    def decide(self, kind: str, number: int) -> FaultAt | None:
        """Return what happens to the ``number``-th request or line of ``kind``, or None."""
        for fixed in self.at:
            if (fixed.kind, fixed.number) == (kind, number):
                return fixed
        rates = self._rates(kind)
        if not rates:
            return None
        dice = random.Random(f"{self.seed}/{kind}/{number}")
        roll = dice.random()
        for fault, rate in sorted(rates.items()):
            if roll < rate:
                seconds = dice.uniform(*self.delays)
                if fault is Fault.REFUSE:
                    seconds = min(seconds, _LONGEST_REFUSAL)
                return FaultAt(kind, number, fault, seconds, dice.choice((500, 502, 503)))
            roll -= rate
        return None

    def _rates(self, kind: str) -> Mapping[Fault, float]:
        if kind == "pricing":
            return {f: r for f, r in self.stream_rates.items() if f not in _TRANSACTIONS_ONLY}
        if kind == "transactions":
            return self.stream_rates
        return self.write_rates if kind == "write" else self.read_rates


def storm(seed: int, rate: float = 0.1) -> FaultPlan:
    """Return a plan in which every fault happens: writes and reads fail at ``rate`` in all.

    Stream lines fail at a twentieth of it, so that streams live long enough to be useful.
    """
    each = rate / len(REQUEST_FAULTS)
    line = rate / 20 / len(STREAM_FAULTS)
    return FaultPlan(
        seed=seed,
        write_rates=dict.fromkeys(REQUEST_FAULTS, each),
        read_rates=dict.fromkeys(REQUEST_FAULTS, each),
        stream_rates=dict.fromkeys(STREAM_FAULTS, line),
    )


class FaultSchedule:
    """A plan being lived through: counts requests and lines, and remembers what it did."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.counts = dict.fromkeys(KINDS, 0)
        self.happened: list[FaultAt] = []
        self._next: dict[str, list[FaultAt]] = {kind: [] for kind in KINDS}

    def next(self, kind: str) -> FaultAt | None:
        """Count one request or line of ``kind`` and return its fault, or None."""
        self.counts[kind] += 1
        number = self.counts[kind]
        queued = self._next[kind]
        fault = queued.pop(0) if queued else self.plan.decide(kind, number)
        if fault is not None:
            self.happened.append(fault)
        return fault

    def inject(self, fault: FaultAt) -> None:
        """Let ``fault`` happen to the next request or line of its kind."""
        self._next[fault.kind].append(fault)
