"""`mbats up`: start the local stack and leave it running."""

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.cli.status import as_document, rows

app = typer.Typer()


@app.command(epilog='Example: mbats up && eval "$(mbats env)"')
def up(as_json: JsonFlag = False) -> None:
    """Start the local stack; return when every service answers. Running ones are left alone."""
    from mbats.local.stack import Stack

    stack = Stack(context.settings(), say=lambda line: errors.print(line, markup=False))
    started = stack.up().started
    found = stack.status()
    if as_json:
        emit_json({"started": list(started), "services": as_document(found)})
        return
    shown = [
        (each.title, address, "started" if each.service in started else "ran already")
        for each, address in rows(found)
    ]
    people.print(table("Local stack", ("service", "address", "state"), shown))
    people.print(f"Logs: {stack.home / 'logs'}", markup=False, soft_wrap=True)
    people.print('Any Google client joins with: eval "$(mbats env)"')
