"""What `halt`, `reduce`, `flatten` and `resume` share: options, confirmation, the report."""

import getpass
import os
import socket
from datetime import timedelta
from typing import Annotated

import typer

from mbats.cli import context
from mbats.cli.output import emit_json, errors, people
from mbats.live.control import TradingOrder
from mbats.live.killswitch import Report, refuse_unless_asked

AccountOption = Annotated[str | None, typer.Option("--account", help="OANDA account id")]
WhyOption = Annotated[str, typer.Option("--why", help="the reason, for the audit")]
YesFlag = Annotated[bool, typer.Option("--yes", help="do not ask")]


def account_of(given: str | None) -> str:
    """Return the account that is meant."""
    from mbats.desk.switch import account_of as resolve

    return resolve(context.settings(), given)


def actor() -> str:
    """Return who is at the switch: user and machine."""
    return f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}"


def confirm(what: str, yes: bool, as_json: bool) -> None:
    """Ask a person, unless ``--yes`` was given. Raises :class:`RefusedError` for a no."""
    refuse_unless_asked(yes or (not as_json and typer.confirm(what, err=True)))


def say_flat(report: Report, watch: timedelta) -> None:
    """Say at once that all is flat, and what the command still waits for."""
    errors.print(f"Flat, with no orders left, after {report.seconds:.1f} s.", markup=False)
    if report.state is None:
        errors.print("The halt is not written yet: a bot that runs may trade again.", markup=False)
    if watch:
        errors.print(
            f"Looking on for {watch.total_seconds():g} s, in case an order was on its way; "
            "Ctrl-C ends that.",
            markup=False,
        )


def show(report: Report, as_json: bool) -> None:
    """Say what was done."""
    if as_json:
        emit_json(
            {
                "account": report.account,
                "state": _plain(report.state),
                "changed": report.changed,
                "flat": report.flat,
                "seconds": report.seconds,
                "watched_seconds": report.watched,
                "done": report.done,
                "came": report.came,
                "problems": report.problems,
            }
        )
        return
    if report.state is not None:
        again = "" if report.changed else " (it was already)"
        state = report.state
        people.print(f"Account {report.account} is [bold]{state.state.upper()}[/]{again}")
        people.print(
            f"  by {state.by}, {state.at:%Y-%m-%d %H:%M:%S} UTC: {state.why}", markup=False
        )
    for line in report.done:
        people.print(f"  {line}", markup=False)
    for line in report.problems:
        people.print(f"  problem: {line}", markup=False)
    if report.flat:
        late = f"; {len(report.came)} closed or cancelled late" if report.came else ""
        watched = f", watched for {report.watched:.0f} s{late}" if report.watched else ""
        people.print(f"Flat, with no orders left, after {report.seconds:.1f} s{watched}.")


def _plain(order: TradingOrder | None) -> dict[str, object] | None:
    return None if order is None else order.to_record()
