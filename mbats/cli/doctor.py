"""`mbats doctor`: what is wrong with the local stack, and how to mend it."""

import os
from dataclasses import asdict

import typer
from rich.markup import escape

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table
from mbats.errors import NotReadyError

app = typer.Typer()


@app.command(epilog="Example: mbats doctor")
def doctor(as_json: JsonFlag = False) -> None:
    """Say what is wrong with the local stack and how to mend it. Exit code 4 if anything is."""
    from mbats.local.doctor import examine
    from mbats.local.stack import Stack

    findings = examine(Stack(context.settings()), os.environ)
    if as_json:
        emit_json([asdict(each) for each in findings])
    else:
        # What a log said may look like markup.
        shown = [(e.check, e.level, escape(e.what), escape(e.mend)) for e in findings]
        people.print(table("Doctor", ("check", "finding", "what", "mend"), shown))
    if any(each.level == "wrong" for each in findings):
        raise typer.Exit(NotReadyError.exit_code)
