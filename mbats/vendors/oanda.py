"""OANDA's candles: bid, ask and mid, aligned at 17:00 New York, complete ones only.

What the service does was measured by others and is kept in mind here: an interval without a price
has no candle, so a page may be shorter than asked for and its length says nothing about the end;
a count may not be mixed with both ends of a range; the newest candle may be incomplete for up to
45 seconds after its end; times carry nanoseconds.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from oandapyV20.endpoints.accounts import AccountInstruments, AccountList
from oandapyV20.endpoints.instruments import InstrumentsCandles

from mbats.config import Settings
from mbats.errors import DataError
from mbats.market.bars import PARTS, PRICE_COLUMNS, SIDES, Times
from mbats.market.granularity import Granularity
from mbats.market.history import VendorInfo
from mbats.market.instrument import Instrument
from mbats.market.newyork import instant, to_datetime
from mbats.market.numeric import NUMERIC
from mbats.vendors.oanda_client import OandaReader, connect
from mbats.vendors.pages import bar_page

INFO = VendorInfo(
    vendor="oanda",
    display_name="OANDA v20",
    website="https://developer.oanda.com/rest-live-v20/introduction/",
    sides="bid+ask+mid",
    calendar="fx",
    licence="for the account's own use, under the agreement with OANDA",
)
BASIS = "quotes"
PAGE_CANDLES = 5000
# OANDA has no candle before this.
FIRST_CANDLE = datetime(2002, 1, 1, tzinfo=UTC)

ALIGNMENT = {
    "dailyAlignment": 17,
    "alignmentTimezone": "America/New_York",
    "weeklyAlignment": "Friday",
}
_KINDS = {"CURRENCY": "FX", "METAL": "METAL", "CFD": "CFD"}
_LONGEST_BAR = timedelta(days=31)


class OandaVendor:
    """History through oandapyV20, from the simulator, practice or live (reading only)."""

    info = INFO

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read from the OANDA that ``settings`` name; ``sleep`` and ``clock`` are in seconds."""
        self._settings = settings
        self._sleep = sleep
        self._clock = clock

    @cached_property
    def _reader(self) -> OandaReader:
        return connect(self._settings, sleep=self._sleep, clock=self._clock)

    @cached_property
    def account(self) -> str:
        """The account of the settings; the first one of the token where they name none."""
        return self._settings.oanda_account or self._first_account()

    def instruments(self) -> Sequence[Instrument]:
        """Return what the account may trade."""
        answer = self._reader.get(lambda: AccountInstruments(self.account), "its instruments")
        return [_instrument(described) for described in answer["instruments"]]

    def granularities(self) -> Sequence[str]:
        """Return OANDA's granularities, S5 to M."""
        return tuple(Granularity)

    def candles(
        self, instrument: str, granularity: str, start: datetime, end: datetime
    ) -> Iterator[pa.Table]:
        """Yield pages of at most 5,000 complete candles that start in [start, end).

        No request names an end, so none can lie in the future; the pages stop at the first
        candle that is incomplete or starts at ``end`` or later.
        """
        bar = Granularity.parse(granularity)
        reached, include_first = max(start, FIRST_CANDLE), True
        last: datetime | None = None
        while reached < end:
            candles = self._page(instrument, bar, reached, include_first)
            whole = _complete_prefix(candles)
            page = table_of(instrument, bar, whole)
            page = _between(page, start, end, last)
            if page.num_rows:
                last = page.column("start")[-1].as_py()
                yield page
            if len(whole) < len(candles):
                return
            if candles:
                following = _start(candles[-1])
                if following <= reached and not include_first:
                    return
                reached, include_first = following, False
            else:
                reached, include_first = _beyond(bar, reached), True

    def _page(
        self, instrument: str, bar: Granularity, start: datetime, include_first: bool
    ) -> list[dict[str, Any]]:
        params = {
            "granularity": bar.value,
            "price": "MBA",
            "from": start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "count": PAGE_CANDLES,
            "includeFirst": str(include_first),
            **ALIGNMENT,
        }
        answer = self._reader.get(
            lambda: InstrumentsCandles(instrument, params=params),
            f"{bar.value} candles of {instrument}",
        )
        candles = answer.get("candles")
        if not isinstance(candles, list):
            raise DataError(f"OANDA's answer for {instrument} holds no list of candles.")
        return candles

    def _first_account(self) -> str:
        accounts = self._reader.get(AccountList, "its accounts").get("accounts") or []
        if not accounts:
            raise DataError(
                "The OANDA token has no account.", mend="set MBATS_OANDA_ACCOUNT to one it may use"
            )
        return str(accounts[0]["id"])


