"""The root command: global flags, the table of commands, and the one place that catches errors."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from mbats import __version__
from mbats.cli import (
    airflow,
    archive,
    backtest,
    bars,
    config,
    context,
    control,
    data,
    demo,
    doctor,
    down,
    env,
    flatten,
    functions,
    halt,
    init,
    jobs,
    live,
    parity,
    preview,
    reconcile,
    reduce,
    replay,
    resume,
    runs,
    sim,
    status,
    stream,
    sweep,
    up,
)
from mbats.cli.output import report
from mbats.errors import MbatsError

app = typer.Typer(
    name="mbats",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A quant's whole FX trading desk, from idea to live trading.",
)
for command in (
    demo,
    up,
    down,
    status,
    doctor,
    env,
    init,
    data,
    control,
    bars,
    backtest,
    sweep,
    runs,
    live,
    parity,
    preview,
    reconcile,
    halt,
    reduce,
    flatten,
    resume,
    sim,
    stream,
    archive,
    jobs,
    functions,
    replay,
    airflow,
    config,
):
    app.add_typer(command.app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(epilog="Start with: mbats demo")
def root(
    profile: Annotated[str | None, typer.Option(help="`local` or `gcp`")] = None,
    project: Annotated[str | None, typer.Option(help="Google Cloud project id")] = None,
    home: Annotated[Path | None, typer.Option(help="folder of local state")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Keep the global flags for the command that follows."""
    context.remember_flags(profile=profile, project=project, home=home)


def main() -> None:
    """Run the command line; exit with the error's own code.

    SIGTERM ends like an exit, so that what a command started is stopped.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except MbatsError as error:
        report(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
