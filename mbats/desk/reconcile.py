"""The composition root of the end-of-day proof: brings the evidence, repairs, and remembers."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from mbats.config import Settings
from mbats.desk.stores import Desk
from mbats.desk.switch import journal_name, kill_switch
from mbats.errors import DataError, MbatsError, NotReadyError
from mbats.gcp.control import ControlObject
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.publisher import EventPublisher, Publisher
from mbats.live.events import Event
from mbats.live.orders.book import Book
from mbats.live.orders.ports import AccountState, Broker
from mbats.live.orders.transactions import Transaction
from mbats.live.proof import NOT_FLAT, Evidence, Finding, Proof, prove
from mbats.live.recovery import first_checkpoint
from mbats.local.paper import is_paper
from mbats.market.session import FX

log = logging.getLogger(__name__)

RECONCILED, MISMATCH = "RECONCILED", "RECONCILIATION_MISMATCH"
_READS = 20
_LEAD = timedelta(minutes=1)
CLOSING = timedelta(seconds=30)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one account's proof. ``skipped`` says why there is none."""

    account: str
    proof: Proof | None = None
    repaired: Sequence[Finding] = ()
    skipped: str = ""

    @property
    def open(self) -> list[Finding]:
        """What was found and not repaired."""
        found = [] if self.proof is None else self.proof.findings
        return [finding for finding in found if finding not in self.repaired]


def trading_day(moment: datetime) -> date:
    """Return the trading day that ends at 17:00 New York; a weekend counts as its Friday."""
    day = FX.day_of(moment).date
    return day - timedelta(days=max(0, day.weekday() - 4))


def accounts_on(desk: Desk, day: date, now: datetime) -> list[str]:
    """Return the accounts that had a session on a trading day."""
    return sorted({str(run["account"]) for run in sessions_on(desk, day, now) if run["account"]})


