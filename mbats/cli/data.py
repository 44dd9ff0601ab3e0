"""`mbats data`: history into the security master, and what is there."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from mbats.cli import context, data_check, data_load
from mbats.cli.output import JsonFlag, emit_json, people, table
from mbats.errors import RefusedError

app = typer.Typer(
    name="data", no_args_is_help=True, help="History into the security master, and what is there."
)
app.command(epilog=data_load.EXAMPLES)(data_load.load)
app.command(epilog=data_check.EXAMPLES)(data_check.check)


@app.command("list", epilog="Example: mbats data list")
def list_series(as_json: JsonFlag = False) -> None:
    """List what is stored: each series with its first bar, its last, and how many."""
    from mbats.desk import Desk

    with Desk(context.settings()) as desk:
        series = desk.security_master.series().to_pylist()
    if as_json:
        emit_json(series)
        return
    if not series:
        people.print("Nothing is stored yet: mbats data load --vendor ecb")
        return
    columns = ("series", "first", "last", "bars")
    rows = [
        (
            f"{row['instrument']} {row['granularity']} {row['vendor']}",
            f"{row['first']:%Y-%m-%d %H:%M}",
            f"{row['last']:%Y-%m-%d %H:%M}",
            f"{row['bars']:,}",
        )
        for row in series
    ]
    people.print(table("Stored bars (starts, UTC)", columns, rows, right=("bars",)))


@app.command(epilog="Example: mbats data watchlist --template interested_tickers.xlsx")
def watchlist(
    template: Annotated[
        Path | None, typer.Option(help="write a workbook to start from to this path")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the watchlist: what is downloaded where no instruments are named."""
    if template:
        _write_template(template)
        if as_json:
            emit_json({"written": template})
        else:
            people.print(f"Wrote {template}. Load it: mbats data load --watchlist {template}")
        return
    from mbats.desk import Desk

    with Desk(context.settings()) as desk:
        rows = desk.security_master.rows("watchlist", {"active": True})
    if as_json:
        emit_json(rows)
        return
    shown = [(r["instrument"], r["granularity"], r["source"], r["source_row"]) for r in rows]
    people.print(table("Watchlist", ("instrument", "granularity", "workbook", "row"), shown))


@app.command(epilog="Example: mbats data mapping > mapping.toml")
def mapping(as_json: JsonFlag = False) -> None:
    """Print a mapping for `load --vendor file`, every key explained."""
    from mbats.vendors.mapping import template

    if as_json:
        emit_json(tomllib.loads(template()))
    else:
        typer.echo(template(), nl=False)


def _write_template(path: Path) -> None:
    from mbats.market.watchlist import template_workbook

    if path.exists():
        raise RefusedError(f"{path} is there already.", mend="name another path, or move it away")
    path.write_bytes(template_workbook())
