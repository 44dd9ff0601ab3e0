"""`mbats config`: what the settings are and where each came from."""

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table
from mbats.config import Settings

app = typer.Typer(
    name="config", no_args_is_help=True, help="What the settings are and where each came from."
)


@app.command(epilog="Example: MBATS_ACCOUNT_CURRENCY=EUR mbats config show")
def show(as_json: JsonFlag = False) -> None:
    """Show every setting, its value and the source that won. Secrets are hidden."""
    rows = context.resolved().rows()
    if as_json:
        emit_json([{"setting": n, "value": v, "from": o} for n, v, o in rows])
        return
    described = [(n, v, o, Settings.model_fields[n].description) for n, v, o in rows]
    people.print(table("Settings", ("setting", "value", "from", "what it is"), described))