def sessions_on(desk: Desk, day: date, now: datetime, *, ended: bool = False) -> list[Row]:
    """Return the sessions that ran on a trading day; with ``ended``, those that ended on it."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=now.tzinfo)
    around = desk.risk_store.sessions(noon - timedelta(days=2), noon + timedelta(days=4))
    found: list[Row] = []
    for run in around:
        first, last = trading_day(run["started_at"]), trading_day(run["ended_at"] or now)
        over = run["ended_at"] is not None
        if (over and last == day) if ended else first <= day <= last:
            found.append(run)
    return found


def traded_accounts(desk: Desk) -> list[str]:
    """Return every account that a bot of this desk has a journal of."""
    folder = f"journals/{journal_name('')}"
    names = (stored.name.removeprefix(folder) for stored in desk.objects.list("state", folder))
    return sorted({name.partition("/")[0] for name in names})


def proven_book(desk: Desk, account: str) -> Book | None:
    """Return an account where its last proof ended; None before the first."""
    return _Cursor(desk, account).book()


def reconcile(
    desk: Desk, account: str, now: datetime, settled_at: datetime, *, repair: bool = False
) -> Outcome:
    """Prove one account and tell every finding; where asked to, publish missing rows again, and
    close what arrived after the account was flattened.

    Rows of what happened after ``settled_at`` may still be on their way. The next proof begins
    where this one ended, if all agreed. Raises :class:`NotReadyError` where the broker or a store
    does not answer.
    """
    try:
        broker = _broker(desk.settings, account)
    except DataError as error:
        if not is_paper(account):
            raise
        return Outcome(account, skipped=error.cause)
    cursor = _Cursor(desk, account)
    records = ObjectJournal(desk.objects, journal_name(account)).records()
    evidence = _evidence(desk, account, broker, records, cursor.book(), settled_at)
    proof = prove(evidence)
    publisher = Publisher(desk.settings)
    try:
        events = EventPublisher(publisher)
        repaired = _repair(desk, account, proof, evidence.rows, events, now) if repair else []
        repaired += _closed(desk, account, proof) if repair else []
        outcome = Outcome(account, proof, repaired)
        _tell(outcome, events, now)
        events.flush()
    finally:
        publisher.close()
    if proof.clean:
        cursor.write(proof.book)
    return outcome


def _broker(settings: Settings, account: str) -> Broker:
    from mbats.local.paper import at_broker
    from mbats.vendors.oanda_broker import OandaBroker
    from mbats.vendors.oanda_client import connect, session

    there = at_broker(settings, account)
    return OandaBroker(session(there), connect(there), account, {})


def _evidence(
    desk: Desk, account: str, broker: Broker, records: Sequence[Row], proven: Book | None,
    settled_at: datetime,
) -> Evidence:  # fmt: skip
    book = proven or first_checkpoint(records)
    state, transactions, book = _read(broker, book)
    first = min((t.time for t in transactions), default=settled_at)
    return Evidence(
        book, transactions, state, records,
        desk.risk_store.account_rows(account, first - _LEAD), settled_at,
        flat=ControlObject(desk.objects, account).read()[0].flat,
    )  # fmt: skip


def _read(broker: Broker, book: Book | None) -> tuple[AccountState, Sequence[Transaction], Book]:
    """Return the account and the log that led to it; both stand still while they are read."""
    for _ in range(_READS):
        state = broker.state()
        start = book or Book.opened_at(state)
        page = broker.transactions_since(start.cursor)
        if page.last_id == state.last_id:
            return state, page.transactions, start
    raise NotReadyError(
        f"Account {state.account} changes faster than it can be read.",
        mend="run it again when the market is calmer, or closed",
    )


def _repair(
    desk: Desk, account: str, proof: Proof, rows: Mapping[str, Sequence[Row]],
    events: EventPublisher, now: datetime,
) -> list[Finding]:  # fmt: skip
    """Publish missing rows again, under their own ids, for the run that should have told them."""
    missing = [finding for finding in proof.findings if finding.mend is not None]
    if not missing:
        return []
    runs = {row["order_key"]: str(row["run_id"]) for told in rows.values() for row in told}
    first = min(f.mend.row["time"] for f in missing if f.mend)
    sessions = [s for s in desk.risk_store.sessions(first, now) if s["account"] == account]
    for finding in missing:
        assert finding.mend is not None
        row = finding.mend.row
        run_id = runs.get(row["order_key"]) or _session_at(sessions, row["time"], account)
        events(replace(finding.mend, row={**row, "run_id": run_id}))
    return missing


def _closed(desk: Desk, account: str, proof: Proof) -> list[Finding]:
    """Close what arrived after the account was flattened; return the findings that this mends.

    Where something is left none is mended, and all are told.
    """
    late = [finding for finding in proof.findings if finding.kind == NOT_FLAT]
    if not late:
        return []
    why = f"not flat: {', '.join(finding.subject for finding in late)}"
    try:
        kill_switch(desk, account, "reconcile").flatten(why, CLOSING)
    except MbatsError as error:
        log.critical("what came after the flattening is not closed: %s", error)
        return []
    return late


def _session_at(sessions: Sequence[Row], moment: datetime, account: str) -> str:
    """Return the run of the newest session that had begun by ``moment``."""
    begun = [str(s["run_id"]) for s in sessions if s["started_at"] <= moment]
    return begun[-1] if begun else _run_id(account)


def _tell(outcome: Outcome, events: EventPublisher, now: datetime) -> None:
    """Tell the result, and each finding, as risk events; findings raise an alert by their log."""
    proof = outcome.proof
    assert proof is not None
    for finding in proof.findings:
        mended = finding in outcome.repaired
        extra = {"account": proof.account, "code": finding.kind, "event": "reconciliation_mismatch"}
        said = f"{finding.kind} {finding.subject}: {finding.detail}"
        log.critical("%s%s", said, " (mended)" if mended else "", extra=extra)
        about = f"{finding.kind}-{finding.subject}"
        events(_event(proof, MISMATCH, "warning" if mended else "critical", said, about, now))
    figures = {
        "since": proof.since, "reached": proof.reached, "fills": proof.fills,
        "order_events": proof.order_events, "findings": len(proof.findings),
        "repaired": len(outcome.repaired),
    }  # fmt: skip
    if proof.clean:
        said = f"The log, the journal and the risk store agree: {proof.fills} fills."
        made = _event(proof, RECONCILED, "info", said, "all", now)
        events(replace(made, row={**made.row, "figures": figures}))


def _event(proof: Proof, code: str, severity: str, detail: str, about: str, now: datetime) -> Event:
    """Return a risk event whose id is the finding's: told twice, it is one row."""
    run_id = _run_id(proof.account)
    row = {
        "event_id": f"{run_id}-{proof.since}-{proof.reached}-{about}-{severity}",
        "run_id": run_id,
        "time": now,
        "code": code,
        "severity": severity,
        "detail": detail,
        "account": proof.account,
        "actor": "reconcile",
    }
    return Event("risk_event", row)


def _run_id(account: str) -> str:
    return f"reconcile-{account}"


class _Cursor:
    """Where the last proof of an account ended: its book then, in the ``state`` bucket."""

    def __init__(self, desk: Desk, account: str) -> None:
        self._objects = desk.objects
        self._account = account
        self._name = f"reconciled/{account}.json"
        self._generation = 0

    def book(self) -> Book | None:
        """Return the book at the end of the last proof; None before the first."""
        found = self._objects.read("state", self._name)
        if found is None:
            return None
        content, self._generation = found
        try:
            return Book.from_record(json.loads(content))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"The last proof of account {self._account} is damaged: {error!r}.",
                mend=f"remove {self._objects.address('state', self._name)}: the next proof begins "
                "at the journal's first checkpoint",
            ) from error

    def write(self, book: Book) -> None:
        """Remember. Raises :class:`RefusedError` where another proof was first."""
        self._objects.write(
            "state",
            self._name,
            json.dumps(book.to_record()).encode(),
            content_type="application/json",
            if_generation=self._generation,
        )
