"""Where prices come from: generated from a seed, or replayed from ticks, bars and files."""

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mbats.errors import DataError
from mbats.local.oanda_sim.calendar import next_quoting, quoting
from mbats.local.oanda_sim.config import START_VALUES, Spec
from mbats.local.oanda_sim.quotes import Quote
from mbats.local.oanda_sim.times import MICRO, MILLI, SECOND, parse_time

if TYPE_CHECKING:
    from mbats.market.bars import Bars

_YEAR_SECONDS = 260 * 86_400
_STALE_SPREAD = 10
_MOST_WIDENING = 3
_LOWEST = 10  # points: the recorded bid ladder is nine points deep


class _Shape(NamedTuple):
    """What the walk needs of an instrument, worked out once."""

    base: str
    quote: str
    scale: int
    spread: int


def spread_points(spec: Spec) -> int:
    """Return an instrument's typical spread in points, at least one."""
    spread = spec.instrument.typical_spread_pips * spec.instrument.pip
    return max(1, round(spread.scaleb(spec.precision)))


class Source(Protocol):
    """A stream of quotes in order of time."""

    def next_time(self) -> int | None:
        """Return the instant of the next quote, or None at the end."""
        ...

    def take(self) -> Quote:
        """Return the next quote and move on."""
        ...

    def skip_to(self, ns: int) -> None:
        """Drop every quote at or before ``ns``; used after a restart."""
        ...


