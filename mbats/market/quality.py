"""Checking stored bars: builds the series, runs the checks, makes rows of ``data_quality``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mbats.errors import DataError
from mbats.market.bars import PARTS, SIDES, Ohlc
from mbats.market.checks import CHECKS, Check, Series, Thresholds
from mbats.market.granularity import Granularity
from mbats.market.history import HistoryStore
from mbats.market.numeric import to_float64_or_nan
from mbats.market.session import calendar

MENDED = "mended"
"""The severity of a finding that a later check no longer made."""


def check_bars(
    table: pa.Table,
    granularity: str,
    calendar_name: str,
    now: datetime,
    limits: Thresholds | None = None,
    checks: Sequence[Check] = CHECKS,
) -> list[dict[str, Any]]:
    """Return a row of ``data_quality`` for each finding in ``table``, worst first, then by time.

    ``table`` holds one instrument of one vendor in BAR_SCHEMA, in any order. ``now`` is aware; it
    becomes ``checked_at``. Raises :class:`~mbats.errors.DataError` for several instruments or
    vendors or for no bars at all.
    """
    series = _series(table, granularity, calendar_name, now, limits or Thresholds())
    rows = [
        {
            "instrument": series.instrument,
            "granularity": series.granularity.value,
            "vendor": series.vendor,
            "check_name": check.name,
            "start": finding.start,
            "end_time": finding.end,
            "severity": finding.severity,
            "bars": finding.bars,
            "detail": finding.detail,
            "checked_at": now,
        }
        for check in checks
        for finding in check.find(series)
    ]
    return sorted(rows, key=lambda row: (row["severity"], row["start"], row["check_name"]))


def check_series(
    store: HistoryStore,
    series: tuple[str, str, str],
    calendar: str,
    now: datetime,
    start: datetime | None = None,
) -> list[dict[str, Any]]:
    """Check the stored bars of (instrument, granularity, vendor) from ``start``.

    Returns what was found as rows of ``data_quality``, and keeps it (:func:`keep_findings`).
    """
    instrument, granularity, vendor = series
    bars = store.bars(instrument, granularity, vendor, start=start)
    findings = check_bars(bars, granularity, calendar, now) if bars.num_rows else []
    keep_findings(store, series, findings, now, start)
    return findings


def keep_findings(
    store: HistoryStore,
    series: tuple[str, str, str],
    findings: Sequence[dict[str, Any]],
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
) -> None:
    """Store new and changed findings about the bars with start in [start, end).

    Earlier findings about these bars that were not made again are marked ``mended``.
    """
    where = dict(zip(("instrument", "granularity", "vendor"), series, strict=True))
    known = {_key(row): row for row in store.rows("data_quality", where)}
    true = {_key(row) for row in findings}
    changed = [row for row in findings if not _says_the_same(row, known.get(_key(row)))]
    mended = [
        row | {"severity": MENDED, "checked_at": now}
        for key, row in known.items()
        if key not in true
        and row["severity"] != MENDED
        and (start is None or row["start"] >= start)
        and (end is None or row["start"] < end)
    ]
    if changed or mended:
        store.merge("data_quality", [*changed, *mended])


def _key(finding: dict[str, Any]) -> tuple[str, datetime]:
    return finding["check_name"], finding["start"]


def _says_the_same(finding: dict[str, Any], known: dict[str, Any] | None) -> bool:
    ignored = {"checked_at": None}
    return known is not None and known | ignored == finding | ignored


def _series(
    table: pa.Table, granularity: str, calendar_name: str, now: datetime, limits: Thresholds
) -> Series:
    names = {}
    for column in ("instrument", "vendor"):
        values = table.column(column).unique().to_pylist()
        if len(values) != 1:
            raise DataError(
                f"Expected bars of one {column}, got {sorted(values) or 'none'}.",
                mend="check one series at a time; load bars before checking them",
            )
        names[column] = values[0]
    table = table.sort_by("start")  # a stable sort
    start, end = (
        table.column(name).cast(pa.timestamp("us")).to_numpy() for name in ("start", "end_time")
    )
    prices = {
        side: Ohlc(*(to_float64_or_nan(table.column(f"{side}_{part}")) for part in PARTS))
        for side in SIDES
    }
    return Series(
        instrument=names["instrument"],
        granularity=Granularity.parse(granularity),
        vendor=names["vendor"],
        start=start,
        end=end,
        prices={side: p for side, p in prices.items() if not all(np.isnan(x).all() for x in p)},
        complete=table.column("complete").to_numpy(),
        first=np.concatenate([[True], start[1:] != start[:-1]]),
        calendar=calendar(calendar_name),
        now=now,
        limits=limits,
    )
