"""One backtest: bars and strategies in, a :class:`RunResult` out. No store, no network, no clock
but the one it is given.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import backtrader as bt
import numpy as np
import pyarrow as pa

from mbats.backtest import rows
from mbats.backtest import signals as features
from mbats.backtest.account import account, step_times
from mbats.backtest.assumptions import Costs, describe, terms_of
from mbats.backtest.broker import FxBroker, Progress
from mbats.backtest.commission import RateCursor
from mbats.backtest.feed import NumpyFeed, to_nums
from mbats.backtest.margin_account import RolloverNum
from mbats.backtest.performance import performance_table
from mbats.backtest.result import RunResult
from mbats.backtest.round_trips import round_trips
from mbats.errors import ConfigError, DataError
from mbats.market.bars import Bars
from mbats.market.instrument import Instrument
from mbats.market.newyork import instant, to_datetime
from mbats.market.session import FX
from mbats.strategy.base import on_the_desk
from mbats.strategy.loading import LoadedStrategy
from mbats.strategy.sizing import parse_sizer
from mbats.trading.conversion import Conversion
from mbats.trading.costs import Terms

PROGRESS_PARTS = 100


@dataclass(frozen=True)
class BacktestSpec:
    """What to run: strategies with their parameters, money, sizer, costs.

    ``sizer`` is as :func:`~mbats.strategy.sizing.parse_sizer` reads it. ``log_signals`` keeps
    prices and indicators of every bar.
    """

    strategies: Sequence[LoadedStrategy]
    cash: Decimal = Decimal(10_000)
    account_currency: str = "USD"
    sizer: str = "units:1000"
    costs: Costs = field(default_factory=Costs)
    log_signals: bool = False
    kind: str = "backtest"
    parent_run_id: str | None = None

    def __post_init__(self) -> None:
        if not self.strategies:
            raise ConfigError("A backtest needs a strategy.")
        if not (self.cash.is_finite() and self.cash > 0):
            raise ConfigError(f"Starting cash must be above zero, not {self.cash}.")
        parse_sizer(self.sizer)

    @property
    def names(self) -> list[str]:
        """Names of the strategies, told apart where one runs twice."""
        plain = [loaded.name for loaded in self.strategies]
        return [
            name if plain.count(name) == 1 else f"{name}#{plain[: i + 1].count(name)}"
            for i, name in enumerate(plain)
        ]


@dataclass(frozen=True)
class Identity:
    """Who runs, when, on which code. Times are aware UTC."""

    run_id: str
    started_at: datetime
    git_sha: str | None = None
    image_digest: str | None = None


def run_row(
    spec: BacktestSpec,
    bars: Sequence[Bars],
    instruments: Mapping[str, Instrument],
    conversion: Conversion,
    identity: Identity,
) -> dict[str, Any]:
    """Return the row of ``risk.run`` as it is known before the run starts."""
    names = spec.names
    return {
        "run_id": identity.run_id,
        "kind": spec.kind,
        "status": "running",
        "strategy": "+".join(names),
        "parameters": parameters_of(spec),
        "instruments": sorted({b.instrument for b in bars}),
        "granularity": "+".join(dict.fromkeys(b.granularity for b in bars)),
        "vendor": "+".join(dict.fromkeys(b.vendor for b in bars)),
        "data_start": to_datetime(min(b.start[0] for b in bars)),
        "data_end": to_datetime(max(b.end[-1] for b in bars)),
        "bars": sum(len(b) for b in bars),
        "data_snapshot": snapshot(bars, conversion),
        "account_currency": spec.account_currency,
        "starting_cash": spec.cash,
        "assumptions": describe(bars, instruments, spec.costs, conversion, spec.sizer)
        | {"strategy_file": {n: s.file_hash for n, s in zip(names, spec.strategies, strict=True)}},
        "git_sha": identity.git_sha,
        "image_digest": identity.image_digest,
        "parent_run_id": spec.parent_run_id,
        "started_at": identity.started_at,
    }


def parameters_of(spec: BacktestSpec) -> dict[str, Any]:
    """Return the parameters as ``risk.run`` keeps them: by strategy where there are several."""
    names = spec.names
    given = {
        name: dict(loaded.parameters) for name, loaded in zip(names, spec.strategies, strict=True)
    }
    return given if len(names) > 1 else given[names[0]]


def snapshot(bars: Sequence[Bars], conversion: Conversion | None = None) -> str:
    """Return a hash of bars and conversion rates: equal hashes are equal data. SHA-256, hex."""
    digest = hashlib.sha256()
    for each in sorted(bars, key=lambda b: (b.instrument, b.granularity, b.vendor)):
        digest.update(f"{each.instrument} {each.granularity} {each.vendor} {len(each)}".encode())
        for times in (each.start, each.end):
            digest.update(np.ascontiguousarray(times.astype("datetime64[us]")).tobytes())
        for prices in (each.mid, each.bid, each.ask):
            digest.update(b"-" if prices is None else b"+")
            for part in prices or ():
                digest.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    for currency, rate in sorted(conversion.rates.items()) if conversion else ():
        digest.update(f"{currency} {len(rate.value)}".encode())
        digest.update(np.ascontiguousarray(rate.known_at.astype("datetime64[us]")).tobytes())
        digest.update(np.ascontiguousarray(rate.value, dtype=np.float64).tobytes())
    return digest.hexdigest()


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the garbage collector from walking, again and again, what a run keeps to its end."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def run_backtest(
    spec: BacktestSpec,
    bars: Sequence[Bars],
    instruments: Mapping[str, Instrument],
    conversion: Conversion,
    run: Mapping[str, Any],
    *,
    now: Callable[[], datetime],
    progress: Progress | None = None,
) -> RunResult:
    """Run ``spec`` over ``bars`` and return the whole result.

    ``run`` is the run's row as :func:`run_row` made it. ``bars`` holds one :class:`Bars` a feed,
    of any granularities; ``instruments`` the record of each. ``progress`` is called with the
    percentage done. Raises :class:`TooFewBarsError` where a strategy could never decide, and
    :class:`DataError` for bars or rates that cannot be used; what a strategy raises passes through.
    """
    prepared = prepare(spec, bars, instruments, conversion, progress)
    with _without_collections():
        strategies = prepared.cerebro.run(stdstats=False, runonce=True, preload=True)
    tables = result_tables(prepared, strategies, spec, run["run_id"])
    worth = tables["equity"].column("net_asset_value")
    done = {**run, "status": "done", "ended_at": now(), "ending_value": worth[-1].as_py()}
    tables["performance"] = performance_table(done, tables)
    return RunResult(done, tables)


class TooFewBarsError(DataError):
    """A feed ends before a strategy's indicators have a first value."""


