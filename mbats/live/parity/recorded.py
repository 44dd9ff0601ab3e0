"""A live session read back from the stores: what :mod:`mbats.live.parity.compare` compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mbats.backtest.assumptions import Costs
from mbats.backtest.inputs import MarketData, conversion_for
from mbats.backtest.result import RunResult
from mbats.errors import ConfigError, DataError
from mbats.live.parity.replay import Row, Session, first_decision, tick_bars, until
from mbats.market import catalogue
from mbats.market.bars import Bars, Ohlc, bars_from_table
from mbats.market.granularity import Granularity
from mbats.market.tick import ticks_from_table
from mbats.strategy.loading import LoadedStrategy, load_strategy
from mbats.trading.conversion import Conversion

WARM_UP_BARS = 500
STORED = ("D", "M1")  # what the security master keeps; others warm up on earlier ticks
_QUIET = timedelta(days=4)  # a long weekend
LIVE_KINDS = ("paper", "practice", "live")


class Recordings(MarketData, Protocol):
    """The security master, as a replay sees it."""

    def ticks(
        self,
        instrument: str,
        vendor: str,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Return the recorded price updates with time in [start, end), each once, ascending."""
        ...


class Sessions(Protocol):
    """The risk store, as a replay sees it."""

    def load(self, run_id: str) -> RunResult:
        """Return a run with its tables; ``run_id`` may be an unambiguous prefix."""
        ...

    def events(self, run_id: str) -> Sequence[Row]:
        """Return the rows of ``risk.risk_event`` of a run."""
        ...

    def account_events(self, account: str, since: datetime) -> Sequence[Row]:
        """Return the rows of ``risk.risk_event`` about orders of an account, whoever told them."""
        ...

    def account_rows(self, account: str, since: datetime) -> Mapping[str, Sequence[Row]]:
        """Return the rows of ``order_event`` and ``fill`` of an account, whoever told them."""
        ...


@dataclass(frozen=True)
class Choice:
    """What a run's row may leave open; None takes what the row says."""

    strategy: str | None = None
    file: str | None = None
    instruments: Sequence[str] = ()
    sizer: str | None = None
    vendor: str | None = None
    slippage_pips: float = 0.0


def load_session(
    run_id: str, risk: Sessions, master: Recordings, choice: Choice, now: datetime
) -> Session:
    """Return a session as it was recorded; one that still runs is taken up to ``now``.

    Raises :class:`ConfigError` where the run leaves something open, :class:`DataError` for a run
    that was no live session.
    """
    stored = risk.load(run_id)
    run = {**stored.run, "ended_at": stored.run["ended_at"] or now}
    if run["kind"] not in LIVE_KINDS:
        raise DataError(
            f"Run {run['run_id']} is a {run['kind']}, not a live session.",
            mend="mbats runs list shows the kind of each run",
        )
    loaded = _strategy(run, choice)
    vendor = choice.vendor or run["vendor"]
    names = list(choice.instruments or _traded(run).get(loaded.name) or run["instruments"])
    granularity = Granularity.parse(str(run["granularity"]))
    signals = [r for r in stored.tables["signal"].to_pylist() if r["instrument"] in names]
    seen = _seen(signals, names, granularity, vendor)
    began = granularity.start_of(first_decision(run, signals))
    lead = timedelta(microseconds=granularity.micros or 0) * WARM_UP_BARS + _QUIET
    warm_up = {
        **_warm_up(master, names, granularity, vendor, began, lead),
        **{name: past for name, bars in seen.items() if len(past := until(bars, began))},
    }
    described = {i.name: i for i in master.instruments(vendor)}
    tables = {
        name: master.ticks(
            name, vendor,
            began if name in warm_up or granularity.value in STORED else began - lead,
            run["ended_at"],
        )
        for name in names
    }  # fmt: skip
    account, since = str(run["account"]), began - _QUIET
    told = {**risk.account_rows(account, since), "events": risk.account_events(account, began)}
    others = _of_others(told, str(run["run_id"]))
    made = Session(
        run={**run, "vendor": vendor},
        loaded=loaded,
        granularity=granularity,
        sizer=_sizer(run, choice, loaded.name),
        instruments={n: described.get(n) or catalogue.instrument(n) for n in names},
        ticks={n: ticks_from_table(table) for n, table in tables.items() if table.num_rows},
        conversion=Conversion(str(run["account_currency"]), {}),
        warm_up=warm_up,
        seen=seen,
        signals=signals,
        costs=Costs(slippage_pips=choice.slippage_pips),
        fills=stored.tables["fill"].to_pylist(),
        orders=stored.tables["order_event"].to_pylist(),
        events=risk.events(str(run["run_id"])),
        other_fills=others["fill"],
        other_orders=others["order_event"],
        other_events=others["events"],
    )
    bars = [*made.warm_up.values(), *tick_bars(made).values()]
    if not bars:
        return made  # the replay says what is missing
    currency = str(run["account_currency"])
    return replace(
        made, conversion=conversion_for(master, bars, made.instruments, vendor, currency)
    )