class RandomWalk:
    """Geometric random walks of each currency against the dollar, on a grid of steps.

    Crosses are quotients, so prices hang together. Everything is drawn from one seeded source in
    one order: the same seed, specs and start give the same quotes. While the market is closed
    nothing comes but, at the close, one stale and wide price that cannot be traded.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        seed: int,
        start_ns: int,
        step_ms: int,
        annual_volatility: float,
        daily_break: bool,
        start_values: dict[str, float] | None = None,
    ) -> None:
        values = START_VALUES if start_values is None else start_values
        self._specs = list(specs)
        self._dice = random.Random(f"walk/{seed}")
        self._step_ns = step_ms * MILLI
        self._sigma = annual_volatility * math.sqrt(step_ms / 1000 / _YEAR_SECONDS)
        self._daily_break = daily_break
        currencies = sorted({part for s in specs for part in s.name.split("_")})
        self._values = {currency: values.get(currency, 1.0) for currency in currencies}
        self._shapes = {
            s.name: _Shape(s.instrument.base, s.instrument.quote, 10**s.precision, spread_points(s))
            for s in specs
        }
        self._time = start_ns
        self._queue: list[Quote] = self._all(start_ns, quoting(start_ns, daily_break))

    def next_time(self) -> int | None:
        """Return the instant of the next quote; there always is one."""
        while not self._queue:
            self._step()
        return self._queue[0].time_ns

    def take(self) -> Quote:
        """Return the next quote."""
        self.next_time()
        return self._queue.pop(0)

    def skip_to(self, ns: int) -> None:
        """Live through the steps to ``ns`` without their quotes."""
        while (at := self.next_time()) is not None and at <= ns:
            self._queue.pop(0)

    def _step(self) -> None:
        self._time += self._step_ns
        if not quoting(self._time, self._daily_break):
            self._queue = self._all(self._time, tradeable=False)
            opens = next_quoting(self._time, self._daily_break)
            self._time = opens - self._step_ns  # the next step is the opening
            return
        for currency in self._values:
            if currency != "USD":
                self._values[currency] *= math.exp(self._dice.gauss(0.0, self._sigma))
        quotes = []
        for spec, bits in zip(self._specs, self._draws(), strict=True):
            if bits & 1:
                jitter, widening = bits >> 4, (bits >> 1) % _MOST_WIDENING
                quotes.append(self._quote(spec, self._time + jitter, widening))
        quotes.sort(key=lambda quote: quote.time_ns)
        self._queue = quotes

    def _draws(self) -> list[int]:
        return [self._dice.getrandbits(24) for _ in self._specs]

    def _all(self, time_ns: int, tradeable: bool) -> list[Quote]:
        widening = 0 if tradeable else None
        return [self._quote(spec, time_ns, widening) for spec in self._specs]

    def _quote(self, spec: Spec, time_ns: int, widening: int | None) -> Quote:
        shape = self._shapes[spec.name]
        middle = self._values[shape.base] / self._values[shape.quote] * shape.scale
        spread = shape.spread * _STALE_SPREAD if widening is None else shape.spread + widening
        bid = max(_LOWEST, round(middle - spread / 2))
        return Quote(spec.name, time_ns, bid, bid + spread, spec.precision, widening is not None)


class Replay:
    """Quotes that are there already, in order of time."""

    def __init__(self, quotes: Iterable[Quote]) -> None:
        self._quotes = iter(quotes)
        self._next: Quote | None = next(self._quotes, None)

    def next_time(self) -> int | None:
        """Return the instant of the next quote, or None at the end."""
        return None if self._next is None else self._next.time_ns

    def take(self) -> Quote:
        """Return the next quote; DataError where times run backwards."""
        taken = self._next
        if taken is None:
            raise DataError("The replay is over.")
        self._next = next(self._quotes, None)
        if self._next is not None and self._next.time_ns < taken.time_ns:
            raise DataError(
                f"Replayed prices run backwards at {self._next.instrument}.",
                mend="sort them by time",
            )
        return taken

    def skip_to(self, ns: int) -> None:
        """Drop every quote at or before ``ns``."""
        while self._next is not None and self._next.time_ns <= ns:
            self.take()


def quotes_of_bars(bars: "Bars", spec: Spec) -> Iterator[Quote]:
    """Yield four quotes a bar: open, the nearer extreme first, the other, close.

    A rising bar is taken to have seen its low first, a falling one its high. Bars without bid and
    ask get the instrument's typical spread around the middle.
    """
    half = float(spec.instrument.typical_spread_pips * spec.instrument.pip) / 2
    scale = 10**spec.precision
    starts = bars.start.astype("datetime64[us]").astype("int64")
    ends = bars.end.astype("datetime64[us]").astype("int64")
    for i in range(len(bars)):
        start, end = int(starts[i]) * MICRO, int(ends[i]) * MICRO
        rising = bars.mid.close[i] >= bars.mid.open[i]
        parts = ("open", "low", "high", "close") if rising else ("open", "high", "low", "close")
        for k, part in enumerate(parts):
            middle = float(getattr(bars.mid, part)[i])
            bid = float(getattr(bars.bid, part)[i]) if bars.bid else middle - half
            ask = float(getattr(bars.ask, part)[i]) if bars.ask else middle + half
            at = start + (end - start) * k // 4
            yield Quote(spec.name, at, round(bid * scale), round(ask * scale), spec.precision)


def merged(streams: Iterable[Iterable[Quote]]) -> Iterator[Quote]:
    """Yield the quotes of several sorted streams in order of time."""
    return heapq.merge(*streams, key=lambda quote: (quote.time_ns, quote.instrument))


def quotes_of_file(path: Path, specs: dict[str, Spec]) -> list[Quote]:
    """Read a CSV or Parquet file of ticks: columns time, instrument, bid, ask; sorted by time.

    Raises :class:`~mbats.errors.DataError` for a file, a column or an instrument it lacks.
    """
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise DataError(f"There is no file {path}.", mend="name a CSV or Parquet file of ticks")
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pyarrow.string()))
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
    else:
        table = pyarrow.csv.read_csv(path, convert_options=as_text)
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise DataError(
            f"{path.name} has no column {missing[0]!r}.",
            tried=table.column_names,
            mend=f"give it the columns {', '.join(_COLUMNS)}",
        )
    rows = zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True)
    quotes = [_row_quote(path, number, row, specs) for number, row in enumerate(rows, 2)]
    return sorted(quotes, key=lambda quote: quote.time_ns)


_COLUMNS = ("time", "instrument", "bid", "ask")


def _row_quote(path: Path, number: int, row: tuple[object, ...], specs: dict[str, Spec]) -> Quote:
    time, name, bid, ask = row
    try:
        spec = specs[str(name)]
        at = time.timestamp() * SECOND if hasattr(time, "timestamp") else parse_time(str(time))
        scale = 10**spec.precision
        low, high = round(Decimal(str(bid)) * scale), round(Decimal(str(ask)) * scale)
    except (KeyError, ValueError, ArithmeticError) as error:
        raise DataError(
            f"{path.name}, row {number}: {error!r} in {row}.",
            tried=[f"instruments: {', '.join(specs)}"],
            mend="correct the row, or start the simulator with that instrument",
        ) from None
    return Quote(spec.name, int(at), low, high, spec.precision)
