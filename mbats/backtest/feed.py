"""Bars into backtrader without a row loop.

The ``datetime`` line holds the END of each bar, the instant it is known, so feeds of different
granularity in one run can never show a bar early. Storage and results name bars by their start.
The price lines are mid; bid and ask stay beside them for the broker and cost nothing per bar.
"""

import re
from array import array
from collections.abc import Sequence
from typing import Any, cast

import backtrader as bt
import numpy as np
import numpy.typing as npt

from mbats.errors import DataError
from mbats.market.bars import Bars, Floats, Ohlc, Times

MICROS_A_DAY = 86_400_000_000
# backtrader counts days as Python's ordinals: 1970-01-01 is day 719163.
EPOCH_ORDINAL = 719_163
_BEFORE = float("-inf")
LINES = ("close", "low", "high", "open", "volume", "openinterest", "datetime")

_GRANULARITY = re.compile(r"([SMH])(\d+)|([DWM])")
_FRAMES = {
    "S": (bt.TimeFrame.Seconds, 1),
    "M": (bt.TimeFrame.Minutes, 1),
    "H": (bt.TimeFrame.Minutes, 60),
}
_LONG_FRAMES = {"D": bt.TimeFrame.Days, "W": bt.TimeFrame.Weeks, "M": bt.TimeFrame.Months}


def to_nums(times: Times) -> Floats:
    """Return UTC instants as backtrader's float days; shape kept, resolution about 10 us."""
    micros = times.astype("datetime64[us]").astype(np.int64)
    days, rest = np.divmod(micros, MICROS_A_DAY)
    nums: Floats = (days + EPOCH_ORDINAL) + rest / MICROS_A_DAY
    return nums


def frame(granularity: str) -> tuple[int, int]:
    """Return backtrader's (timeframe, compression) of a granularity such as M1, H4 or D."""
    found = _GRANULARITY.fullmatch(granularity)
    if not found:
        raise DataError(f"{granularity!r} is not a granularity.", tried=["S5", "M1", "H4", "D"])
    unit, count, long = found.groups()
    if long:
        return _LONG_FRAMES[long], 1
    timeframe, factor = _FRAMES[unit]
    return timeframe, int(count) * factor


