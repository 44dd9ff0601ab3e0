"""The risk guard: watches every account's portfolio limits and pulls its kill switch, once.

It believes no bot: it follows the events on its own, and closes at the broker with the kill
switch's own credentials. A broken limit is written down before the switch is pulled and after, so
that a guard that dies in between is continued by the next event, and one that does not changes
nothing. It pulls again where an order of the desk fills in an account that was flattened: it was on
its way then. What a person opens there by hand is theirs.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from mbats.desk.events.delivery import Delivery, Say
from mbats.errors import DataError, MbatsError, NotReadyError, RefusedError
from mbats.gcp import messages
from mbats.gcp.objects import Objects
from mbats.gcp.records import Record
from mbats.live import portfolio_watch
from mbats.live.control import ControlStore
from mbats.live.events import UNCLAIMED, Event
from mbats.live.killswitch import Report
from mbats.live.portfolio_watch import Pull, Watched
from mbats.trading.risk.context import TradingState

ACTOR = "risk-guard"
CODE = "GUARD_PULLED"
NOT_FLAT = "NOT_FLAT"
FOLDER = "guard"
AGAIN = timedelta(seconds=45)
"""A pull that has not ended by then has died: the next event of the account takes it up."""

_ATTEMPTS = 20
_WATCHED = ("heartbeat", "fill")


class Guard:
    """Guards every account that events speak of.

    ``halt`` writes the halt (as `mbats halt`), ``flatten`` closes all at the broker (as `mbats
    flatten`) and returns what was done; ``publish`` takes the event that says so, and returns when
    it is stored. ``limits`` are as :func:`~mbats.live.portfolio_watch.limits_of` reads them.
    """

    def __init__(
        self,
        objects: Objects,
        control: Callable[[str], ControlStore],
        halt: Callable[[str, str], Report],
        flatten: Callable[[str, str], str],
        publish: Callable[[Event], None],
        limits: str,
        now: Callable[[], datetime],
        say: Say,
    ) -> None:
        self._objects = objects
        self._control = control
        self._halt = halt
        self._flatten = flatten
        self._publish = publish
        self._limits = limits
        self._now = now
        self._say = say

    def take(self, delivery: Delivery) -> None:
        """Follow one event; pull the switch where its account breaks a limit.

        Raises :class:`DataError` for a malformed event and :class:`NotReadyError` where a pull
        for it is not complete: the event must be delivered again.
        """
        table = delivery.attributes.get(messages.TABLE, "")
        if table not in _WATCHED:
            if messages.TOPIC_OF_TABLE.get(table) != delivery.topic:
                raise DataError(f"A message on {delivery.topic} names the table {table!r:.80}.")
            return
        row = messages.decode_event(table, delivery.data)
        account = portfolio_watch.account_of(table, row)
        if account is None:
            return
        by = str(row.get("event_id") or f"{row['source']}-{row['time'].isoformat()}")
        watched, mine = self._follow(account, table, row, by)
        if mine:
            self._pull(watched)
        elif watched.pull is not None and watched.pull.by == by and not watched.pull.done:
            raise NotReadyError(
                f"The kill switch of {account} is being pulled for this very event.",
                mend="it is delivered again, in case that does not end",
            )

    def _follow(self, account: str, table: str, row: messages.Row, by: str) -> tuple[Watched, bool]:
        """Take the event in; return what is known and whether this delivery is to pull."""
        record = self._record(account)
        for _ in range(_ATTEMPTS):
            document, generation = record.read()
            before = Watched.from_record(document) if document else Watched(account)
            after = portfolio_watch.take(self._seen(before), table, row)
            after = self._judged(after, by, table, row)
            mine = after.pull is not None and after.pull != before.pull
            if after == before:
                return before, False
            try:
                record.write(after.to_record(), generation)
            except RefusedError:
                continue  # another event of this account was first
            return after, mine
        raise NotReadyError(f"Too many events of {account} at once.", mend="it is delivered again")

    def _seen(self, watched: Watched) -> Watched:
        """Return what is watched, begun anew where a person has resumed since the pull."""
        if watched.pull is None or not watched.pull.done:
            return watched
        order, _ = self._control(watched.account).read()
        if order.state is TradingState.HALTED or order.number <= watched.pull.number:
            return watched
        return portfolio_watch.resumed(watched, order.at)

    def _judged(self, watched: Watched, by: str, table: str, row: messages.Row) -> Watched:
        """Return it with the pull that this event asks for, newly or because one broke off."""
        now, pull = self._now(), watched.pull
        if pull is not None and not pull.done:
            died = pull.failed or now - pull.at > AGAIN
            return replace(watched, pull=replace(pull, at=now, failed=False)) if died else watched
        if table == "fill" and (pull is None or now - pull.at > AGAIN):
            held = self._filled_though_flat(watched, row)
            if held:
                return replace(watched, pull=Pull(by, NOT_FLAT, held, now))
        if pull is not None:
            return watched
        limits = portfolio_watch.limits_of(watched.account, self._limits)
        found = portfolio_watch.breaches(watched, limits)
        if not found:
            return watched
        why = "; ".join(f"{denied.code}: {denied.detail}" for denied in found)
        return replace(watched, pull=Pull(by, found[0].code, why, now))

    def _filled_though_flat(self, watched: Watched, fill: messages.Row) -> str:
        """Return what an order of the desk has left in a flattened account; nothing, if it has."""
        held = watched.positions[fill["instrument"]].units
        if not held or fill["strategy"] == UNCLAIMED:
            return ""
        order, _ = self._control(watched.account).read()
        if order.state is not TradingState.HALTED or not order.flat or fill["time"] < order.at:
            return ""
        return f"{held} {fill['instrument']} held after {order.by} had flattened the account"

    def _pull(self, watched: Watched) -> None:
        pull, account = watched.pull, watched.account
        assert pull is not None
        why = f"risk guard: {pull.why}"
        try:
            report = self._halt(account, why)
            self._say("halted", severity="CRITICAL", account=account, code=pull.code, why=pull.why,
                      changed=report.changed)  # fmt: skip
            self._publish(_event(watched, pull, f"{why}. Halted; closing all positions."))
            self._say("flattened", severity="WARNING", account=account,
                      done=self._flattened(account, why))  # fmt: skip
        except (MbatsError, OSError) as error:
            self._ended(account, pull, failed=True)
            raise NotReadyError(
                f"The kill switch of {account} is not fully pulled: {error}",
                mend="the guard tries again; `mbats flatten --yes` does it by hand",
            ) from error
        self._ended(account, pull, done=True, number=report.state.number if report.state else 0)

    def _flattened(self, account: str, why: str) -> str:
        try:
            return self._flatten(account, why)
        except DataError as error:  # a paper account whose bot is gone has no broker to ask
            return error.cause

    def _ended(self, account: str, pull: Pull, **how: Any) -> None:
        """Write down how a pull ended, unless somebody else has taken it up."""
        record = self._record(account)
        for _ in range(_ATTEMPTS):
            document, generation = record.read()
            known = Watched.from_record(document) if document else Watched(account)
            if known.pull != pull:
                return
            try:
                record.write(replace(known, pull=replace(pull, **how)).to_record(), generation)
            except RefusedError:
                continue
            return
        raise NotReadyError(f"Too many events of {account} at once.", mend="it is delivered again")

    def _record(self, account: str) -> Record:
        return Record(self._objects, "state", f"{FOLDER}/{account}.json")


def _event(watched: Watched, pull: Pull, detail: str) -> Event:
    """Return the event that says so: the same for the same cause, however often it is made."""
    figures: dict[str, Any] = {
        "net_asset_value": str(watched.value),
        "day_start_value": str(watched.start),
        "peak_value": str(watched.peak),
        "positions": {name: str(held.units) for name, held in watched.positions.items()},
    }
    row = {
        "event_id": f"{ACTOR}-{pull.by}-{pull.code}",
        "run_id": f"{ACTOR}-{watched.account}",
        "time": pull.at,
        "code": CODE,
        "severity": "critical",
        "detail": detail,
        "account": watched.account,
        "figures": figures,
        "actor": ACTOR,
    }
    return Event("risk_event", row)
