"""What people are told: a risk event in words, with what to do about it.

Two kinds of document are read: a row of ``risk.risk_event``, and an incident of Cloud Monitoring
(https://cloud.google.com/monitoring/support/notification-options#schema-pubsub).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mbats.errors import DataError

SEVERITIES = ("info", "warning", "error", "critical")
"""From the least to the worst."""

LINES = 20
"""How many notices a digest spells out."""

DETAIL = 1_000
"""Characters of a notice's detail that are told; the risk store has all of it."""

ALERT_OVER = "ALERT_OVER"
"""Code of a notice that an incident has ended."""

_MARKS = {"info": "ℹ️", "warning": "⚠️", "error": "❗", "critical": "🚨"}

_TO_DO: Mapping[str, str] = {
    "CONTROL_FILE_REFUSED": "read the report beside the file, correct the file, put it again",
    "DAG_FAILED": "open the task's log; clear the task once the cause is mended",
    "DAILY_LOSS": "look at the fills; `mbats resume` once the account reconciles",
    "DRAWDOWN": "look at the fills; `mbats resume` once the account reconciles",
    "FLATTENED": "`mbats resume` once the account reconciles",
    "GUARD_PULLED": "look at the account at the broker; `mbats resume` once it reconciles",
    "NOT_FLAT": "`mbats flatten --yes` again, and close by hand on the broker's own site",
    "RESUME_REFUSED": "`mbats reconcile` names the difference",
    "STATE_HALTED": "`mbats resume` once the account reconciles",
    "STATE_UNREADABLE": "`mbats status`; bots only reduce until it can be read",
    "not_placed": "nothing: the order is not at the broker",
    "unknown": "wait: the instrument is blocked until the broker's log tells",
}
_TO_DO_BY_SEVERITY: Mapping[str, str] = {
    "critical": "look at once; `mbats flatten --yes` closes everything",
    "error": "look today; `mbats status`",
    "warning": "nothing, unless it repeats",
    "info": "nothing",
}


@dataclass(frozen=True)
class Notice:
    """One thing to tell. ``key`` is the event's id: what is told once."""

    key: str
    severity: str
    code: str
    detail: str
    time: str
    account: str = ""
    strategy: str = ""
    instrument: str = ""
    actor: str = ""

    @property
    def rank(self) -> int:
        """How bad it is, 0 to 3."""
        return SEVERITIES.index(self.severity)

    @property
    def line(self) -> str:
        """It on one line, for a digest."""
        about = " ".join(part for part in (self.account, self.strategy, self.instrument) if part)
        said = " ".join(self.detail.split())
        return f"{_MARKS[self.severity]} {self.code}{f' [{about}]' if about else ''}: {said[:160]}"

    def text(self) -> str:
        """It in full: severity, account, strategy, what happened, what to do."""
        about = {
            "account": self.account,
            "strategy": self.strategy,
            "instrument": self.instrument,
            "by": self.actor,
            "at": self.time,
        }
        lines = [f"{_MARKS[self.severity]} {self.severity.upper()} {self.code}"]
        lines += [self.detail[:DETAIL]] if self.detail else []
        lines += [f"{name}: {value}" for name, value in about.items() if value]
        todo = _TO_DO.get(self.code) or _TO_DO_BY_SEVERITY[self.severity]
        return "\n".join([*lines, f"what to do: {todo}"])

    def to_record(self) -> dict[str, str]:
        """Return it in plain values."""
        return asdict(self)


def notice_of(document: Mapping[str, Any]) -> Notice:
    """Return the notice in a risk event or an incident. Raises :class:`DataError`."""
    try:
        incident = document.get("incident")
        return _incident(incident) if incident else _risk_event(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"What came is nothing to tell: {error!r}") from error


def digest(notices: Sequence[Notice], more: int = 0) -> str:
    """Return one text for several notices, the worst first; ``more`` were not kept."""
    worst = sorted(notices, key=lambda notice: (-notice.rank, notice.time))
    left = len(worst) - LINES + more if len(worst) > LINES else more
    lines = [f"{len(worst) + more} notices since the last message"]
    lines += [notice.line for notice in worst[:LINES]]
    if left:
        lines.append(f"and {left} more: see risk.v_risk_event")
    todo = _TO_DO.get(worst[0].code) or _TO_DO_BY_SEVERITY[worst[0].severity]
    return "\n".join([*lines, f"what to do about the first: {todo}"])


def _risk_event(row: Mapping[str, Any]) -> Notice:
    severity = str(row["severity"]).lower()
    time = row["time"]
    return Notice(
        key=_required(row["event_id"]),
        severity=severity if severity in SEVERITIES else "error",
        code=_required(row["code"]),
        detail=str(row.get("detail") or ""),
        time=time.isoformat(timespec="seconds") if isinstance(time, datetime) else str(time),
        account=str(row.get("account") or ""),
        strategy=str(row.get("strategy") or ""),
        instrument=str(row.get("instrument") or ""),
        actor=str(row.get("actor") or ""),
    )


def _incident(incident: Mapping[str, Any]) -> Notice:
    """An incident is told when it opens and when it ends."""
    state = str(incident["state"]).lower()
    severity = str(incident.get("severity") or "error").lower()
    began = datetime.fromtimestamp(int(incident.get("started_at") or 0), UTC)
    told = "\n".join(str(incident[k]) for k in ("summary", "url") if incident.get(k))
    return Notice(
        key=f"incident-{_required(incident['incident_id'])}-{state}",
        severity="info" if state == "closed" else severity if severity in SEVERITIES else "error",
        code=ALERT_OVER if state == "closed" else "ALERT",
        detail=f"{incident.get('policy_name', 'An alert policy')}: {told}",
        time=began.isoformat(timespec="seconds"),
        actor="Cloud Monitoring",
    )


def _required(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"an empty key {value!r}")
    return value
