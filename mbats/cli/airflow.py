"""`mbats airflow`: Composer's Airflow on this machine, over the local stack."""

import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.errors import NotReadyError

if TYPE_CHECKING:
    from mbats.local.stack import Status

app = typer.Typer()


@app.command(epilog="Example: mbats airflow --port 8081")
def airflow(
    port: Annotated[int, typer.Option(help="port of its pages; another free one if taken")] = 8080,
    as_json: JsonFlag = False,
) -> None:
    """Run the desk's DAGs in Composer's Airflow until Ctrl-C; nothing of it leaves this machine.

    The first time it makes Airflow's environment (1.4 GB). All DAGs are switched on but those that
    trade. Whatever this command started, Ctrl-C stops; so does the end of this process by any
    other way.
    """
    from mbats.cli.init import make_all
    from mbats.cli.status import as_document, rows
    from mbats.desk import Desk
    from mbats.local.airflow import airflow_service, clear, find_dags, local_bots
    from mbats.local.keeper import kept
    from mbats.local.stack import SERVICES, Stack, tail
    from mbats.local.state import read

    settings = context.settings()
    dags = find_dags(settings.home)
    clear(settings.home.resolve())
    service = airflow_service(dags, local_bots(dags), port)
    stack = Stack(
        settings,
        (*SERVICES, service),
        say=lambda line: errors.print(line, markup=False),
        patience=300,
    )
    with kept(stack.home):
        up = stack.up()
        with Desk(up.settings) as desk:
            make_all(desk)
        found = stack.status()
        if as_json:
            emit_json({"started": list(up.started), "services": as_document(found)})
            sys.stdout.flush()  # whoever reads it waits for it, not for our end
        else:
            people.print(table("Local stack", ("service", "address"), _titled(rows(found))))
            people.print(
                f"DAGs: {dags}   logs: {stack.home / 'logs'}", markup=False, soft_wrap=True
            )
            people.print("Ctrl-C stops what was started.")
        running = read(stack.home)[service.name]
        while running.process():
            threading.Event().wait(1.0)
    raise NotReadyError(
        "Airflow ended by itself.", tried=tail(stack.site.log(service.name)), mend="mbats airflow"
    )


def _titled(found: "Iterable[tuple[Status, str]]") -> list[tuple[str, str]]:
    return [(each.title, address) for each, address in found]
