"""A live run of backtrader put together: strategies, feeds, store and broker around one trader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import backtrader as bt

from mbats.errors import ConfigError, RefusedError
from mbats.live.broker import LiveBroker
from mbats.live.decisions import Tell, nobody
from mbats.live.feed import LiveFeed
from mbats.live.guard import live_strategy
from mbats.live.orders.transactions import Transaction
from mbats.live.store import LiveStore
from mbats.live.trader import Trader
from mbats.market.granularity import Granularity
from mbats.market.instrument import Instrument
from mbats.strategy.loading import LoadedStrategy
from mbats.strategy.sizing import parse_sizer


@dataclass(frozen=True)
class Assignment:
    """One strategy of a bot: under which name it trades which instruments on which bars.

    ``sizer`` is as :func:`~mbats.strategy.sizing.parse_sizer` reads it. The name is the tag of its
    orders at the broker: it must not change while it holds anything.
    """

    name: str
    loaded: LoadedStrategy
    instruments: Sequence[str]
    granularity: Granularity
    sizer: str = "units:1000"


def claims(assignments: Sequence[Assignment]) -> dict[str, str]:
    """Return which strategy each instrument belongs to.

    Raises :class:`RefusedError` where two want one: on an account that nets, their positions would
    be one position, and each would close the other's.
    """
    owners: dict[str, str] = {}
    for assignment in assignments:
        for instrument in assignment.instruments:
            other = owners.setdefault(instrument, assignment.name)
            if other != assignment.name:
                raise RefusedError(
                    f"Both {other} and {assignment.name} would trade {instrument} on one account.",
                    mend="give one of them another instrument, or an account of its own",
                )
    return owners


@dataclass(frozen=True)
class Prepared:
    """A live cerebro, ready to run."""

    cerebro: bt.Cerebro
    store: LiveStore
    broker: LiveBroker
    trader: Trader

    def run(self) -> Sequence[bt.Strategy]:
        """Run until a Stop comes through the inbox; return the strategies."""
        strategies: Sequence[bt.Strategy] = self.cerebro.run(stdstats=False)
        return strategies


def prepare_live(
    assignments: Sequence[Assignment],
    instruments: Mapping[str, Instrument],
    account: str,
    store: LiveStore,
    make_trader: Callable[[Callable[[Transaction], None]], Trader],
    longest_wait: float = 0.25,
    on_decision: Tell = nobody,
) -> Prepared:
    """Return a cerebro for ``assignments``, which must be trading one account.

    ``make_trader`` gets the listener that the trader must tell every transaction; the trader it
    returns must be reconciled before the run. ``longest_wait`` is that of a turn of
    backtrader's loop, in seconds. ``on_decision`` takes what strategies decided, bar by bar, as
    rows of ``risk.signal`` without ``run_id``. Raises :class:`RefusedError` for an instrument that
    two strategies want, :class:`ConfigError` for a name used twice or nothing to run.
    """
    names = [a.name for a in assignments]
    if not names or len(set(names)) < len(names):
        raise ConfigError("A bot needs strategies, each under a name of its own.", tried=names)
    broker = LiveBroker(store, names, claims(assignments), instruments, account, on_decision)
    broker.trader = trader = make_trader(broker.told)
    cerebro = bt.Cerebro(stdstats=False, quicknotify=True)
    cerebro.setbroker(broker)
    for assignment in assignments:
        for instrument in assignment.instruments:
            feed = LiveFeed(store, instrument, assignment.granularity, longest_wait)
            cerebro.adddata(feed, name=instrument)
        sizer, parameters = parse_sizer(assignment.sizer)
        make: Any = live_strategy(assignment.loaded.strategy, assignment.instruments)
        index = cerebro.addstrategy(make, **assignment.loaded.parameters)
        cerebro.addsizer_byidx(index, sizer, **parameters)
    return Prepared(cerebro, store, broker, trader)
