"""The account at every step of a run, computed after it from the journal and the bars.

Positions and balances change only at fills and rollovers, so they are step functions; prices come
from the bars. The broker's own net asset value agrees with these to rounding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbats.backtest.feed import NumpyFeed
from mbats.backtest.journal import Journal
from mbats.market.bars import Floats, Times
from mbats.trading.conversion import StepRate
from mbats.trading.costs import Terms

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Account:
    """The account at the end of each step; every array has shape (steps,), account currency.

    ``times`` are the instants of the steps: the ends of the bars, each once, ascending.
    """

    times: Times
    balance: Floats
    unrealised: Floats
    gross_exposure: Floats
    net_exposure: Floats
    margin_used: Floats
    financing: Floats

    @property
    def net_asset_value(self) -> Floats:
        """Balance and unrealised profit."""
        value: Floats = self.balance + self.unrealised
        return value

    def drawdown(self, starting_cash: float) -> Floats:
        """Return the fall from the highest net asset value so far, a fraction from 0 to 1."""
        value = self.net_asset_value
        peak = np.maximum(np.maximum.accumulate(value), starting_cash)
        fall: Floats = np.clip(1.0 - value / peak, 0.0, 1.0)
        return fall


def step_times(feeds: Sequence[NumpyFeed]) -> Times:
    """Return the instants at which some feed delivers a bar, ascending, shape (steps,)."""
    times: Times = np.unique(np.concatenate([feed.bars.end for feed in feeds]))
    return times


def account(
    journal: Journal,
    finest: Mapping[str, NumpyFeed],
    times: Times,
    rates: Mapping[str, StepRate],
    terms: Mapping[str, Terms],
    starting_cash: float,
) -> Account:
    """Return the account at every step. ``finest``, ``rates`` and ``terms`` are by instrument."""
    steps = len(times)
    changes, financing = np.zeros(steps), np.zeros(steps)
    for fill in journal.fills:
        changes[fill.step] += fill.realised - fill.commission
    for charge in journal.financing:
        financing[charge.step] += charge.amount
    unrealised, gross, net, margin = (np.zeros(steps) for _ in range(4))
    for (_, name), series in _positions(journal).items():
        first = int(series[0][0])
        units, average = _expanded(series, first, steps)
        feed, later = finest[name], times[first:]
        row = np.searchsorted(feed.bars.end, later, side="right") - 1
        price = np.where(units > 0, feed.side(False).close[row], feed.side(True).close[row])
        rate = rates[name].at(later)
        notional = units * price * rate
        unrealised[first:] += units * (price - average) * rate
        gross[first:] += np.abs(notional)
        net[first:] += notional
        margin[first:] += np.abs(notional) * terms[name].margin_rate
    return Account(
        times=times,
        balance=starting_cash + np.cumsum(changes + financing),
        unrealised=unrealised,
        gross_exposure=gross,
        net_exposure=net,
        margin_used=margin,
        financing=np.cumsum(financing),
    )


def _positions(journal: Journal) -> dict[tuple[int, str], list[tuple[float, float, float]]]:
    """Return by strategy and instrument (step, units, average price) after each fill."""
    found: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for fill in journal.fills:
        key = (fill.strategy, fill.instrument)
        found.setdefault(key, []).append((fill.step, fill.position, fill.average))
    return found


def _expanded(
    series: Sequence[tuple[float, float, float]], first: int, steps: int
) -> tuple[Floats, Floats]:
    at, units, average = np.array(series, dtype=np.float64).T
    index = np.searchsorted(at, np.arange(first, steps), side="right") - 1
    return units[index], average[index]
