"""Which session a run is for: New York dates, never the UTC date of a run.

A trading day closes at 17:00 New York and is named by the date of its close; a trading week closes
on Friday at 17:00 and is named by that Friday. `mbats.market.session` holds the same rules; a test
compares the two.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
CLOSE = time(17)
FRIDAY = 4
# Vendors have few quotes or none: a session of one of these days (month, day) is not asked for.
HOLIDAYS = {(12, 25), (1, 1)}
# A bot that its schedule starts later than this is not started: a person decides.
LATEST_START = timedelta(hours=6)


@dataclass(frozen=True)
class Run:
    """What a DAG run says of itself. ``at`` is when it was due, or was asked for by hand.

    ``session_date`` is what a person gave, if anything: it always wins.
    """

    at: datetime
    scheduled: bool
    session_date: date | None = None


class NothingToDoError(Exception):
    """This run has no work: the reason, for a person."""


class MissedError(Exception):
    """This run should have worked and no longer may: the reason and the mend, for a person."""


def run_of(dag_run, params) -> Run:
    """Return what we need of Airflow's DAG run. A run by hand has no logical date."""
    given = params.get("session_date")
    return Run(
        at=dag_run.logical_date or dag_run.run_after,
        scheduled=str(getattr(dag_run.run_type, "value", dag_run.run_type)) == "scheduled",
        session_date=date.fromisoformat(given) if given else None,
    )


def close_of(day: date) -> datetime:
    """Return the instant, in UTC, at which the session of ``day`` closes."""
    return datetime.combine(day, CLOSE, NEW_YORK).astimezone(UTC)


def last_closed(at: datetime) -> date:
    """Return the last session that has closed at ``at``."""
    day = at.astimezone(NEW_YORK).date()
    while day.weekday() > FRIDAY or close_of(day) > at:
        day -= timedelta(days=1)
    return day


def week_of(at: datetime) -> date:
    """Return the Friday that names the trading week of ``at``; on a weekend, the coming one's."""
    day = at.astimezone(NEW_YORK).date()
    while day.weekday() != FRIDAY or close_of(day) <= at:
        day += timedelta(days=1)
    return day


def is_open(at: datetime) -> bool:
    """Tell whether the FX week is open: Sunday 17:00 to Friday 17:00 New York."""
    return close_of(week_of(at) - timedelta(days=5)) <= at


def day_session(run: Run, now: datetime) -> date:
    """Return the trading day that a run is for: the last one closed, or the one asked for.

    Raises :class:`NothingToDoError` for a holiday, and where the schedule is late: Airflow runs the
    last missed tick when a DAG is switched on, and a newer session has closed by then.
    """
    if run.session_date:
        if run.session_date.weekday() > FRIDAY:
            raise NothingToDoError(f"{run.session_date} is a weekend: no session has that name.")
        return run.session_date
    day = last_closed(run.at)
    if run.scheduled and last_closed(now) > day:
        raise NothingToDoError(f"The session of {day} is past; its run is too late to start now.")
    if (day.month, day.day) in HOLIDAYS:
        raise NothingToDoError(f"{day} is a holiday: there is no session.")
    return day


def hour_session(run: Run, now: datetime) -> date:
    """Return the trading day that a run within the week adds to: the one that is open.

    Raises :class:`NothingToDoError` for a closed market, and where a later run is due already.
    """
    if run.session_date:
        return day_session(run, now)
    if run.scheduled and now - run.at > timedelta(hours=1):
        raise NothingToDoError(
            f"This run was due at {run.at:%Y-%m-%d %H:%M} UTC; a later one runs."
        )
    if not is_open(run.at):
        raise NothingToDoError("The FX week is closed: there are no new minutes.")
    day = run.at.astimezone(NEW_YORK).date()
    return day if close_of(day) > run.at else day + timedelta(days=1)


def week_session(run: Run, now: datetime) -> date:
    """Return the Friday of the trading week that a run is for: the one it began in, or before.

    Raises :class:`NothingToDoError` for a week that is over, and :class:`MissedError` where the
    schedule is hours late: switching a DAG on in mid-week must not start trading by itself.
    """
    friday = week_of(run.at)
    if close_of(friday) <= now:
        raise NothingToDoError(f"The trading week that closes on {friday} is over.")
    if run.scheduled and now - run.at > LATEST_START:
        raise MissedError(
            f"The week's start, {run.at:%Y-%m-%d %H:%M} UTC, was missed. "
            "To trade the rest of the week, trigger this DAG by hand."
        )
    return friday
