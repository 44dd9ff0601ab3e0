"""What a week proves: the three logs agree, live equals its replay, the bot's memory is flat.

python -m tests.faults.week_report                 # the whole week, as `make week`
python -m tests.faults.week_report --hours 12 --seed 7
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mbats import schemas
from mbats.backtest.assumptions import Costs
from mbats.gcp.messages import decode_event
from mbats.live.parity.compare import compare
from mbats.live.parity.differences import Report
from mbats.live.parity.replay import Session
from mbats.local.oanda_sim import spec_of
from mbats.market.aggregate import aggregate
from mbats.market.bars import Bars, Ohlc
from mbats.market.newyork import instant
from mbats.market.tick import Ticks
from mbats.trading.conversion import Conversion, StepRate
from tests.faults import audit as auditor
from tests.faults.seeds import memory_folder
from tests.faults.week import (
    OWNERS,
    SAMPLE,
    TRADED,
    WARM_UP_BARS,
    Script,
    WeekWorld,
    loaded,
    run_week,
)
from tests.faults.wire import moment

WARM_UP_SAMPLES = 3
"""Samples of a process that do not count: caches fill, warm-up bars come."""

OBJECTS_AN_ORDER = 25
"""What a bot must never forget of an order (its key and fate), and what backtrader keeps of it."""

LINE_BYTES_A_BAR = 8 * 60
"""backtrader keeps every line of data and indicators, 8 bytes a value."""

NOISE_OBJECTS, NOISE_BYTES = 5_000, 2_000_000
"""A day's noise, and that of any shorter time: what waits to be stored when memory is looked at,
pages not given back. It does not come by the hour, so it is not told by a slope of hours."""

FEWEST_SAMPLES = 4
"""Samples of a warm process that a slope is drawn through at the least."""

Row = dict[str, Any]
_TIMES = ("time", "known_at", "decided_at")


@dataclass(frozen=True)
class Sample:
    """The bot's memory at one market time."""

    time: datetime
    process: int
    blocks: int
    resident_bytes: int


@dataclass
class Week:
    """A finished week. ``problems`` are whatever must not be."""

    problems: list[str]
    reports: list[tuple[str, Report]] = field(default_factory=list)
    memory: list[Sample] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def warm(self) -> list[Sample]:
        """Return the samples of the longest life, once it is warm."""
        longest = Counter(s.process for s in self.memory).most_common(1)[0][0]
        return [s for s in self.memory if s.process == longest][WARM_UP_SAMPLES:]

    def growth(self) -> tuple[float, float]:
        """Return objects and bytes gained a day by the longest life, once it is warm."""
        kept = self.warm()
        days = np.array([(s.time - kept[0].time) / timedelta(days=1) for s in kept])

        def slope(values: Sequence[int]) -> float:
            return float(np.polyfit(days, values, 1)[0])

        return slope([s.blocks for s in kept]), slope([s.resident_bytes for s in kept])


def live_through(script: Script) -> Week:
    """Run a script from its beginning to its end, and look at everything it leaves."""
    with memory_folder() as folder:
        world, problems = run_week(script, folder)
        week = Week(problems)
        if problems:
            return week
        week.problems += auditor.audit(world, folder, OWNERS)
        week.figures = _figures(world, folder)
        week.reports = _parity(world, folder)
        for life, report in week.reports:
            week.problems += [f"{life}: {d.detail} ({d.key})" for d in report.unexplained]
        lines = (folder / "memory").read_text().splitlines()
        made = [json.loads(line) for line in lines]
        week.memory = [Sample(**{**m, "time": datetime.fromisoformat(m["time"])}) for m in made]
        week.problems += _memory(week)
        return week


def _memory(week: Week) -> list[str]:
    """Return what a warm bot gained beyond its orders, its bars and noise, over its whole life."""
    kept = week.warm() if week.memory else []
    if len(kept) < FEWEST_SAMPLES:
        return [
            f"memory: {len(kept)} samples of a warm bot say nothing; a life of "
            f"{shortest_life() / timedelta(hours=1):g} hours is the shortest that can be judged"
        ]
    lived = (kept[-1].time - kept[0].time) / timedelta(days=1)
    blocks, resident = (a_day * lived for a_day in week.growth())
    orders = week.figures["orders"] * 24 / week.figures["market_hours"] * lived
    bars, noise = (2 * 1440 + 2 * 288) * lived, max(1.0, lived)
    about, found = f"in {lived * 24:.0f} warm hours come and stay", []
    if blocks > orders * OBJECTS_AN_ORDER + noise * NOISE_OBJECTS:
        found.append(f"memory: {blocks:.0f} objects {about}, at {orders:.0f} orders")
    if resident > bars * LINE_BYTES_A_BAR + noise * NOISE_BYTES:
        found.append(f"memory: {resident / 1e6:.1f} MB {about}")
    return found


