"""Bringing history in: from the last stored bar to now, page by page, each instrument for itself.

Running it twice adds nothing: every page is merged on the bars' natural key. The last stored bar is
read again, so a bar that its vendor corrected replaces the old one. An error ends the instrument it
belongs to, is kept in that instrument's report, and touches no other.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from mbats.errors import DataError, MbatsError
from mbats.market.history import HistoryStore, Vendor, VendorInfo
from mbats.market.instrument import Instrument
from mbats.market.quality import check_series
from mbats.vendors.pages import refuse_bad_page
from mbats.vendors.rows import Tally

# Pages are gathered to about this many rows before a MERGE, whose cost is mostly its own.
BATCH_ROWS = 20_000
# No FX series that a vendor offers is older.
EARLIEST = datetime(1980, 1, 2, tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One series to bring in.

    It is read from its last stored bar; from ``earliest`` where nothing is stored, or where
    ``again`` asks to read it all anew.
    """

    instrument: str
    granularity: str
    earliest: datetime = EARLIEST
    again: bool = False


@dataclass
class Loaded:
    """What became of one request.

    ``inserted`` and ``updated`` count stored bars; ``unfinished`` bars had not ended and were left
    out; ``rejected`` rows of a file were unusable; ``errors`` and ``warnings`` count the findings
    of the quality checks by check. ``error`` says why the series is not complete; "" where it is.
    """

    instrument: str
    granularity: str
    vendor: str
    pages: int = 0
    inserted: int = 0
    updated: int = 0
    unfinished: int = 0
    rejected: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    error: str = ""
    mend: str = ""

    @property
    def failed(self) -> bool:
        """Whether something of the series is missing."""
        return bool(self.error)


@runtime_checkable
class Rejecting(Protocol):
    """A vendor that leaves out unusable rows and says which."""

    def rejected(self, instrument: str) -> Tally:
        """Return what the last reading of ``instrument`` left out."""
        ...


OnPage = Callable[[Loaded], None]


def download(
    vendor: Vendor,
    store: HistoryStore,
    requests: Sequence[Request],
    now: datetime,
    *,
    on_page: OnPage = lambda report: None,
) -> list[Loaded]:
    """Bring each requested series up to ``now`` (aware) and check what came in.

    Returns one report a request, in order; see :class:`Loaded` for failures. Raises only where
    nothing could be begun: the vendor does not answer, or the store does not.
    """
    if now.tzinfo is None:
        raise DataError(f"{now} has no time zone.", mend="pass an aware datetime")
    now = now.astimezone(UTC)
    describe(vendor, store, {request.instrument for request in requests})
    reports = []
    for request in requests:
        report = Loaded(request.instrument, request.granularity, vendor.info.vendor)
        reports.append(report)
        with _told_in(report):
            start = _start(store, request, report.vendor)
            with _told_in(report):
                _load(vendor, store, request, (start, now), report, on_page)
            _check(vendor, store, request, (start, now), report)
        if isinstance(vendor, Rejecting):
            report.rejected = vendor.rejected(request.instrument).bad
        on_page(report)
    return reports


@contextmanager
def _told_in(report: Loaded) -> Iterator[None]:
    """Keep the first error in the report, whatever it is: the other requests go on."""
    try:
        yield
    except MbatsError as error:
        cause, mend = " ".join([error.cause, *error.tried]), error.mend
    except Exception as error:
        log.exception("loading %s %s", report.instrument, report.granularity)
        cause = f"{type(error).__name__}: {error}"
        mend = "this is a fault of mbats: please report it with the log"
    else:
        return
    if not report.failed:
        report.error, report.mend = cause, mend


def describe(vendor: Vendor, store: HistoryStore, wanted: Iterable[str]) -> None:
    """Store who the vendor is, and those of its instruments that are ``wanted``."""
    info = vendor.info
    known = {instrument.name: instrument for instrument in vendor.instruments()}
    store.merge("data_vendor", [_vendor_row(info)])
    rows = [instrument_row(known[name], info.vendor) for name in sorted(wanted) if name in known]
    if rows:
        store.merge("instrument", rows)


