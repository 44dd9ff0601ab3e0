"""What a backtest reads from the security master: bars, instruments, conversion rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa

from mbats.errors import DataError
from mbats.market import catalogue
from mbats.market.bars import Bars, bars_from_table
from mbats.market.instrument import Instrument
from mbats.market.newyork import to_datetime
from mbats.trading.conversion import Conversion, StepRate, build

# Daily bars read before the run's first, so that a rate is known when it begins (holidays too).
RATE_LEAD = timedelta(days=14)


class MarketData(Protocol):
    """The security master, as backtests see it."""

    def bars(
        self,
        instrument: str,
        granularity: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the stored bars with start in [start, end), ascending, in BAR_SCHEMA."""
        ...

    def series(self) -> pa.Table:
        """Return one row a stored series: instrument, granularity, vendor, first, last, bars."""
        ...

    def instruments(self, vendor: str | None = None) -> Sequence[Instrument]:
        """Return the instruments that a vendor describes."""
        ...


@dataclass(frozen=True)
class Inputs:
    """Bars of every feed, the record of every instrument, rates into the account currency."""

    bars: Sequence[Bars]
    instruments: Mapping[str, Instrument]
    conversion: Conversion


def load_inputs(
    market: MarketData,
    names: Sequence[str],
    granularities: Sequence[str],
    vendor: str,
    account_currency: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Inputs:
    """Read what a run needs. ``start`` and ``end`` (aware UTC) bound the starts of the bars.

    Raises :class:`DataError` naming the series that has no bars, or the pair that no rate is
    known of, with the command that loads it.
    """
    bars = [
        _bars(market, name, granularity, vendor, start, end)
        for granularity in granularities
        for name in names
    ]
    described = {i.name: i for i in market.instruments(vendor)}
    instruments = {name: described.get(name) or catalogue.instrument(name) for name in names}
    conversion = conversion_for(market, bars, instruments, vendor, account_currency)
    return Inputs(bars, instruments, conversion)


def _bars(
    market: MarketData,
    name: str,
    granularity: str,
    vendor: str,
    start: datetime | None,
    end: datetime | None,
) -> Bars:
    table = market.bars(name, granularity, vendor, start, end)
    if not table.num_rows:
        raise DataError(
            f"There are no {granularity} bars of {name} from {vendor}"
            f"{_span(start, end)} in the security master.",
            tried=_stored(market) or ["nothing is stored yet"],
            mend=f"mbats data load --vendor {vendor} --instruments {name} "
            f"--granularity {granularity}",
        )
    return bars_from_table(table, granularity)


def _span(start: datetime | None, end: datetime | None) -> str:
    since = f" from {start:%Y-%m-%d}" if start else ""
    until = f" to {end:%Y-%m-%d}" if end else ""
    return since + until


def _stored(market: MarketData) -> list[str]:
    return [
        f"{s['instrument']} {s['granularity']} {s['vendor']} "
        f"{s['first']:%Y-%m-%d}..{s['last']:%Y-%m-%d}"
        for s in market.series().to_pylist()[:20]
    ]


def conversion_for(
    market: MarketData,
    bars: Sequence[Bars],
    instruments: Mapping[str, Instrument],
    vendor: str,
    account_currency: str,
) -> Conversion:
    """Return the rates, from daily bars of the run's vendor, else of any, else the run's own."""
    quotes = {i.quote for i in instruments.values()}
    if quotes == {account_currency}:
        return Conversion(account_currency, {})
    first = to_datetime(min(b.start[0] for b in bars))
    last = to_datetime(max(b.end[-1] for b in bars))
    daily: dict[str, list[str]] = {}
    for row in market.series().to_pylist():
        if row["granularity"] == "D" and row["last"] >= first - RATE_LEAD:
            daily.setdefault(row["instrument"], []).append(row["vendor"])
    own = {b.instrument: b for b in bars}

    def load(pair: str) -> StepRate | None:
        for source in sorted(daily.get(pair, ()), key=lambda v: (v != vendor, v)):
            table = market.bars(pair, "D", source, first - RATE_LEAD, last)
            if table.num_rows and _known_in_time(rate := _rate(bars_from_table(table, "D")), bars):
                return rate
        return _rate(own[pair]) if pair in own else None

    return build(account_currency, quotes, {*daily, *own}, load)


def _rate(bars: Bars) -> StepRate:
    return StepRate(bars.end, bars.mid.close, (bars.instrument,))


def _known_in_time(rate: StepRate, bars: Sequence[Bars]) -> bool:
    """Whether the rate is known by the end of the run's first bar: nothing can fill before."""
    return bool(rate.known_at[0] <= np.min([b.end[0] for b in bars]))
