"""The kill switch: it needs no bot, no strategy and no trust in either.

Halting and reducing write the trading state where every bot looks. Flattening also goes to the
broker itself, with credentials of its own, and repeats what is harmless to repeat until nothing is
left. A bot that is dead, frozen or wild changes nothing about that.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from mbats.errors import MbatsError, NotReadyError, RefusedError
from mbats.live.control import ControlStore, TradingOrder, set_state
from mbats.live.events import Event, denial
from mbats.live.orders.ports import Clock
from mbats.trading.risk.context import TradingState

RUN = "kill-switch"
PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
WRITING_SECONDS, TELLING_SECONDS = 5.0, 5.0
"""How long flattening waits, once all is flat, for the halt to be written, and to be told to bots
and to the audit. Both go on beside it."""

WATCH = timedelta(seconds=60)
"""How long a flattened account is watched for orders on their way: an entry lives ten seconds by
the bot's clock, which may be wrong by as much as prices may be old, and more than that is left."""


class NotFlatError(MbatsError):
    """Positions or orders are left at the broker: act by hand, at once."""

    exit_code = 7


@dataclass(frozen=True)
class Holdings:
    """What is left at the broker. ``orders`` are entries; legs go with their trades.

    ``positions`` are (long units, short units) by instrument, both without sign. ``legs`` are
    orders that belong to a trade.
    """

    positions: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    orders: tuple[int, ...] = ()
    legs: tuple[int, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether nothing is left."""
        return not (self.positions or self.orders or self.legs)


class Closer(Protocol):
    """The broker as the kill switch knows it. What it asks for may be asked any number of times."""

    def holdings(self) -> Holdings:
        """Return what is left. Raises :class:`NotReadyError` where the broker does not answer."""
        ...

    def cancel(self, order_id: int) -> str:
        """Ask for a cancel; return what was said, for people."""
        ...

    def close(self, instrument: str, *, long: bool, short: bool) -> str:
        """Ask to close all of the sides that exist; return what was said, for people."""
        ...


@dataclass
class Report:
    """What the kill switch did. ``state`` is None where it could not be written.

    ``seconds`` is how long it took until all was flat, ``watched`` for how long it looked on, and
    ``came`` what was done about orders that arrived meanwhile.
    """

    account: str
    state: TradingOrder | None = None
    changed: bool = False
    flat: bool = False
    seconds: float = 0.0
    watched: float = 0.0
    done: list[str] = field(default_factory=list)
    came: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Halting:
    """A halt that is written and told in a thread, which may hang without holding up anything."""

    written: Future[Report]
    thread: threading.Thread


class KillSwitch:
    """One account's switch, in the hand of ``actor``.

    ``announce`` tells bots at once (they look for themselves every second); ``audit`` takes a risk
    event. Neither may stop the switch: what they raise is reported.
    """

    def __init__(
        self,
        account: str,
        actor: str,
        store: Callable[[], ControlStore],
        closer: Closer,
        clock: Clock,
        sleep: Callable[[float], None],
        announce: Callable[[TradingOrder], None],
        audit: Callable[[Event], None],
    ) -> None:
        self._account = account
        self._actor = actor
        self._store = store
        self._closer = closer
        self._clock = clock
        self._sleep = sleep
        self._announce = announce
        self._audit = audit

    def halt(self, why: str, *, flat: bool = False) -> Report:
        """Forbid every order; ``flat`` says that all is to be closed, too, whoever does it."""
        return self._set(TradingState.HALTED, why, flat=flat)

    def reduce(self, why: str) -> Report:
        """Allow only orders that shrink a position."""
        return self._set(TradingState.REDUCING, why)

    def resume(self, why: str, prove: Callable[[], None]) -> Report:
        """Allow trading again, if ``prove`` does not raise: the account must reconcile."""
        try:
            prove()
        except MbatsError as error:
            self._told(Report(self._account), "RESUME_REFUSED", "error", str(error))
            raise
        return self._set(TradingState.ACTIVE, why)

    def flatten(
        self,
        why: str,
        within: timedelta,
        watch: timedelta = timedelta(0),
        flat: Callable[[Report], None] = lambda report: None,
    ) -> Report:
        """Halt, cancel every order, close every position; return when nothing is left.

        An order may be on its way, of a bot that froze as it sent it: so ``flat`` is called as soon
        as nothing is left, and then whatever arrives is closed for as long as ``watch``.

        The halt is written beside the closing, not before it: a store that does not answer must
        not keep positions open, nor anybody from hearing that they are closed. Raises
        :class:`NotFlatError` where something is left after ``within``, and :class:`NotReadyError`
        where all is flat but the halt is not written.
        """
        began = self._clock.now()
        report = Report(self._account)
        halting = self._halt_aside(why)
        left = self._close_all(report, began + within)
        # A bot may have sent an order before it saw the halt: look again after it is written.
        self._take_halt(report, halting, WRITING_SECONDS if watch else within.total_seconds())
        if left is not None and left.flat:
            left = self._close_all(report, max(self._clock.now(), began + within))
        report.seconds = (self._clock.now() - began).total_seconds()
        report.flat = left is not None and left.flat
        if report.flat:
            flat(report)
        halting.thread.join(TELLING_SECONDS)
        severity = "warning" if report.flat else "critical"
        said = "; ".join(report.done) or "nothing was open"
        self._told(report, "FLATTENED" if report.flat else "NOT_FLAT", severity, f"{why}: {said}")
        if report.flat and watch:
            left = self._watch(report, why, watch, within, halting)
        self._take_halt(report, halting, 0.0)
        self._require(report, left)
        return report

    def _watch(
        self, report: Report, why: str, watch: timedelta, within: timedelta, halting: _Halting
    ) -> Holdings | None:
        """Close what arrives, and write the halt where that failed; return what is left.

        Ctrl-C ends the watch, and nothing else.
        """
        began = self._clock.now()
        problems, report.problems = report.problems, []
        left: Holdings | None = Holdings()
        try:
            while self._clock.now() - began < watch:
                self._sleep(LONGEST_PAUSE_SECONDS)
                if report.state is None:
                    halting = self._halt_again(report, why, halting)
                left = self._look_on(report, why, within)
                if left is not None and not left.flat:
                    break
        except KeyboardInterrupt:
            report.problems.append("the watch for orders on their way was broken off by hand")
        report.problems = list(dict.fromkeys([*problems, *report.problems]))
        report.watched = (self._clock.now() - began).total_seconds()
        report.flat = left is not None and left.flat
        return left

    def _look_on(self, report: Report, why: str, within: timedelta) -> Holdings | None:
        """Look once, and close what has arrived; return what is left."""
        before = len(report.done)
        left = self._close_all(report, self._clock.now() + within)
        came = report.done[before:]
        if came:
            report.came += came
            flat = left is not None and left.flat
            code, severity = ("CLOSED_LATE", "warning") if flat else ("NOT_FLAT", "critical")
            self._told(report, code, severity, f"{why}: {'; '.join(came)}")
        return left

    def _require(self, report: Report, left: Holdings | None) -> None:
        if not report.flat:
            raise NotFlatError(
                f"Account {self._account} is not flat after {report.seconds:.1f} s.",
                tried=[f"left: {left}" if left else "the broker did not answer", *report.problems],
                mend="run `mbats flatten --yes` again, and close by hand on the broker's own site",
            )
        if report.state is None:
            raise NotReadyError(
                f"Account {self._account} is flat, but the halt could not be written: a bot that "
                "still runs may trade again.",
                tried=report.problems,
                mend="stop the bot, then `mbats halt --yes`",
            )

    def _close_all(self, report: Report, deadline: datetime) -> Holdings | None:
        """Cancel and close until flat or late; return what is left, None where nobody knows."""
        pause = PAUSE_SECONDS
        while True:
            left = self._holdings(report)
            if left is not None and left.flat:
                return left
            if left is not None:
                self._close_once(left, report)
            if self._clock.now() >= deadline:
                return left
            if left is None:
                self._sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            after = self._holdings(report)
            if after is not None and after.flat:
                return after
            self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _close_once(self, left: Holdings, report: Report) -> None:
        """Entries first, so that nothing new opens; legs protect a trade until it is closed."""
        for order_id in left.orders:
            report.done.append(f"cancel {order_id}: {self._closer.cancel(order_id)}")
        for instrument, (long, short) in left.positions.items():
            said = self._closer.close(instrument, long=bool(long), short=bool(short))
            report.done.append(f"close {instrument} ({long} long, {short} short): {said}")
        if not left.positions:
            for order_id in left.legs:
                report.done.append(f"cancel {order_id}: {self._closer.cancel(order_id)}")

    def _holdings(self, report: Report) -> Holdings | None:
        try:
            return self._closer.holdings()
        except (NotReadyError, OSError) as error:
            report.problems.append(str(error))
            return None

    def _halt_aside(self, why: str) -> _Halting:
        """Write the halt, then tell of it, beside everything else."""
        written: Future[Report] = Future()

        def write() -> None:
            try:
                report = self._written(TradingState.HALTED, why, flat=True)
            except Exception as error:  # noqa: BLE001 - whoever waits for the result raises it
                written.set_exception(error)
                return
            written.set_result(report)
            self._spread(report, why)

        thread = threading.Thread(target=write, name="halt", daemon=True)
        thread.start()
        return _Halting(written, thread)

    def _halt_again(self, report: Report, why: str, halting: _Halting) -> _Halting:
        """Look whether the halt is written by now; begin anew where that has failed."""
        if not halting.written.done():
            return halting
        self._take_halt(report, halting, 0.0)
        return halting if report.state is not None else self._halt_aside(why)

    def _take_halt(self, report: Report, halting: _Halting, seconds: float) -> None:
        """Take up what the halt has come to; what it says, it says once."""
        try:
            halted = halting.written.result(timeout=seconds)
        except NotInTime:
            said = ["the halt is not written yet"]
        except (MbatsError, OSError) as error:
            said = [f"the halt was not written: {error}"]
        else:
            report.state, report.changed = halted.state, halted.changed
            said = list(halted.problems)
        report.problems += [problem for problem in said if problem not in report.problems]

    def _set(self, state: TradingState, why: str, *, flat: bool = False) -> Report:
        report = self._written(state, why, flat=flat)
        self._spread(report, why)
        return report

    def _written(self, state: TradingState, why: str, *, flat: bool) -> Report:
        report = Report(self._account)
        report.state, report.changed = set_state(
            self._store(), state, self._actor, why, self._clock.now(), flat=flat
        )
        return report

    def _spread(self, report: Report, why: str) -> None:
        """Tell bots of a state at once, and the audit if it is a new one."""
        assert report.state is not None
        try:
            self._announce(report.state)
        except (MbatsError, OSError) as error:
            report.problems.append(f"bots were not told at once, they look each second: {error}")
        if report.changed:
            self._told(report, f"STATE_{report.state.state.upper()}", "warning", why)

    def _told(self, report: Report, code: str, severity: str, detail: str) -> None:
        values = {"account": self._account, "severity": severity, "actor": self._actor}
        event = denial(f"{RUN}-{self._account}", code, detail, self._clock.now(), values)
        try:
            self._audit(event)
        except (MbatsError, OSError) as error:
            report.problems.append(f"the audit event {code} was not published: {error}")


def refuse_unless_asked(answer: bool) -> None:
    """Raise :class:`RefusedError` unless a person has said yes."""
    if not answer:
        raise RefusedError("Not confirmed: nothing was changed.", mend="add --yes")