def instrument_row(instrument: Instrument, vendor: str) -> dict[str, Any]:
    """Return the row of the table ``instrument`` that describes ``instrument``."""
    return {
        "instrument": instrument.name,
        "vendor": vendor,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "kind": instrument.kind,
        "display_name": instrument.display_name or None,
        "pip_location": instrument.pip_location,
        "price_precision": instrument.price_precision,
        "units_precision": instrument.units_precision,
        "minimum_trade_units": instrument.minimum_trade_units,
        "maximum_order_units": instrument.maximum_order_units,
        "margin_rate": instrument.margin_rate,
        "typical_spread_pips": instrument.typical_spread_pips,
        "financing_long_rate": instrument.financing_long_rate,
        "financing_short_rate": instrument.financing_short_rate,
    }


def _vendor_row(info: VendorInfo) -> dict[str, Any]:
    row = asdict(info)
    row["price_sides"] = row.pop("sides")
    return row


def _start(store: HistoryStore, request: Request, vendor: str) -> datetime:
    if request.again:
        return request.earliest
    newest = store.last_start(request.instrument, request.granularity, vendor)
    return newest or request.earliest


def _load(
    vendor: Vendor,
    store: HistoryStore,
    request: Request,
    span: tuple[datetime, datetime],
    report: Loaded,
    on_page: OnPage,
) -> None:
    pages = vendor.candles(request.instrument, request.granularity, *span)
    good = _finished(_trusted(pages, vendor, request.instrument, span), span[1], report)
    for batch in _batches(_without_known(good, store, request, report.vendor, span[0])):
        count = store.merge_bars(request.granularity, batch)
        report.pages += 1
        report.inserted += count.inserted
        report.updated += count.updated
        on_page(report)


def _check(
    vendor: Vendor,
    store: HistoryStore,
    request: Request,
    span: tuple[datetime, datetime],
    report: Loaded,
) -> None:
    series = (request.instrument, request.granularity, vendor.info.vendor)
    findings = check_series(store, series, vendor.info.calendar, now=span[1], start=span[0])
    for row in findings:
        counts = report.errors if row["severity"] == "error" else report.warnings
        counts[row["check_name"]] = counts.get(row["check_name"], 0) + 1


def _trusted(
    pages: Iterable[pa.Table], vendor: Vendor, instrument: str, span: tuple[datetime, datetime]
) -> Iterator[pa.Table]:
    for page in pages:
        refuse_bad_page(page, instrument, vendor.info.vendor, *span)
        yield page


def _finished(pages: Iterable[pa.Table], now: datetime, report: Loaded) -> Iterator[pa.Table]:
    """Yield the bars that had ended by ``now``, whatever the vendor calls complete."""
    for page in pages:
        ended = page.filter(pc.less_equal(page.column("end_time"), pa.scalar(now)))
        report.unfinished += page.num_rows - ended.num_rows
        if ended.num_rows:
            yield ended


def _without_known(
    pages: Iterable[pa.Table], store: HistoryStore, request: Request, vendor: str, start: datetime
) -> Iterator[pa.Table]:
    """Leave out the last stored bar, read again, where it still says the same: no MERGE for it."""
    after = start + timedelta(microseconds=1)
    for number, page in enumerate(pages):
        if number == 0 and page.column("start")[0].as_py() == start:
            known = store.bars(request.instrument, request.granularity, vendor, start, after)
            if page.slice(0, 1).to_pylist() == known.to_pylist():
                page = page.slice(1)
        if page.num_rows:
            yield page


def _batches(pages: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Gather pages; where reading breaks off, what was read before is still handed on.

    A page that overlaps the one before starts a new batch: a batch has no key twice, and the
    later page wins.
    """
    held: list[pa.Table] = []
    rows = 0
    try:
        for page in pages:
            overlaps = held and page.column("start")[0].as_py() <= held[-1]["start"][-1].as_py()
            if held and (overlaps or rows >= BATCH_ROWS):
                yield pa.concat_tables(held)
                held, rows = [], 0
            held.append(page)
            rows += page.num_rows
    except Exception:
        if held:
            yield pa.concat_tables(held)
        raise
    if held:
        yield pa.concat_tables(held)
