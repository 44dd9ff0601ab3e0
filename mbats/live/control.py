"""The trading state of an account: who set it, when and why. It survives everything.

It lives outside every bot, as one small record that is replaced only by whoever has read the one
before it, so that two people never overwrite each other's order unseen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from mbats.errors import DataError, RefusedError
from mbats.trading.risk.context import TradingState

HISTORY = 50
"""How many earlier states the record keeps: the audit that needs no other service."""

_ATTEMPTS = 10


@dataclass(frozen=True)
class TradingOrder:
    """What the desk may do on an account, and who says so. ``number`` counts the changes.

    ``flat`` says that a halt was ordered by flattening: whatever arrives late is closed, too.
    """

    state: TradingState = TradingState.ACTIVE
    by: str = ""
    why: str = ""
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    number: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    flat: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return it in plain JSON values."""
        return {**self._line(), "history": list(self.history)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "TradingOrder":
        """Return what :meth:`to_record` wrote. Raises :class:`DataError` for anything else."""
        try:
            return cls(
                state=TradingState(record["state"]),
                by=str(record["by"]),
                why=str(record["why"]),
                at=datetime.fromisoformat(record["at"]),
                number=int(record["number"]),
                history=tuple(record["history"]),
                flat=bool(record.get("flat", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"The record of the trading state cannot be read: {error!r}.",
                mend="`mbats halt --yes` writes it anew",
            ) from error

    def next(
        self, state: TradingState, by: str, why: str, at: datetime, *, flat: bool = False
    ) -> "TradingOrder":
        """Return the state that follows this one."""
        history = (*self.history, self._line())[-HISTORY:] if self.number else ()
        return TradingOrder(state, by, why, at, self.number + 1, history, flat)

    def _line(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "by": self.by,
            "why": self.why,
            "at": self.at.isoformat(),
            "number": self.number,
            "flat": self.flat,
        }


def encode(order: TradingOrder) -> bytes:
    """Return the bytes that are stored."""
    return json.dumps(order.to_record(), indent=1).encode()


def decode(stored: bytes) -> TradingOrder:
    """Return what was stored. Raises :class:`DataError` for bytes that are something else."""
    try:
        record = json.loads(stored)
    except ValueError as error:
        raise DataError(
            "The record of the trading state is not JSON.",
            mend="`mbats halt --yes` writes it anew",
        ) from error
    return TradingOrder.from_record(record)


class ControlStore(Protocol):
    """Where the trading state of one account is kept."""

    def read(self) -> tuple[TradingOrder, int]:
        """Return the state and the generation it was read at; active and 0 where none is set.

        Raises :class:`~mbats.errors.NotReadyError` where the store does not answer and
        :class:`DataError` for a record that cannot be read.
        """
        ...

    def generation(self) -> int:
        """Return the generation of the record, 0 where there is none, whatever it holds."""
        ...

    def write(self, order: TradingOrder, generation: int) -> None:
        """Replace the record of ``generation``. Raises :class:`RefusedError` for another's."""
        ...


def set_state(
    store: ControlStore, state: TradingState, by: str, why: str, now: datetime, *,
    flat: bool = False,
) -> tuple[TradingOrder, bool]:  # fmt: skip
    """Write a state durably; return what is now in force, and whether that is a change.

    Setting the state that is in force changes nothing, and a halt takes nothing back of one that is
    to be ``flat``. Halting works over a record that cannot be
    read. Raises :class:`RefusedError` where reducing would loosen a halt.
    """
    for _ in range(_ATTEMPTS):
        current, generation = _current(store, state)
        if current.number and current.state is state and current.flat >= flat:
            return current, False
        if state is TradingState.REDUCING and current.state is TradingState.HALTED:
            raise RefusedError(
                "The desk is halted; reducing would allow orders that a halt forbids.",
                tried=[f"halted by {current.by} at {current.at:%Y-%m-%d %H:%M:%S} UTC"],
                mend="`mbats flatten` closes positions; `mbats resume` ends the halt",
            )
        wanted = current.next(state, by, why, now, flat=flat)
        try:
            store.write(wanted, generation)
        except RefusedError:
            continue  # another was first: look again at what is in force
        return wanted, True
    raise RefusedError(
        f"The trading state was changed by others {_ATTEMPTS} times in a row.",
        mend="find out who else is at the kill switch, then run it again",
    )


def _current(store: ControlStore, wanted: TradingState) -> tuple[TradingOrder, int]:
    try:
        return store.read()
    except DataError:
        if wanted is not TradingState.HALTED:
            raise
        return TradingOrder(), store.generation()


class MemoryControl:
    """A trading state that lives as long as its process: for paper sessions without a stack."""

    def __init__(self) -> None:
        self._order = TradingOrder()
        self._generation = 0

    def read(self) -> tuple[TradingOrder, int]:
        """Return the state and its generation."""
        return replace(self._order), self._generation

    def generation(self) -> int:
        """Return the generation."""
        return self._generation

    def write(self, order: TradingOrder, generation: int) -> None:
        """Replace the state of ``generation``."""
        if generation != self._generation:
            raise RefusedError("Another was first.")
        self._order, self._generation = order, generation + 1