def _instrument(described: dict[str, Any]) -> Instrument:
    """Return one entry of /instruments. The financing is that of today; OANDA keeps no history."""
    financing = described.get("financing") or {}
    return Instrument(
        name=described["name"],
        pip_location=int(described["pipLocation"]),
        price_precision=int(described["displayPrecision"]),
        units_precision=int(described["tradeUnitsPrecision"]),
        minimum_trade_units=Decimal(described["minimumTradeSize"]),
        maximum_order_units=Decimal(described["maximumOrderUnits"]),
        margin_rate=Decimal(described["marginRate"]),
        financing_long_rate=Decimal(financing.get("longRate", "0")),
        financing_short_rate=Decimal(financing.get("shortRate", "0")),
        kind=_KINDS.get(described.get("type", ""), "CFD"),
        display_name=described.get("displayName", ""),
    )


def _complete_prefix(candles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the candles before the first incomplete one.

    Later ones are left too: the next download goes on from the last stored bar, so a bar left
    out in the middle would never be asked for again.
    """
    for index, candle in enumerate(candles):
        if candle.get("complete") is not True:
            return candles[:index]
    return candles


def table_of(instrument: str, bar: Granularity, candles: list[dict[str, Any]]) -> pa.Table:
    """Return candles as rows of the desk's bars. Raises :class:`DataError`."""
    starts = _starts(candles)
    try:
        prices = {
            f"{side}_{part}": pa.array(
                [candle[side][part[0]] for candle in candles], pa.string()
            ).cast(NUMERIC)
            for side in SIDES
            for part in PARTS
        }
        volume = pa.array([candle["volume"] for candle in candles], pa.int64())
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"OANDA gave a candle of {instrument} that cannot be read: {error!r}.",
            tried=[f"the columns {', '.join(PRICE_COLUMNS)} and volume"],
        ) from error
    ends = bar.bar_end(starts)
    return bar_page(instrument, INFO.vendor, starts, ends, prices, volume=volume, basis=BASIS)


def _starts(candles: list[dict[str, Any]]) -> Times:
    """Return the candles' times. They start on whole seconds: the nanoseconds say nothing."""
    try:
        texts = pa.array([candle["time"][:19] for candle in candles], pa.string())
        starts: Times = texts.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"OANDA gave a candle whose time cannot be read: {error!r}.") from error
    return starts


def _start(candle: dict[str, Any]) -> datetime:
    return to_datetime(_starts([candle])[0])


def _between(page: pa.Table, start: datetime, end: datetime, last: datetime | None) -> pa.Table:
    """Return the bars in [start, end) after ``last``: an answer may overlap the one before."""
    starts = page.column("start").cast(pa.timestamp("us")).to_numpy()
    keep = (starts >= instant(start)) & (starts < instant(end))
    if last is not None:
        keep &= starts > instant(last)
    return page if np.all(keep) else page.filter(pa.array(keep))


def _beyond(bar: Granularity, start: datetime) -> datetime:
    """Return the time after an empty page. It may be a long closure, not the end of the series."""
    micros = bar.micros
    length = timedelta(microseconds=micros) if micros else _LONGEST_BAR
    return start + PAGE_CANDLES * length
