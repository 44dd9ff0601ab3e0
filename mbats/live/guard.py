"""What a live strategy gets beside what every strategy on the desk has: it decides on fresh bars.

While bars of the past go by, indicators move on by themselves; the user's ``next``, ``nextstart``
and ``prenext`` are not called, and the broker refuses orders from anywhere else.
"""

from collections.abc import Callable, Collection
from types import new_class
from typing import Any

import backtrader as bt

from mbats.strategy.base import on_the_desk


class FreshBarsOnly(bt.Strategy):  # type: ignore[misc]
    """The part that is mixed in before everything else."""

    _has_begun = False
    _bars: tuple[int, ...] = ()

    def _next(self) -> None:
        """Move on when a feed of its own did: backtrader calls every strategy for any feed of any.

        What another strategy trades must never make this one decide again on an old bar.
        """
        bars = tuple(map(len, self.datas))
        if any(bars) and bars != self._bars:
            self._bars = bars
            self.broker.begin_step()
            super()._next()
            self.broker.end_step(self)

    def clear(self) -> None:
        """Keep of orders and trades what is alive: backtrader would keep all of a session's."""
        super().clear()
        self._orders.clear()
        for by_number in self._trades.values():
            for trades in by_number.values():
                del trades[:-1]  # the last is the one that goes on, or the next begins after

    def prenext(self) -> None:
        """Pass on what is fresh."""
        if self.broker.deciding:
            super().prenext()

    def nextstart(self) -> None:
        """Begin, or wait for the first fresh bar to begin with."""
        self.next()

    def next(self) -> None:
        """Pass on what is fresh; the first time as the start that the user's class expects."""
        if not self.broker.deciding:
            return
        if self._has_begun:
            super().next()
        else:
            self._has_begun = True
            super().nextstart()


def live_strategy(
    strategy: type[bt.Strategy], instruments: Collection[str]
) -> Callable[..., bt.Strategy]:
    """Return what cerebro makes ``strategy`` with: on the desk, guarded, seeing its feeds only."""
    desk = on_the_desk(strategy)
    about = {"__module__": __name__, "__doc__": strategy.__doc__}
    guarded = new_class(
        strategy.__name__, (FreshBarsOnly, desk), exec_body=lambda d: d.update(about)
    )

    def make(*datas: Any, **parameters: Any) -> bt.Strategy:
        return guarded(*(d for d in datas if d.instrument in instruments), **parameters)

    return make
