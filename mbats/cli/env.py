"""`mbats env`: the exports that point any Google client at the local stack."""

import os
import shlex
from typing import Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json

app = typer.Typer()


@app.command(epilog='Example: eval "$(mbats env)"')
def env(
    cloud_run: Annotated[
        bool,
        typer.Option("--cloud-run", help="also lead gcloud and Airflow to the local Cloud Run"),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print the exports that let any Google client, notebook or `bq` join the local stack.

    With --cloud-run a shell reaches Cloud Run's jobs here and no other host outside this machine.
    """
    from mbats.local.exports import bq_line, cloud_run_exports, exports
    from mbats.local.stack import Stack

    stack = Stack(context.settings())
    variables = exports(stack, os.environ)
    if cloud_run:
        variables |= cloud_run_exports(stack)
    if as_json:
        emit_json(variables)
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f"# {bq_line(stack.running_settings())}")
    typer.echo(
        "# Python: bigquery.Client(credentials=google.auth.credentials.AnonymousCredentials())"
    )
