"""`mbats env`: the exports that point any Google client at the local stack."""

import os
import shlex

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json

app = typer.Typer()


@app.command(epilog='Example: eval "$(mbats env)"')
def env(as_json: JsonFlag = False) -> None:
    """Print the exports that let any Google client, notebook or `bq` join the local stack."""
    from mbats.local.exports import bq_line, exports
    from mbats.local.stack import Stack

    stack = Stack(context.settings())
    variables = exports(stack, os.environ)
    if as_json:
        emit_json(variables)
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f"# {bq_line(stack.running_settings())}")
    typer.echo(
        "# Python: bigquery.Client(credentials=google.auth.credentials.AnonymousCredentials())"
    )
