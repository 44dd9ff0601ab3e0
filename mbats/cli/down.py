"""`mbats down`: stop what `mbats up` started."""

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people

app = typer.Typer()


@app.command(epilog="Example: mbats down")
def down(as_json: JsonFlag = False) -> None:
    """Stop exactly what `mbats up` started. Data and logs stay."""
    from mbats.local.stack import Stack

    stopped = Stack(context.settings()).down()
    if as_json:
        emit_json({"stopped": list(stopped)})
    else:
        people.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing of it ran.")