def _of_others(rows: Mapping[str, Sequence[Row]], run_id: str) -> dict[str, list[Row]]:
    return {table: [r for r in told if r["run_id"] != run_id] for table, told in rows.items()}


def _strategy(run: Mapping[str, Any], choice: Choice) -> LoadedStrategy:
    names = str(run["strategy"]).split("+")
    if choice.strategy is None and len(names) > 1:
        raise ConfigError(
            f"Run {run['run_id']} traded several strategies.",
            tried=names,
            mend="name one: --strategy NAME",
        )
    name = choice.strategy or names[0]
    said = bool(choice.instruments or name in _traded(run))
    if name not in names or (len(names) > 1 and not said):
        raise ConfigError(
            f"Which instruments strategy {name} traded in run {run['run_id']} is not said.",
            tried=names,
            mend="--strategy one of these, with --instruments",
        )
    given = run["parameters"]
    own = given.get(name)
    loaded = load_strategy(choice.file or name)
    parameters = {**loaded.parameters, **(own if isinstance(own, Mapping) else given)}
    unknown = sorted(set(parameters) - set(loaded.parameters))
    if unknown:
        raise ConfigError(
            f"Strategy {loaded.name} has no parameter {unknown[0]!r}, which the session had.",
            mend="check out the commit that traded, or name its file: --file PATH",
        )
    return replace(loaded, name=name, parameters=parameters)


def _traded(run: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Return which strategy traded which instruments, as far as the run says."""
    traded: Mapping[str, Sequence[str]] = run["assumptions"].get("traded", {})
    return traded


def _sizer(run: Mapping[str, Any], choice: Choice, strategy: str) -> str:
    said = run["assumptions"].get("sizer")
    sizer = choice.sizer or (said.get(strategy) if isinstance(said, Mapping) else said)
    if not sizer:
        raise ConfigError(
            f"Run {run['run_id']} does not say how it sized its orders.",
            mend="--sizer units:1000, as the session was started",
        )
    return str(sizer)


def _warm_up(
    master: Recordings,
    names: Sequence[str],
    granularity: Granularity,
    vendor: str,
    began: datetime,
    lead: timedelta,
) -> dict[str, Bars]:
    if granularity.value not in STORED:
        return {}
    found = {}
    for name in names:
        table = master.bars(name, granularity.value, vendor, began - 2 * lead, began)
        if table.num_rows:
            last = table.slice(max(0, table.num_rows - WARM_UP_BARS))
            found[name] = bars_from_table(last, granularity.value)
    return found


def _seen(
    signals: Sequence[Row], names: Sequence[str], granularity: Granularity, vendor: str
) -> dict[str, Bars]:
    """Return the bars that the session kept beside its signals, its warm-up among them."""
    found = {}
    for name in names:
        rows = [r for r in signals if r["instrument"] == name]
        bars = {row["time"]: row for row in rows if row["close"] is not None}
        if not bars:
            continue
        kept = [bars[time] for time in sorted(bars)]

        def part(column: str, kept: Sequence[Row] = kept) -> Any:
            return np.array([float(row[column]) for row in kept])

        def times(column: str, kept: Sequence[Row] = kept) -> Any:
            return np.array([r[column].replace(tzinfo=None) for r in kept], "datetime64[us]")

        mid = Ohlc(part("open"), part("high"), part("low"), part("close"))
        found[name] = Bars(name, granularity.value, vendor, times("time"), times("known_at"), mid)
    return found
