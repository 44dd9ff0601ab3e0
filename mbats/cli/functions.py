"""`mbats functions`: the functions of the cloud, on this machine."""

from typing import Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag
from mbats.errors import ConfigError

app = typer.Typer()


@app.command(epilog="Example: mbats functions --port 8090")
def functions(
    port: Annotated[int, typer.Option(help="port on the loopback interface")],
    as_json: JsonFlag = False,
) -> None:
    """Run the functions until SIGTERM or Ctrl-C: notify, risk guard, dead letters, control files.

    Part of the local stack: `mbats up` runs it and sends it the events. Its output is one JSON
    object a line, always.
    """
    from mbats.local.functions_host import serve

    if context.settings().profile != "local":
        raise ConfigError(
            "In the cloud each function is deployed by itself.",
            mend="make deploy, or use profile `local`",
        )
    serve(port)
