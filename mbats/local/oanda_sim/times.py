"""Instants as OANDA writes them: integer nanoseconds inside, RFC 3339 or UNIX text outside."""

import re
from datetime import UTC, datetime
from functools import lru_cache

SECOND = 1_000_000_000
MILLI = 1_000_000
MICRO = 1_000
DAY = 86_400 * SECOND

_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9})\d*)?")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?"
)


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(ns: int) -> str:
    """Return nanoseconds since 1970 as ``2026-09-23T21:15:21.638869967Z``."""
    seconds, rest = divmod(ns, SECOND)
    return f"{_second_text(seconds)}.{rest:09d}Z"


def unix(ns: int) -> str:
    """Return nanoseconds since 1970 as ``1607556000.000000000``."""
    seconds, rest = divmod(ns, SECOND)
    return f"{seconds}.{rest:09d}"


def parse_time(text: str) -> int:
    """Return the instant that either form of ``text`` means; ValueError where it is neither.

    Both forms are accepted without a header. A time with no zone is UTC.
    """
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither RFC 3339 nor UNIX time")
    zone = "+00:00" if match[3] in (None, "Z") else match[3]
    at = datetime.fromisoformat(match[1] + zone)
    return int(at.timestamp()) * SECOND + int((match[2] or "").ljust(9, "0"))


def from_datetime(at: datetime) -> int:
    """Return an aware datetime as nanoseconds."""
    return int(at.timestamp()) * SECOND + at.microsecond * MICRO


def in_unix_form(document: object) -> object:
    """Return a copy of a JSON document with every RFC 3339 value in UNIX form."""
    if isinstance(document, dict):
        return {key: in_unix_form(value) for key, value in document.items()}
    if isinstance(document, list):
        return [in_unix_form(value) for value in document]
    if isinstance(document, str) and len(document) == 30 and _RFC3339.fullmatch(document):
        return unix(parse_time(document))
    return document
