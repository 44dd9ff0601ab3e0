"""The logger for machine learning: mid prices and every indicator of the strategies, per bar.

backtrader keeps each indicator's values in an array, so they are read once, after the run. A
feature is named by the indicator's ``plotname``, or by its class where it has none; a line
beyond the first adds its own name. Two of one name on one feed are numbered from the second.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import backtrader as bt
import numpy as np
import pyarrow as pa

from mbats import schemas
from mbats.backtest.feed import NumpyFeed
from mbats.backtest.rows import Names, numeric, table
from mbats.market.bars import Floats


def signals(strategies: Sequence[bt.Strategy], names: Names) -> pa.Table:
    """Return ``signal``: a row a bar of each strategy's feeds that carry an indicator."""
    parts = [
        _rows(feed, names.strategies[index], features, names.run_id)
        for index, strategy in enumerate(strategies)
        for feed in strategy.datas
        if (features := indicator_values(strategy, feed))
    ]
    return pa.concat_tables(parts) if parts else none()


def none() -> pa.Table:
    """Return no rows of ``signal``."""
    return schemas.table("risk", "signal").arrow.empty_table()


def indicator_values(strategy: bt.Strategy, feed: NumpyFeed) -> dict[str, Floats]:
    """Return by feature name the values of the indicators on ``feed``, NaN while warming up.

    Arrays have shape (bars,).
    """
    lines = indicator_lines(strategy)[feed]
    return {name: _values(line, len(feed.bars)) for name, line in lines.items()}


def indicator_lines(strategy: bt.Strategy) -> dict[Any, dict[str, Any]]:
    """Return each feed's indicator lines by feature name; ``line[0]`` is the newest value."""
    found: dict[Any, dict[str, Any]] = {feed: {} for feed in strategy.datas}
    feeds = {id(part): feed for feed in strategy.datas for part in (feed, *feed.lines.lines)}
    for indicator in strategy.getindicators_lines():
        feed = _feed_of(indicator, feeds)
        if feed is not None:
            for name, line in _lines(indicator):
                found[feed][_unused(name, found[feed])] = line
    return found


def _feed_of(indicator: Any, feeds: Mapping[int, Any]) -> Any:
    """Climb an indicator's clocks to the feed that it ticks with; ``feeds`` go by id, and lines."""
    clock = indicator
    while clock is not None:
        if id(clock) in feeds:
            return feeds[id(clock)]
        above = clock.__dict__.get("_clock")
        clock = above if above is not None else clock.__dict__.get("_owner")
    return None


def _lines(indicator: Any) -> Iterator[tuple[str, Any]]:
    plotname = indicator.plotinfo.plotname or type(indicator).__name__
    for number, (alias, line) in enumerate(
        zip(indicator.getlinealiases(), indicator.lines.lines, strict=False)
    ):
        yield (f"{plotname}.{alias}" if number else plotname), line


def _values(line: Any, bars: int) -> Floats:
    values = np.full(bars, np.nan)
    known = np.frombuffer(line.array, dtype=np.float64)[:bars]
    values[: len(known)] = known
    return values


def _unused(name: str, taken: dict[str, Any]) -> str:
    number, unused = 2, name
    while unused in taken:
        unused, number = f"{name}_{number}", number + 1
    return unused


def _rows(feed: NumpyFeed, strategy: str, features: dict[str, Floats], run_id: str) -> pa.Table:
    mid, count = feed.bars.mid, len(feed.bars)
    values = [
        [value if math.isfinite(value) else None for value in v.tolist()] for v in features.values()
    ]
    columns = {
        "run_id": run_id,
        "strategy": strategy,
        "instrument": feed.instrument,
        "time": feed.bars.start,
        "known_at": feed.bars.end,
        "open": numeric(mid.open),
        "high": numeric(mid.high),
        "low": numeric(mid.low),
        "close": numeric(mid.close),
        "indicators": [
            json.dumps(dict(zip(features, row, strict=True))) for row in zip(*values, strict=True)
        ],
    }
    return table("signal", columns, count)
