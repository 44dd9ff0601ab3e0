"""`mbats status`: what of the local stack runs, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table

if TYPE_CHECKING:
    from mbats.local.stack import Status

app = typer.Typer()


@app.command(epilog="Example: mbats status --json")
def status(as_json: JsonFlag = False) -> None:
    """Show each service of the local stack: its state, address, process and memory."""
    from mbats.local.stack import Stack

    found = Stack(context.settings()).status()
    if as_json:
        emit_json(as_document(found))
        return
    shown = [
        (each.title, each.condition, address, each.pid, _megabytes(each.memory))
        for each, address in rows(found)
    ]
    columns = ("service", "state", "address", "process", "MB")
    people.print(table("Local stack", columns, shown, right=("process", "MB")))


def _megabytes(memory: int) -> str | None:
    return f"{memory / 1e6:.0f}" if memory else None


def rows(found: Iterable[Status]) -> Iterator[tuple[Status, str]]:
    """Yield each service with its addresses in one cell."""
    for each in found:
        shown = (
            f"http://{address}" if port == "http" else f"{address} ({port})"
            for port, address in each.addresses.items()
        )
        yield each, "\n".join(shown)


def as_document(found: Iterable[Status]) -> list[dict[str, Any]]:
    """Return the services as JSON knows them."""
    return [
        {
            "service": each.service,
            "state": each.condition,
            "addresses": dict(each.addresses),
            "pid": each.pid,
            "since": each.since,
            "memory_bytes": each.memory,
            "log": each.log,
            "data": each.data,
        }
        for each in found
    ]
