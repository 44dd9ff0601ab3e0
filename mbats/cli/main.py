"""The root command: global flags, the table of commands, and the one place that catches errors."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mbats import __version__
from mbats.cli import config, context, doctor, down, env, sim, status, up
from mbats.cli.archive import archive
from mbats.cli.flatten import flatten
from mbats.cli.halt import halt
from mbats.cli.init import init
from mbats.cli.live import live
from mbats.cli.output import report
from mbats.cli.reduce import reduce
from mbats.cli.resume import resume
from mbats.cli.stream import stream
from mbats.errors import MbatsError

app = typer.Typer(
    name="mbats",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A quant's whole FX trading desk, from idea to live trading.",
)
app.add_typer(config.app, name="config")
for command in (up, down, status, doctor, env):
    app.add_typer(command.app)
app.command(epilog="Example: mbats sim --seed 7 --speed 60 --faults 0.05")(sim.sim)
app.command(epilog="Example: mbats init --dry-run")(init)
app.command(epilog="Example: mbats stream --instruments EUR_USD,USD_JPY")(stream)
app.command(epilog="Example: mbats archive --until-empty")(archive)

app.command(
    epilog="Example: mbats live sma_reversal --instruments EUR_USD --granularity M1 --paper"
)(live)
app.command(epilog='Example: mbats halt --yes --why "prices look wrong"')(halt)
app.command(epilog='Example: mbats reduce --yes --why "central bank at 14:00"')(reduce)
app.command(epilog='Example: mbats flatten --yes --why "the bot is frozen"')(flatten)
app.command(epilog='Example: mbats resume --yes --why "mended and looked at"')(resume)


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
    """Run the command line; exit with the error's own code."""
    try:
        app()
    except MbatsError as error:
        report(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
