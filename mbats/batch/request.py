"""What the pipeline is asked for, as its command line says it.

The names of the options are those of the flex template (containers/dataflow/metadata.json), so this
file reads them in both places. It needs no Beam.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from mbats.config import SECRETS, Settings, load
from mbats.errors import ConfigError
from mbats.market.granularity import Granularity
from mbats.market.instrument import parse_name
from mbats.market.tick_bars import parse_granularities

STORED = (Granularity.M1, Granularity.D)
SUFFIX = "-ticks"


@dataclass(frozen=True)
class BarsRequest:
    """Which ticks become which bars, and where both are.

    Ticks come from the files that match the pattern ``ticks``, else from the security master; bars
    go to the folder ``output``, else to the security master. ``start`` and ``until`` are aware:
    whole New York trading days are read, and only bars that ended by ``until`` are made.
    """

    settings: Settings
    granularities: tuple[Granularity, ...]
    instruments: tuple[str, ...]
    vendor: str
    start: datetime | None
    until: datetime
    now: datetime
    ticks: str | None = None
    output: str | None = None
    save_as: str | None = None

    @property
    def bars_vendor(self) -> str:
        """The vendor that the bars are stored under: never that of downloaded candles."""
        return self.save_as or self.vendor + SUFFIX


def parse(arguments: Sequence[str], now: datetime) -> tuple[BarsRequest, list[str]]:
    """Return the request and the arguments that are Beam's. Raises :class:`ConfigError`."""
    found, rest = _parser().parse_known_args(list(arguments))
    granularities = parse_granularities(part for part in found.granularities.split(",") if part)
    unstored = [g.value for g in granularities if g not in STORED]
    if unstored and not found.output:
        raise ConfigError(
            f"The security master keeps no {', '.join(unstored)} bars.",
            tried=[g.value for g in STORED],
            mend="write them to files: --output FOLDER",
        )
    if found.save_as == found.vendor:
        raise ConfigError(
            f"Bars made from ticks of {found.vendor} would replace its candles.",
            mend=f"leave --save_as away: they become {found.vendor}{SUFFIX}",
        )
    until = min(now, _ends(found.last)) if found.last else now
    # The request travels to the workers; the tokens of a broker have no business there.
    hidden = dict.fromkeys(SECRETS)
    request = BarsRequest(
        settings=_settings(found, rest).model_copy(update=hidden),
        granularities=granularities,
        instruments=tuple(parse_name(n) for n in found.instruments.split(",") if n.strip()),
        vendor=found.vendor,
        start=_begins(found.first) if found.first else None,
        until=until,
        now=now,
        ticks=found.ticks or None,
        output=found.output or None,
        save_as=found.save_as or None,
    )
    if request.start and request.start >= until:
        raise ConfigError(f"No time lies between {request.start} and {until}.")
    return request, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mbats.batch", allow_abbrev=False)
    parser.add_argument("--granularities", default="M1,D", help="S5 to D, with commas")
    parser.add_argument("--instruments", default="", help="with commas; all where empty")
    parser.add_argument("--vendor", default="oanda", help="whose ticks")
    parser.add_argument("--first", default="", help="first New York trading day, YYYY-MM-DD")
    parser.add_argument("--last", default="", help="last New York trading day, inclusive")
    parser.add_argument("--ticks", default="", help="Parquet or Avro files instead of the table")
    parser.add_argument("--output", default="", help="folder instead of the tables")
    parser.add_argument("--save_as", default="", help="vendor of the bars")
    parser.add_argument("--settings", default="", help="the desk's settings, as JSON")
    parser.add_argument("--location", default="EU", help="location of the datasets")
    return parser


def _settings(found: argparse.Namespace, rest: Sequence[str]) -> Settings:
    if found.settings:
        return Settings.model_validate_json(found.settings)
    # In the cloud Dataflow tells the pipeline its project, and there is nothing else to know.
    cloud = argparse.ArgumentParser(allow_abbrev=False)
    cloud.add_argument("--project")
    project = cloud.parse_known_args(list(rest))[0].project
    if not project:
        raise ConfigError("Neither --settings nor --project says where the desk is.")
    flags: dict[str, Any] = {"profile": "gcp", "project": project, "location": found.location}
    return load(flags=flags).settings


def _begins(text: str) -> datetime:
    return Granularity.D.start_of(_noon(text))


def _ends(text: str) -> datetime:
    return Granularity.D.end_of(_noon(text))


def _noon(text: str) -> datetime:
    """Return an instant within the trading day dated ``text``: it ends at 17:00 New York."""
    try:
        return datetime.combine(date.fromisoformat(text), time(12), UTC)
    except ValueError:
        raise ConfigError(f"{text!r} is not a day.", mend="write it as YYYY-MM-DD") from None
