"""`mbats bars`: recorded ticks become stored bars, by the pipeline that Dataflow runs."""

from typing import Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table

app = typer.Typer()


@app.command(epilog="Example: mbats bars --instruments EUR_USD --from 2026-03-09 --to 2026-03-13")
def bars(
    instruments: Annotated[str, typer.Option(help="names, comma-separated; all if none")] = "",
    first: Annotated[
        str, typer.Option("--from", help="first New York trading day, YYYY-MM-DD")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="last New York trading day, inclusive")] = "",
    granularity: Annotated[
        str, typer.Option(help="S5 to D; the security master keeps M1 and D")
    ] = "M1,D",
    vendor: Annotated[str, typer.Option(help="whose ticks")] = "oanda",
    ticks: Annotated[
        str, typer.Option(help="Parquet or Avro files (a pattern) instead of recorded ticks")
    ] = "",
    output: Annotated[
        str, typer.Option(help="folder for Parquet files instead of the security master")
    ] = "",
    save_as: Annotated[
        str, typer.Option(help="vendor of the bars; VENDOR-ticks if none, never VENDOR's own")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Build bars from recorded ticks and check them; doing it again adds nothing.

    Bars that an interruption of the price stream touches are left out.
    """
    from mbats.local.beam import ticks_to_bars

    given = {
        "--granularities": granularity,
        "--instruments": instruments,
        "--vendor": vendor,
        "--first": first,
        "--last": last,
        "--ticks": ticks,
        "--output": output,
        "--save_as": save_as,
    }
    arguments = [f"{name}={value}" for name, value in given.items() if value]
    told = list(ticks_to_bars(context.settings(), arguments, say=errors.print))
    reports, counters = told[:-1], told[-1]["counters"]
    if as_json:
        emit_json({"series": reports, "counters": counters})
        return
    _print(reports, counters)


def _print(reports: list[dict[str, Any]], counters: dict[str, int]) -> None:
    columns = ("series", "bars", "new", "changed", "left out", "findings")
    reports.sort(key=lambda row: (row["instrument"], row["granularity"]))
    rows = [
        (
            f"{row['instrument']} {row['granularity']} {row['vendor']}",
            f"{row['bars']:,}",
            row.get("inserted", ""),
            row.get("updated", ""),
            row["left_out"] or "",
            row["findings"] or "",
        )
        for row in reports
    ]
    people.print(table("Bars from ticks", columns, rows, right=columns[1:]))
    unused = ("repeated", "untradeable", "empty_book", "marks")
    said = ", ".join(f"{counters.get(name, 0):,} {name.replace('_', ' ')}" for name in unused)
    people.print(f"{counters.get('used', 0):,} ticks used; {said}.")