def shortest_life() -> timedelta:
    """Return how long a bot must live for its memory to be judged."""
    return (WARM_UP_SAMPLES + FEWEST_SAMPLES) * SAMPLE


def longest_life(script: Script) -> timedelta:
    """Return how long the longest life of a script is."""
    turns = [script.opens, *(at for at, _ in script.restarts), script.closes]
    return max(end - start for start, end in pairwise(turns))


def _figures(world: WeekWorld, folder: Path) -> dict[str, int]:
    log = world.account.ledger.documents()
    kinds = Counter(t["type"] for t in log)
    market_seconds = (world.script.closes - world.script.opens).total_seconds()
    return {
        "market_hours": round(market_seconds / 3600),
        "ticks": len(world.quotes),
        "price_cuts": world.cuts,
        "stream_cuts": world.stream_cuts,
        "lives": len(world.script.restarts) + 1,
        "financings": kinds["DAILY_FINANCING"],
        **auditor.figures(world, auditor.journaled(folder)),
    }


# Parity of every life and strategy.


def _parity(world: WeekWorld, folder: Path) -> list[tuple[str, Report]]:
    ticks = _recorded(world)
    conversion = _conversion(ticks)
    rows = _rows(folder / "events")
    signals = {"signal": _signals(folder / "rows")}
    made = []
    for run in _runs(folder / "runs", world):
        for strategy, (names, granularity, _) in TRADED.items():
            session = Session(
                run=run,
                loaded=loaded(strategy),
                granularity=granularity,
                sizer="units:1000",
                instruments={name: spec_of(name).instrument for name in names},
                ticks={n: _part(ticks[n], granularity.start_of(run["started_at"]), run["ended_at"])
                       for n in names},
                conversion=conversion,
                warm_up={n: _before(ticks[n], granularity, run["started_at"]) for n in names},
                costs=Costs(slippage_pips=0.0),
                fills=_of(rows, "fill", run, strategy),
                orders=_of(rows, "order_event", run, strategy),
                signals=_of(signals, "signal", run, strategy),
                events=[r for r in rows["risk_event"] if r["run_id"] == run["run_id"]],
                other_fills=[r for r in rows["fill"] if r["run_id"] != run["run_id"]],
                other_orders=[r for r in rows["order_event"] if r["run_id"] != run["run_id"]],
                other_events=[r for r in rows["risk_event"] if r["run_id"] != run["run_id"]],
            )  # fmt: skip
            session = replace(session, warm_up={k: v for k, v in session.warm_up.items() if v})
            made.append((f"{run['run_id']} {strategy}", compare(session)))
    return made


def _recorded(world: WeekWorld) -> dict[str, Ticks]:
    """Return every price that the broker said, in columns, as an archive keeps them."""
    found = {}
    for name in OWNERS:
        quotes = [q for q in world.quotes if q.instrument == name]
        scale = 10 ** quotes[0].precision
        found[name] = Ticks(
            name,
            np.array([moment(q.time_ns).replace(tzinfo=None) for q in quotes], "datetime64[us]"),
            np.array([q.bid / scale for q in quotes]),
            np.array([q.ask / scale for q in quotes]),
            np.array([q.tradeable for q in quotes]),
        )
    return found


def _part(ticks: Ticks, since: datetime, until: datetime) -> Ticks:
    kept = (ticks.time >= instant(since)) & (ticks.time < instant(until))
    return Ticks(
        ticks.instrument, ticks.time[kept], ticks.bid[kept], ticks.ask[kept], ticks.tradeable[kept]
    )


def _before(ticks: Ticks, granularity: Any, moment: datetime) -> Bars | None:
    """Return the bars that the life warmed up with."""
    start = granularity.start_of(moment)
    earlier = ticks.time < instant(start)
    if not (earlier & ticks.tradeable).any():
        return None
    bars = aggregate(
        _part(ticks, datetime(2000, 1, 1, tzinfo=moment.tzinfo), start), granularity, "sim"
    )
    last = slice(-WARM_UP_BARS, None)

    def part(side: Ohlc | None) -> Ohlc | None:
        return None if side is None else Ohlc(*(prices[last] for prices in side))

    mid = Ohlc(*(prices[last] for prices in bars.mid))
    return replace(
        bars, start=bars.start[last], end=bars.end[last], mid=mid, bid=part(bars.bid),
        ask=part(bars.ask), volume=None if bars.volume is None else bars.volume[last],
    )  # fmt: skip


