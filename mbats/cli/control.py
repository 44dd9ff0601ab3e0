"""`mbats control`: the files that a person steers the desk with, checked and put in force."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.errors import ConfigError, DataError, NotReadyError

if TYPE_CHECKING:
    from mbats.config import Settings
    from mbats.desk.events.control_file import Checked, Outcome, Stores

WAIT_SECONDS = 120.0
app = typer.Typer(
    name="control", no_args_is_help=True, help="Control files, checked and put in force."
)

FileArgument = Annotated[
    Path, typer.Argument(help="interested_tickers.xlsx or strategies.csv", show_default=False)
]


@app.command(epilog="Example: mbats control check strategies.csv")
def check(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Say what a control file says and what is wrong with it; change nothing.

    Exits with 3 where the desk would refuse it.
    """
    from mbats.desk.events.control_file import check as checked

    found = checked(file.name, _read(file), _strategies())
    if as_json:
        emit_json({"file": file, "good": not found.problems, "problems": found.problems})
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(DataError.exit_code)


@app.command(epilog="Example: mbats control put strategies.csv")
def put(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Put a control file into the bucket and see it take effect.

    Locally this command does itself what the function does, if it is first. A file that is wrong
    is set aside with a report, what was in force stays, and the exit code is 3.
    """
    outcome = _put(context.settings(), file.name, _read(file))
    if as_json:
        emit_json(vars(outcome))
    else:
        _tell(outcome)
    if outcome.state == "quarantined":
        raise typer.Exit(DataError.exit_code)


def _put(settings: "Settings", name: str, content: bytes) -> "Outcome":
    from mbats.desk import Desk
    from mbats.desk.events import wiring
    from mbats.desk.events.control_file import NAMES, awaited

    if name not in NAMES:
        raise ConfigError(
            f"There is no control file {name!r}.", tried=list(NAMES), mend="name the file so"
        )
    with Desk(settings) as desk:
        generation = desk.objects.write("control", name, content)
        outcome = None
        if settings.profile == "local":
            stores = wiring.stores(desk, _strategies(), say=lambda *_, **__: None)
            outcome = _settled(stores, name)
        if outcome is None:
            outcome = awaited(desk.objects, name, generation, WAIT_SECONDS)
    if outcome is None:
        raise NotReadyError(
            f"{name} is in the bucket, but nothing has taken it within {WAIT_SECONDS:g} s.",
            tried=[f"generation {generation}"],
            mend="look at the log of the function control-file",
        )
    return outcome


def _settled(stores: "Stores", name: str) -> "Outcome | None":
    """Put a file in force; None where the stack's function is doing so, or has."""
    from mbats.desk.events.control_file import BusyError, settle

    try:
        outcome = settle(stores, name)
    except BusyError:
        return None
    return None if outcome.state == "known" else outcome


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}.", mend="give the path of a control file"
        ) from error


def _strategies() -> Collection[str]:
    from mbats.strategy.loading import known_strategies

    return known_strategies()


def _show(found: "Checked") -> None:
    if found.schedule is not None and found.schedule.entries:
        rows = [
            (
                entry.row,
                entry.strategy,
                entry.mode,
                " ".join(entry.securities),
                entry.model_id,
                entry.account,
                " ".join(f"{name}={value}" for name, value in entry.parameters.items()),
            )
            for entry in found.schedule.entries
        ]
        columns = ("row", "strategy", "mode", "securities", "model", "account", "parameters")
        people.print(table("Strategies", columns, rows, right=("row",)))
    if found.watchlist is not None and found.watchlist.entries:
        named = [(e.sheet, e.row, e.instrument) for e in found.watchlist.entries]
        people.print(table("Watchlist", ("sheet", "row", "instrument"), named, right=("row",)))
    for problem in found.problems:
        errors.print(f"problem  {problem}", markup=False)
    people.print("Good." if not found.problems else "It would be refused, whole.")


def _tell(outcome: "Outcome") -> None:
    if outcome.state == "quarantined":
        for problem in outcome.problems:
            errors.print(f"problem  {problem}", markup=False)
        people.print(f"{outcome.name} is refused; what was in force stays.")
        people.print(f"  report  {outcome.report}", markup=False)
        return
    what = f"{outcome.entries} rows" if outcome.state == "loaded" else "it was there already"
    people.print(f"{outcome.name} is in force: {what}.")
    if outcome.schedule_copied_to:
        people.print(f"  for the DAGs  {outcome.schedule_copied_to}", markup=False)
