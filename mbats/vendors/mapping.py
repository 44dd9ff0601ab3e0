"""How files of bars are read: which column is what, on which side, in which time zone."""

import tomllib
from datetime import time, timedelta, timezone, tzinfo
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mbats.errors import ConfigError, DataError
from mbats.market.bars import PARTS, PRICE_COLUMNS, SIDES, Side
from mbats.market.granularity import Granularity
from mbats.market.instrument import parse_name

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}

_ROLES = ("start", *PARTS, *PRICE_COLUMNS, "volume")


class FileEntry(BaseModel):
    """Some files: a path pattern, and what differs from the mapping's own values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    side: Side | None = None
    instrument: str | None = None


class FileMapping(BaseModel):
    """One mapping; its fields are described in ``mapping_template.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor: str = Field("file", pattern="^[a-z][a-z0-9_]*$")
    instrument: str | None = None
    granularity: str = "M1"
    price_precision: int = Field(9, ge=0, le=9)
    max_bad_share: float = Field(0.01, ge=0, le=1)
    calendar: Literal["fx", "ecb"] = "fx"
    time_format: str = "iso"
    time_zone: str = "UTC"
    time_of_day: time = time(0)
    named_by: Literal["start", "end"] = "start"
    separator: str = Field(",", min_length=1, max_length=1)
    decimal_point: Literal[".", ","] = "."
    column_names: tuple[str, ...] | None = None
    columns: dict[str, str | list[str]]
    side: Side | None = None
    files: tuple[FileEntry, ...] = ()

    @field_validator("granularity")
    @classmethod
    def _granularity(cls, text: str) -> str:
        bar = Granularity.parse(text)
        if bar.micros is None:
            raise ValueError("weeks and months are made from days, not loaded")
        return bar.value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, text: str) -> str:
        zone(text)
        return text

    @field_validator("columns")
    @classmethod
    def _columns(cls, columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        unknown = sorted(set(columns) - set(_ROLES))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(_ROLES)}")
        if "start" not in columns:
            raise ValueError("`start` is missing: which column holds the time?")
        return columns

    @model_validator(mode="after")
    def _sides(self) -> Self:
        for side in (entry.side or self.side for entry in self.files):
            self.prices(side)
        if not self.files:
            self.prices(self.side)
        return self

    def prices(self, side: Side | None) -> dict[str, str]:
        """Return the file's column of each stored price column that a file of ``side`` has.

        ``side`` None is a file that names its sides in the columns: bid_open, ask_open and so on.
        """
        if side:
            wanted = {part: f"{side}_{part}" for part in PARTS}
        else:
            sides = [s for s in SIDES if any(f"{s}_{part}" in self.columns for part in PARTS)]
            if not sides:
                raise ValueError("no side: give `side`, or columns such as bid_open and ask_open")
            wanted = {f"{s}_{part}": f"{s}_{part}" for s in sides for part in PARTS}
        missing = [role for role in wanted if role not in self.columns]
        if missing:
            raise ValueError(f"the columns lack {', '.join(missing)}")
        return {column: str(self.columns[role]) for role, column in wanted.items()}

    def time_columns(self) -> list[str]:
        """Return the column or columns that hold the time."""
        named = self.columns["start"]
        return [named] if isinstance(named, str) else named


def zone(text: str) -> tzinfo:
    """Return the zone called ``text``: an IANA name, or a fixed offset such as -05:00."""
    if text[:1] in "+-" and len(text) == 6:
        hours, minutes = int(text[1:3]), int(text[4:])
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if text[0] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is neither an IANA time zone nor an offset (-05:00)") from None


def template() -> str:
    """Return a commented mapping to start from."""
    return (resources.files("mbats.vendors") / "mapping_template.toml").read_text()


def read_mapping(path: Path, **overrides: Any) -> FileMapping:
    """Read a mapping from a TOML file; ``overrides`` that are not None win over its values."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"The mapping {path} cannot be read: {error.strerror}.",
            mend="mbats data mapping > mapping.toml, and adapt it",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", mend=f"correct {path}") from error
    return make_mapping(str(path), **values | {k: v for k, v in overrides.items() if v is not None})


def make_mapping(source: str = "the mapping", **values: Any) -> FileMapping:
    """Return the mapping of keyword options. Raises :class:`ConfigError` naming the bad one."""
    try:
        if values.get("instrument"):
            values["instrument"] = parse_name(values["instrument"])
        return FileMapping(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "mapping"
        raise ConfigError(
            f"In {source}, {where}: {first['msg'].removeprefix('Value error, ')}.",
            tried=[f"the value {first['input']!r}"] if first["loc"] else [],
            mend="`mbats data mapping` prints a mapping with every key explained",
        ) from None
    except DataError as error:
        raise ConfigError(f"In {source}: {error.cause}", mend=error.mend) from error