class _Cerebro(bt.Cerebro):  # type: ignore[misc]
    """Refuses feeds that are too short, over which backtrader's indicators write past their end."""

    def _runonce(self, strategies: Sequence[bt.Strategy]) -> None:
        for strategy in strategies:
            for data, needed in zip(strategy.datas, strategy._minperiods, strict=True):
                if data.buflen() < needed:
                    raise TooFewBarsError(
                        f"{type(strategy).__name__} needs {needed} bars of {data.p.name} before "
                        f"it can decide; there are {data.buflen()}.",
                        mend="load a longer history, or give it shorter periods",
                    )
        super()._runonce(strategies)


@dataclass(frozen=True)
class Prepared:
    """A cerebro ready to run, and what its records are read against afterwards."""

    cerebro: bt.Cerebro
    broker: FxBroker
    feeds: Sequence[NumpyFeed]
    finest: Mapping[str, NumpyFeed]
    terms: Mapping[str, Terms]
    conversion: Conversion


def prepare(
    spec: BacktestSpec,
    bars: Sequence[Bars],
    instruments: Mapping[str, Instrument],
    conversion: Conversion,
    progress: Progress | None = None,
) -> Prepared:
    """Return a cerebro with the feeds, the broker, the strategies and their sizer."""
    if not bars:
        raise DataError("A backtest needs bars.", mend="mbats data load")
    terms = {name: terms_of(instruments[name], spec.costs) for name in {b.instrument for b in bars}}
    feeds = _feeds(bars, terms, spec.costs)
    times = step_times(feeds)
    every = max(1, len(times) // PROGRESS_PARTS)
    broker = FxBroker(
        cash=float(spec.cash),
        terms=terms,
        cursors={f.instrument: _cursor(f, instruments, conversion) for f in feeds},
        rollovers=_rollovers(bars) if spec.costs.enabled else (),
        progress=progress and (lambda step: progress(100 * step // len(times))),
        progress_every=every,
    )
    cerebro = _Cerebro(stdstats=False)
    cerebro.setbroker(broker)
    for feed in feeds:
        cerebro.adddata(feed, name=feed.p.name)
    sizer, parameters = parse_sizer(spec.sizer)
    cerebro.addsizer(sizer, **parameters)
    for loaded in spec.strategies:
        cerebro.addstrategy(on_the_desk(loaded.strategy), **loaded.parameters)
    return Prepared(cerebro, broker, feeds, finest(feeds), terms, conversion)


def finest(feeds: Sequence[NumpyFeed]) -> dict[str, NumpyFeed]:
    """Return by instrument the feed with the shortest bars: the one that trades it."""
    coarse_first = sorted(feeds, key=lambda f: (f._timeframe, f._compression), reverse=True)
    return {feed.instrument: feed for feed in coarse_first}


def result_tables(
    prepared: Prepared, strategies: Sequence[bt.Strategy], spec: BacktestSpec, run_id: str
) -> dict[str, pa.Table]:
    """Return every result table but ``performance``."""
    journal, cash = prepared.broker.journal, float(spec.cash)
    times = step_times(prepared.feeds)
    if prepared.broker.step + 1 != len(times):
        raise DataError(
            f"The run ended after {prepared.broker.step + 1} of {len(times)} steps.",
            mend="a strategy that calls runstop() ends a run early; let it finish",
        )
    names = rows.Names(run_id, spec.names, prepared.feeds, times)
    rates = {
        name: prepared.conversion.rate(feed.instrument.rsplit("_", 1)[1])
        for name, feed in prepared.finest.items()
    }
    worth = account(journal, prepared.finest, times, rates, prepared.terms, cash)
    return {
        "order_event": rows.order_events(journal, names),
        "fill": rows.fills(journal, names),
        "trade": rows.trades(round_trips(journal, prepared.finest), names, worth, cash),
        "position": rows.positions(_held(prepared.broker), names),
        "equity": rows.equity(worth, names, cash),
        "signal": features.signals(strategies, names) if spec.log_signals else features.none(),
    }


def _held(broker: FxBroker) -> list[rows.OpenPosition]:
    return [
        rows.OpenPosition(
            h.strategy,
            h.instrument,
            h.position.size,
            h.position.price,
            h.feed.exit_price(h.position.size),
            h.unrealised,
            h.margin,
            h.info.rate,
        )
        for h in broker.holdings()
    ]


def _feeds(bars: Sequence[Bars], terms: Mapping[str, Terms], costs: Costs) -> list[NumpyFeed]:
    names = [b.instrument for b in bars]
    feeds = []
    for each in bars:
        alone = names.count(each.instrument) == 1
        feeds.append(
            NumpyFeed(
                dataname=each,
                name=each.instrument if alone else f"{each.instrument}:{each.granularity}",
                half_spread=terms[each.instrument].half_spread,
                sided=costs.enabled,
            )
        )
    if len({feed.p.name for feed in feeds}) < len(feeds):
        raise ConfigError("An instrument is given twice in one granularity.", tried=names)
    return feeds


def _cursor(
    feed: NumpyFeed, instruments: Mapping[str, Instrument], conversion: Conversion
) -> RateCursor:
    rate = conversion.rate(instruments[feed.instrument].quote)
    return RateCursor(
        to_nums(rate.known_at).tolist(), rate.value.tolist(), " x ".join(rate.path) or "itself"
    )


def _rollovers(bars: Sequence[Bars]) -> list[RolloverNum]:
    first, last = min(b.start[0] for b in bars), max(b.end[-1] for b in bars)
    found = FX.rollovers(to_datetime(first), to_datetime(last))
    if not found:
        return []
    nums = to_nums(np.array([instant(r.instant) for r in found], dtype="datetime64[us]"))
    return [RolloverNum(float(at), r.days) for at, r in zip(nums, found, strict=True)]
