"""A session again, as a backtest: its recorded ticks become bars by the code that made them live.

The strategy decides only on bars that ended while the session ran, as it did live; each order of
the backtest gets the key that the same decision has live, so that the two can be matched exactly.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import new_class
from typing import Any

import backtrader as bt
import numpy as np

from mbats.backtest.assumptions import Costs
from mbats.backtest.engine import (
    BacktestSpec,
    Identity,
    TooFewBarsError,
    run_backtest,
    run_row,
)
from mbats.backtest.result import RunResult
from mbats.errors import DataError
from mbats.live.feed import to_num
from mbats.market.aggregate import aggregate
from mbats.market.bars import Bars, Ohlc
from mbats.market.granularity import Granularity
from mbats.market.instrument import Instrument
from mbats.market.newyork import instant
from mbats.market.tick import Ticks
from mbats.strategy.loading import LoadedStrategy
from mbats.trading.conversion import Conversion
from mbats.trading.order import Role, leg_key, order_key

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Session:
    """What is known of one strategy's live session.

    ``run`` is its row of ``risk.run``; ``fills``, ``orders``, ``events`` and ``signals`` are its
    rows of ``fill``, ``order_event``, ``risk_event`` and ``signal``. ``loaded`` goes by the name it
    traded under. ``warm_up`` holds bars from before the session, ``ticks`` all that was recorded
    while it ran, by instrument. ``seen`` are the bars that the session itself decided on, where it
    kept them. ``other_fills``, ``other_orders`` and ``other_events`` are rows that other runs told
    of orders of its account.
    """

    run: Row
    loaded: LoadedStrategy
    granularity: Granularity
    sizer: str
    instruments: Mapping[str, Instrument]
    ticks: Mapping[str, Ticks]
    conversion: Conversion
    warm_up: Mapping[str, Bars] = field(default_factory=dict)
    seen: Mapping[str, Bars] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    fills: Sequence[Row] = ()
    orders: Sequence[Row] = ()
    events: Sequence[Row] = ()
    signals: Sequence[Row] = ()
    other_fills: Sequence[Row] = ()
    other_orders: Sequence[Row] = ()
    other_events: Sequence[Row] = ()

    def __post_init__(self) -> None:
        for name in ("account", "started_at", "ended_at", "starting_cash"):
            if self.run.get(name) is None:
                raise DataError(
                    f"Run {self.run.get('run_id')} has no {name}: it cannot be replayed.",
                    mend="replay a live session that has ended",
                )

    @property
    def account(self) -> str:
        """The broker account, a part of every key."""
        return str(self.run["account"])


@dataclass(frozen=True)
class Expected:
    """One order of the replay, under its live key. Prices in quote currency.

    ``price`` None means that it did not fill. ``half_spread`` is that of the quote it filled at,
    ``slippage`` what the backtest assumed on top; ``filled_at`` is the start of the bar.
    """

    key: str
    instrument: str
    side: str
    role: str
    decided_at: datetime
    units: Decimal
    filled_at: datetime | None = None
    price: Decimal | None = None
    half_spread: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)


def replay(
    session: Session,
    bars: Mapping[str, Bars] | None = None,
    asked: Collection[datetime] | None = None,
) -> list[Expected]:
    """Return the orders that a backtest of the session sends, in the order they were sent.

    ``bars`` are the session's, made from its ticks unless given. With ``asked`` the strategy
    decides only on bars that end at one of these instants. Raises :class:`DataError` where an
    instrument has neither warm-up bars nor ticks.
    """
    fresh = tick_bars(session) if bars is None else bars
    whole = [joined(session.warm_up.get(n), fresh.get(n), n) for n in session.instruments]
    run = session.run
    first = first_decision(run, session.signals)
    loaded = replace(
        session.loaded,
        strategy=_deciding_within(session.loaded.strategy, first, run["ended_at"], asked),
    )
    spec = BacktestSpec(
        strategies=[loaded],
        cash=Decimal(run["starting_cash"]),
        account_currency=str(run["account_currency"]),
        sizer=session.sizer,
        costs=session.costs,
    )
    identity = Identity(f"{run['run_id']}-parity", run["started_at"])
    row = run_row(spec, whole, session.instruments, session.conversion, identity)
    try:
        result = run_backtest(
            spec, whole, session.instruments, session.conversion, row, now=lambda: run["ended_at"]
        )
    except TooFewBarsError:
        return []  # the session ended before its strategy was warm
    return _expected(session, result)


def tick_bars(session: Session) -> dict[str, Bars]:
    """Return the bars of the recorded ticks; the last may have been forming when they end."""
    return {
        name: aggregate(ticks, session.granularity, str(session.run.get("vendor") or "ticks"))
        for name, ticks in session.ticks.items()
        if len(ticks)
    }


def first_decision(run: Row, signals: Sequence[Row]) -> datetime:
    """Return when the first bar to decide on must have begun, or the session, where that is first.

    A bot that starts within a moment of a bar's end still decides on it.
    """
    asked = [row["time"] for row in signals if row["decided_at"] is not None]
    first: datetime = min([run["started_at"], *asked])
    return first


def _deciding_within(
    strategy: type[bt.Strategy],
    first: datetime,
    last: datetime,
    asked: Collection[datetime] | None,
) -> type[bt.Strategy]:
    """Return ``strategy``, called only on bars that end in (first, last]: else lines move on.

    Of these only on those that end at an instant of ``asked``, where it is given.
    """
    only = None if asked is None else frozenset(map(to_num, asked))

    class Within(bt.Strategy):  # type: ignore[misc]
        _has_begun = False

        def _decides(self) -> bool:
            newest = max(data.datetime[0] for data in self.datas if len(data))
            within = bool(to_num(first) < newest <= to_num(last))
            return within and (only is None or newest in only)

        def prenext(self) -> None:
            if self._decides():
                super().prenext()

        def nextstart(self) -> None:
            self.next()

        def next(self) -> None:
            if not self._decides():
                return
            if self._has_begun:
                super().next()
            else:
                self._has_begun = True
                super().nextstart()

    about = {"__module__": __name__, "__doc__": strategy.__doc__}
    return new_class(strategy.__name__, (Within, strategy), exec_body=lambda d: d.update(about))


def joined(before: Bars | None, after: Bars | None, name: str) -> Bars:
    """Return bars of before the session and its own in one; mid will do for the former.

    Raises :class:`DataError` where there are neither.
    """
    if after is None or not len(after):
        if before is None or not len(before):
            raise DataError(
                f"There are no bars and no recorded ticks of {name} to replay.",
                mend="run the streamer and its archive while a session trades",
            )
        return before
    if before is None:
        return after
    kept = before.end <= after.start[0]

    def both(side: str) -> Ohlc:
        old: Ohlc = getattr(before, side) or before.mid
        new: Ohlc = getattr(after, side) or after.mid
        return Ohlc(*(np.concatenate([a[kept], b]) for a, b in zip(old, new, strict=True)))

    return replace(
        after,
        start=np.concatenate([before.start[kept], after.start]),
        end=np.concatenate([before.end[kept], after.end]),
        mid=both("mid"),
        bid=both("bid"),
        ask=both("ask"),
        volume=None,
    )


def until(bars: Bars, moment: datetime) -> Bars:
    """Return the bars that ended by ``moment``."""
    kept = bars.end <= instant(moment)

    def part(side: Ohlc | None) -> Ohlc | None:
        return None if side is None else Ohlc(*(prices[kept] for prices in side))

    mid = Ohlc(*(prices[kept] for prices in bars.mid))
    return replace(
        bars,
        start=bars.start[kept],
        end=bars.end[kept],
        mid=mid,
        bid=part(bars.bid),
        ask=part(bars.ask),
        volume=None if bars.volume is None else bars.volume[kept],
    )


def _expected(session: Session, result: RunResult) -> list[Expected]:
    filled = {row["order_key"]: row for row in result.tables["fill"].to_pylist()}
    naming = _Naming(session)
    found: list[Expected] = []
    for row in result.tables["order_event"].to_pylist():
        if row["event"] == "submitted":
            found += _legs(session, row, filled.get(row["order_key"]), naming)
    return found


class _Naming:
    """Gives orders of a backtest the keys of :mod:`mbats.live.intents`."""

    def __init__(self, session: Session) -> None:
        self._name: Callable[[str, datetime, str], str] = lambda instrument, at, leg: order_key(
            session.account, session.loaded.name, instrument, at, leg
        )
        self._count: Counter[tuple[str, datetime, Role]] = Counter()
        self._live: dict[str, str] = {}  # backtest key to live key

    def key(self, row: Row, role: Role) -> str:
        """Return the live key of an order, or of one of the two that a reversal becomes."""
        parent = self._live.get(row["parent_order_key"] or "")
        if parent is not None:
            return leg_key(parent, role)
        about = (row["instrument"], row["time"].astimezone(UTC), role)
        self._count[about] += 1
        number = self._count[about]
        leg = str(role) if number == 1 else f"{role}-{number}"
        self._live[row["order_key"]] = key = self._name(about[0], about[1], leg)
        return key


def _legs(session: Session, row: Row, fill: Row | None, naming: _Naming) -> list[Expected]:
    """Return one order of the replay as what the desk sends for it: one order, or two."""

    def one(role: Role, units: Decimal) -> Expected:
        made = Expected(
            naming.key(row, role), row["instrument"], row["side"], str(role), row["time"], units
        )
        return made if fill is None else _with_fill(session, row, fill, made)

    if row["parent_order_key"]:
        trailing = row["order_type"] == "trailing_stop"
        return [one(Role.TRAILING_STOP if trailing else Role(row["role"]), row["units"])]
    if fill is None or row["order_type"] != "market":
        return [one(Role.ENTRY if row["role"] == "entry" else Role.EXIT, row["units"])]
    signed = fill["units"] if fill["side"] == "buy" else -fill["units"]
    before = fill["position_units"] - signed
    closes = min(fill["units"], abs(before)) if before * signed < 0 else Decimal(0)
    found = [one(Role.EXIT, closes)] if closes else []
    return found + ([one(Role.ENTRY, fill["units"] - closes)] if fill["units"] > closes else [])


def _with_fill(session: Session, row: Row, fill: Row, made: Expected) -> Expected:
    sign = 1 if fill["side"] == "buy" else -1
    slips = row["order_type"] not in ("limit", "stop_limit") and session.costs.enabled
    pips = Decimal(repr(session.costs.slippage_pips)) if slips else Decimal(0)
    slippage = pips * session.instruments[row["instrument"]].pip
    return replace(
        made,
        filled_at=fill["time"],
        price=fill["price"],
        half_spread=sign * (fill["price"] - fill["mid_price"]) - slippage,
        slippage=slippage,
    )