def _conversion(ticks: dict[str, Ticks]) -> Conversion:
    """Return rates that step with the minutes of the very prices of the week."""
    rates = {}
    for name in OWNERS:
        base, quote = name.split("_")
        bars = aggregate(ticks[name], "M1", "sim")
        close = bars.mid.close if quote == "USD" else 1 / bars.mid.close
        known = np.concatenate([np.array(["0001-01-01"], "datetime64[us]"), bars.end])
        value = np.concatenate([close[:1], close])
        rates[base if quote == "USD" else quote] = StepRate(known, value, (name,))
    return Conversion("USD", rates)


def _rows(path: Path) -> dict[str, list[Row]]:
    """Return the stored rows, each event once, in the types that the risk store gives back."""
    found: dict[str, dict[str, Row]] = {"fill": {}, "order_event": {}, "risk_event": {}}
    for line in path.read_text().split("\n"):
        try:
            table, row = json.loads(line)
        except ValueError:
            continue  # torn by a kill
        if table in found:
            known = {name: value for name, value in row.items() if value is not None}
            columns = dict.fromkeys(schemas.table("risk", table).columns)
            read = {**columns, **decode_event(table, json.dumps(known).encode())}
            found[table].setdefault(row["event_id"], read)
    return {table: list(rows.values()) for table, rows in found.items()}


def _signals(path: Path) -> list[Row]:
    """Return what strategies were asked about, in the types that the risk store gives back."""
    found = []
    for line in path.read_text().splitlines():
        table, row = json.loads(line)
        if table == "signal":
            times = {n: row[n] and datetime.fromisoformat(row[n]) for n in _TIMES}
            prices = {n: row[n] and Decimal(row[n]) for n in ("bid", "ask")}
            found.append({**row, **times, **prices})
    return found


def _of(rows: dict[str, list[Row]], table: str, run: Row, strategy: str) -> list[Row]:
    return [r for r in rows[table] if r["run_id"] == run["run_id"] and r["strategy"] == strategy]


def _runs(path: Path, world: WeekWorld) -> list[Row]:
    """Return the rows of the runs; one that was killed ends where it was killed."""
    runs: dict[str, Row] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        runs.setdefault(row["run_id"], {}).update(row)
    killed = [at for at, kills in world.script.restarts if kills]
    made = []
    for run in runs.values():
        ended = run.get("ended_at")
        made.append({
            **run,
            "vendor": "oanda",
            "starting_cash": Decimal(run.get("starting_cash", 100_000)),
            "started_at": datetime.fromisoformat(run["started_at"]),
            "ended_at": datetime.fromisoformat(ended) if ended else killed.pop(0),
        })  # fmt: skip
    return made


# For people.


def show(week: Week, seconds: float) -> None:
    """Print a week as tables."""
    out = Console(width=110)
    said = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in week.figures.items())
    out.print(f"{said}; {seconds:.0f} s.", soft_wrap=True)
    kinds = sorted({str(d.reason) for _, r in week.reports for d in r.differences})
    table = Table("life", "orders", *kinds, title="Live against its replay")
    for life, report in week.reports:
        counted = Counter(str(d.reason) for d in report.differences)
        table.add_row(life, str(len(report.differences)), *(str(counted[k]) for k in kinds))
    out.print(table)
    table = Table("market time", "process", "objects", "resident MB", title="The bot's memory")
    for sample in week.memory:
        megabytes = f"{sample.resident_bytes / 1e6:.1f}"
        table.add_row(f"{sample.time:%a %H:%M}", str(sample.process), str(sample.blocks), megabytes)
    out.print(table)
    if week.memory and len(week.warm()) >= FEWEST_SAMPLES:
        blocks, resident = week.growth()
        out.print(f"Warm, a day adds {blocks:.0f} objects and {resident / 1e6:.2f} MB.")
    for problem in week.problems[:40]:
        out.print(problem, soft_wrap=True)
    out.print("FAILED" if week.problems else "Parity, and flat memory.")


def main() -> int:
    """Live through a week and print it."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults.week_report")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step-ms", type=int, default=5_000)
    parser.add_argument("--hours", type=float, default=120)
    parser.add_argument("--leaks", action="store_true", help="keep what should be let go")
    asked = parser.parse_args()
    script = Script(seed=asked.seed, step_ms=asked.step_ms, leaks=asked.leaks)
    script = replace(script, closes=script.opens + timedelta(hours=asked.hours))
    script = replace(script, restarts=[r for r in script.restarts if r[0] < script.closes])
    if longest_life(script) < shortest_life():
        parser.error(
            f"--hours {asked.hours:g}: memory cannot be judged in so short a life; "
            f"give {shortest_life() / timedelta(hours=1):g} hours or more"
        )
    began = time.monotonic()
    week = live_through(script)
    show(week, time.monotonic() - began)
    return 1 if week.problems else 0


if __name__ == "__main__":
    sys.exit(main())
