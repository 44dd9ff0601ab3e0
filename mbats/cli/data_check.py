"""`mbats data check`: is what is stored whole and sane?"""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, progress, table
from mbats.errors import ConfigError, DataError

EXAMPLES = "Example: mbats data check --instruments EUR_USD --strict"

_KEYS = ("instrument", "granularity", "vendor", "check_name", "severity")


def check(
    instruments: Annotated[str | None, typer.Option(help="only these: EUR_USD,USD_JPY")] = None,
    vendor: Annotated[str | None, typer.Option(help="only this vendor's series")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="exit with 3 where an error was found")
    ] = False,
    every: Annotated[bool, typer.Option("--every", help="show each finding")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check all stored series against their session calendar, and keep the findings."""
    from mbats.desk import Desk
    from mbats.market.quality import check_series

    now = datetime.now(UTC)
    findings: list[dict[str, Any]] = []
    with Desk(context.settings()) as desk:
        store = desk.security_master
        series = _chosen(store.series().to_pylist(), instruments, vendor)
        calendars = {row["vendor"]: row["calendar"] for row in store.rows("data_vendor")}
        with progress(quiet=as_json) as bar:
            for key in bar.track(series, description="checking"):
                findings += check_series(store, key, calendars.get(key[2], "fx"), now)
    if as_json:
        emit_json({"checked_at": now, "series": len(series), "findings": findings})
    else:
        _print(findings, len(series), every)
    if strict and any(row["severity"] == "error" for row in findings):
        raise typer.Exit(DataError.exit_code)


def _chosen(
    stored: Iterable[dict[str, Any]], instruments: str | None, vendor: str | None
) -> list[tuple[str, str, str]]:
    from mbats.market.instrument import parse_name

    names = {parse_name(part) for part in (instruments or "").split(",") if part.strip()}
    chosen = [
        (row["instrument"], row["granularity"], row["vendor"])
        for row in stored
        if (not names or row["instrument"] in names) and vendor in (None, row["vendor"])
    ]
    missing = sorted(names - {name for name, *_ in chosen})
    if missing:
        raise ConfigError(
            f"Nothing is stored of {', '.join(missing)}.", mend="mbats data list shows what is"
        )
    return chosen


def _print(findings: list[dict[str, Any]], series: int, every: bool) -> None:
    if not findings:
        people.print(f"{series} series checked: nothing found.")
        return
    findings = sorted(findings, key=lambda row: (*(row[k] for k in _KEYS), row["start"]))
    groups = [(row,) for row in findings] if every else _groups(findings)
    rows = [
        (
            " ".join(group[0][key] for key in _KEYS[:3]),
            group[0]["check_name"],
            group[0]["severity"],
            f"{len(group):,}",
            f"{sum(row['bars'] for row in group):,}",
            f"{group[0]['start']:%Y-%m-%d %H:%M}",
        )
        for group in groups
    ]
    columns = ("series", "check", "severity", "findings", "bars", "first start (UTC)")
    title = f"Data quality, {series} series"
    people.print(table(title, columns, rows, right=columns[3:5]))
    if every:
        for (row,) in groups:
            where = f"{row['instrument']} {row['granularity']} {row['start']:%Y-%m-%d %H:%M}"
            people.print(f"{where} {row['check_name']}: {row['detail']}", markup=False)
    else:
        people.print("What each says: mbats data check --every")


def _groups(findings: list[dict[str, Any]]) -> list[tuple[dict[str, Any], ...]]:
    grouped = groupby(findings, key=lambda row: tuple(row[key] for key in _KEYS))
    return [tuple(rows) for _, rows in grouped]
