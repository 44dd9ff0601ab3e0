"""How commands speak: one JSON document, or tables for people; errors with cause and mend."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbats.errors import MbatsError

JsonFlag = Annotated[bool, typer.Option("--json", help="print one JSON document instead of tables")]

# Never under 100 columns, so that no table is squeezed in a pipe, a log or a small window.
people = Console(width=max(Console().width, 100), highlight=False)
errors = Console(stderr=True, highlight=False)


def plain(value: object) -> Any:
    """Return ``value`` as JSON knows it: times in ISO 8601, decimals as strings."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | Path):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def emit_json(document: object) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(document, default=plain, indent=2) + "\n")


def log_line(event: str, **values: object) -> None:
    """Print one JSON object on one line: the log of a process that runs for days."""
    line = {"event": event, "time": datetime.now(UTC), **values}
    sys.stdout.write(json.dumps(line, default=plain) + "\n")
    sys.stdout.flush()


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    footer: Sequence[object] | None = None,
) -> Table:
    """Build a console table; the columns named in ``right`` are aligned right."""
    made = Table(title=title, title_justify="left", show_footer=footer is not None)
    for index, column in enumerate(columns):
        made.add_column(
            column,
            justify="right" if column in right else "left",
            footer=str(footer[index]) if footer is not None else "",
        )
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    return made


def progress(quiet: bool = False) -> Progress:
    """Return a progress bar on standard error; silent with ``quiet`` or without a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        disable=quiet or not errors.is_terminal,
        transient=True,
    )


def report(error: MbatsError, as_json: bool) -> None:
    """Say what went wrong on standard error: cause, what was tried, the mend."""
    if as_json:
        document = {
            "error": type(error).__name__,
            "cause": error.cause,
            "tried": list(error.tried),
            "mend": error.mend,
        }
        sys.stderr.write(json.dumps(document, indent=2) + "\n")
        return
    errors.print(f"[bold red]{type(error).__name__}[/]  ", end="")
    errors.print(error.cause, markup=False)
    for line in error.tried:
        errors.print(f"  tried  {line}", markup=False)
    if error.mend:
        errors.print(f"  mend   {error.mend}", markup=False)
