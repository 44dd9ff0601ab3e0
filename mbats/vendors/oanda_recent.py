"""The bars just before now, from OANDA's candles: what a bot warms up with and catches up from."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from oandapyV20.endpoints.instruments import InstrumentsCandles

from mbats.live.candles import Recent
from mbats.live.orders.ports import Clock
from mbats.market.aggregate import Bar, Candle
from mbats.market.bars import PARTS, Bars, bars_from_table
from mbats.market.granularity import Granularity
from mbats.vendors.oanda import ALIGNMENT, PAGE_CANDLES, table_of
from mbats.vendors.oanda_client import OandaReader

WARM_UP_BARS = 500


class OandaRecent:
    """A :class:`~mbats.live.candles.BarSource` over one session; not for several threads."""

    def __init__(self, reader: OandaReader, clock: Clock, bars: int = WARM_UP_BARS) -> None:
        """Read through ``reader``; ``bars`` are enough to warm a strategy up."""
        self._reader = reader
        self._clock = clock
        self._count = min(bars + 1, PAGE_CANDLES)

    def recent(self, instrument: str, granularity: Granularity, after: datetime | None) -> Recent:
        """Return the bars that end after ``after``, and the open one."""
        read_at = self._clock.now()
        candles = self._candles(instrument, granularity)
        ended = [c for c in candles if granularity.end_of(_start(c)) <= read_at]
        forming = [c for c in candles if granularity.end_of(_start(c)) > read_at]
        if after is not None:
            ended = [c for c in ended if granularity.end_of(_start(c)) > after]
        bars = self._bars(instrument, granularity, ended)
        # Where the answer was long on its way, even the first of them may be of later: then the bar
        # of the question never had a price, and what came after is in the inbox.
        if not forming or _start(forming[0]) > read_at:
            return Recent(bars, read_at, empty=True)
        return Recent(bars, read_at, _forming(instrument, granularity, forming[0]))

    def _candles(self, instrument: str, granularity: Granularity) -> list[dict[str, Any]]:
        params = {
            "granularity": granularity.value,
            "price": "MBA",
            "count": str(self._count),
            **ALIGNMENT,
        }
        answer = self._reader.get(
            lambda: InstrumentsCandles(instrument, params=params),
            f"recent {granularity.value} candles of {instrument}",
        )
        candles: list[dict[str, Any]] = answer["candles"]
        return candles

    def _bars(
        self, instrument: str, granularity: Granularity, candles: list[dict[str, Any]]
    ) -> Bars | None:
        if not candles:
            return None
        table: pa.Table = table_of(instrument, granularity, candles)
        return bars_from_table(table, granularity.value)


def _forming(instrument: str, granularity: Granularity, candle: dict[str, Any]) -> Bar:
    start = _start(candle)
    bid, ask, mid = (
        Candle(*(Decimal(candle[side][part[0]]) for part in PARTS))
        for side in ("bid", "ask", "mid")
    )
    volume = int(candle["volume"])
    end = granularity.end_of(start)
    return Bar(instrument, granularity, start, end, bid, ask, mid, volume, complete=False)


def _start(candle: dict[str, Any]) -> datetime:
    """Return when a candle begins: a whole second, the nanoseconds say nothing."""
    return datetime.fromisoformat(candle["time"][:19]).replace(tzinfo=UTC)