class NumpyFeed(bt.feed.DataBase):  # type: ignore[misc]
    """One instrument's bars. ``NumpyFeed(dataname=bars, name="EUR_USD", half_spread=0.00007)``.

    ``half_spread``, in quote currency, makes bid and ask where the bars are mid only; with
    ``sided=False`` every side is mid (no spread at all). Raises :class:`DataError` for bars that
    overlap or hold a price that is not finite and above zero.
    """

    params = (("half_spread", 0.0), ("sided", True))

    def __init__(self, **_: Any) -> None:  # backtrader has taken the parameters already
        super().__init__()
        bars: Bars = self.p.dataname
        _check(bars)
        self.bars = bars
        self.instrument = bars.instrument
        self._timeframe, self._compression = frame(bars.granularity)
        self.p.timeframe, self.p.compression = self._timeframe, self._compression
        self._nums = to_nums(bars.end)
        self._ends = _view(self._nums)
        self._starts = _view(to_nums(bars.start))
        self._first_line = self.lines.lines[0]
        self._sides: dict[bool, Ohlc] = {}
        sided = self.p.sided and bars.bid is not None and bars.ask is not None
        self.half_spread = 0.0 if sided or not self.p.sided else self.p.half_spread
        self._bid = _views(bars.bid if sided and bars.bid else bars.mid)
        self._ask = _views(bars.ask if sided and bars.ask else bars.mid)
        self._row = 0
        self.number = 0  # its place in the run

    def start(self) -> None:
        """Begin at the first bar."""
        super().start()
        self._row = 0

    def preload(self) -> None:
        """Fill every line at once; filters and date limits take backtrader's way, bar by bar."""
        if self._filters or self.p.fromdate is not None or self.p.todate is not None:
            super().preload()
            return
        padding = array("d", [float("nan")]) * self.lines[0].extension
        for name, values in zip(LINES, self._columns(), strict=True):
            line = getattr(self.lines, name)
            line.array = array("d", values.tobytes()) + padding
        self._row = len(self.bars)
        self.home()

    def advance(self, size: int = 1, datamaster: object = None, ticks: bool = True) -> None:
        """Move every line one bar on; as backtrader's, without its seven property calls."""
        if datamaster is not None:
            super().advance(size, datamaster, ticks)
            return
        for line in self.lines.lines:
            line._idx += size
            line.lencount += size

    def _tick_nullify(self) -> None:
        """Keep nothing: ticks within a bar are the broker's business."""

    def _tick_fill(self, force: bool = False) -> None:
        """Keep nothing: ticks within a bar are the broker's business."""

    def _load(self) -> bool:
        row = self._row
        if row >= len(self.bars):
            return False
        mid, volume = self.bars.mid, self.bars.volume
        lines = self.lines
        lines.datetime[0] = self._nums[row]
        lines.open[0], lines.high[0] = mid.open[row], mid.high[row]
        lines.low[0], lines.close[0] = mid.low[row], mid.close[row]
        lines.volume[0] = 0.0 if volume is None else float(volume[row])
        lines.openinterest[0] = 0.0
        self._row = row + 1
        return True

    def _columns(self) -> tuple[npt.NDArray[np.float64], ...]:
        mid, volume = self.bars.mid, self.bars.volume
        zeros = np.zeros(len(self.bars))
        traded = zeros if volume is None else volume.astype(np.float64)
        return (mid.close, mid.low, mid.high, mid.open, traded, zeros, self._nums)

    # What the broker asks of a feed.

    @property
    def row(self) -> int:
        """Index of the current bar in ``bars``."""
        row: int = self._first_line.lencount - 1
        return row

    @property
    def end(self) -> float:
        """End of the current bar, in backtrader's float days; minus infinity before the first."""
        row = self._first_line.lencount - 1
        return self._ends[row] if row >= 0 else _BEFORE

    def bar_start(self) -> float:
        """Return the start of the current bar, in backtrader's float days."""
        return float(self._starts[self._first_line.lencount - 1])

    def quote(self, is_buy: bool) -> tuple[float, float, float, float]:
        """Return open, high, low and close of the current bar on the side an order trades at."""
        row = self._first_line.lencount - 1
        open_, high, low, close = self._ask if is_buy else self._bid
        half = self.half_spread if is_buy else -self.half_spread
        return open_[row] + half, high[row] + half, low[row] + half, close[row] + half

    def half_spread_at(self, part: int) -> float:
        """Return half the current bar's spread at its open (part 0) or close (part 3)."""
        row = self.row
        return (self._ask[part][row] - self._bid[part][row]) / 2 + self.half_spread

    def exit_price(self, units: float) -> float:
        """Return the close a position would be closed at now: bid for a long, ask for a short."""
        row = self._first_line.lencount - 1
        if units > 0:
            return float(self._bid[3][row] - self.half_spread)
        return float(self._ask[3][row] + self.half_spread)

    def side(self, is_buy: bool) -> Ohlc:
        """Return whole arrays, shape (bars,), of the side that a buy or a sell trades at."""
        if is_buy not in self._sides:
            half = self.half_spread if is_buy else -self.half_spread
            views = self._ask if is_buy else self._bid
            self._sides[is_buy] = Ohlc(*(np.asarray(view) + half for view in views))
        return self._sides[is_buy]


def _view(values: Floats) -> Sequence[float]:
    """Return a view whose items are plain floats, without a copy."""
    return cast(Sequence[float], np.ascontiguousarray(values, dtype=np.float64).data)


def _views(prices: Ohlc) -> tuple[Sequence[float], ...]:
    return tuple(_view(part) for part in prices)


def _check(bars: Bars) -> None:
    if not len(bars):
        raise DataError(f"There are no {bars.granularity} bars of {bars.instrument}.")
    for prices in (bars.mid, bars.bid, bars.ask):
        for part in prices or ():
            bad = ~(np.isfinite(part) & (part > 0))
            if np.any(bad):
                at = bars.start[int(np.argmax(bad))]
                raise DataError(
                    f"The {bars.granularity} bar of {bars.instrument} at {at}Z has a price that "
                    "is not a number above zero.",
                    mend=f"mbats data check {bars.instrument}",
                )
    overlap = bars.start[1:] < bars.end[:-1]
    if np.any(overlap) or np.any(bars.end <= bars.start):
        at = bars.start[1:][int(np.argmax(overlap))] if np.any(overlap) else bars.start[0]
        raise DataError(
            f"The {bars.granularity} bar of {bars.instrument} at {at}Z begins before its "
            "predecessor ends, or ends before it begins: orders would fill in the past.",
            mend=f"mbats data check {bars.instrument}",
        )
