"""`mbats preview`: the dashboard's views as a page in the browser."""

import socket
from typing import Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, log_line, people
from mbats.errors import NotReadyError

app = typer.Typer()


@app.command(epilog="Example: mbats preview --port 8088")
def preview(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port; 0 takes a free one")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show the dashboard's views on a page until Ctrl-C: tables and charts, read-only."""
    import uvicorn

    from mbats.desk import Desk
    from mbats.desk.preview import application

    with Desk(context.settings()) as desk:
        app = application(desk.warehouse)
        try:
            listening = socket.create_server((host, port))
        except OSError as error:
            raise NotReadyError(
                f"The preview cannot listen on {host}:{port}: {error.strerror or error}.",
                mend="leave --port out to take a free one",
            ) from error
        url = f"http://{host}:{listening.getsockname()[1]}"
        if as_json:
            log_line("listening", url=url)
        else:
            people.print(f"Preview  {url}")
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2
        )
        uvicorn.Server(config).run(sockets=[listening])
