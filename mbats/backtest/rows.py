"""From a journal to the rows of the risk store, each table in the Arrow schema of its JSON file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mbats import schemas
from mbats.backtest.account import Account
from mbats.backtest.feed import NumpyFeed
from mbats.backtest.journal import EventRecord, FillRecord, Journal
from mbats.backtest.round_trips import RoundTrip
from mbats.market.bars import Floats, Times
from mbats.market.numeric import NUMERIC, from_float64

_EXACT = 2.0**53
_FINEST = 9
# Amounts of account currency are kept to a millionth, sizes and prices to NUMERIC's billionth:
# fewer places only where a number is so large that float64 itself has no more.
_AMOUNT_PLACES = 6


@dataclass(frozen=True)
class Names:
    """What turns a journal's numbers into the risk store's words."""

    run_id: str
    strategies: Sequence[str]
    feeds: Sequence[NumpyFeed]
    times: Times

    def order_key(self, number: int | None) -> str | None:
        """Return the key of an order by its number in the run."""
        return None if number is None else f"{self.run_id}-o{number}"

    def event_time(self, event: EventRecord | FillRecord) -> np.datetime64:
        """Return the start of the event's bar, or its step's instant where it has none."""
        if event.row >= 0:
            start: np.datetime64 = self.feeds[event.feed].bars.start[event.row]
            return start
        end: np.datetime64 = self.times[event.step]
        return end


def numeric(values: Sequence[float] | Floats, places: int = _FINEST) -> pa.Array:
    """Return floats as NUMERIC, with as many of ``places`` as the largest leaves room for."""
    array = np.asarray(values, dtype=np.float64)
    largest = float(np.max(np.abs(array), initial=0.0))
    while places > 0 and largest * 10.0**places >= _EXACT:
        places -= 1
    return from_float64(array, places)


def amount(values: Sequence[float] | Floats) -> pa.Array:
    """Return amounts of account currency as NUMERIC."""
    return numeric(values, _AMOUNT_PLACES)


def nullable(values: Sequence[float | None]) -> pa.Array:
    """Return floats and nulls as NUMERIC."""
    absent = np.array([value is None for value in values], dtype=bool)
    filled = numeric([0.0 if value is None else value for value in values])
    return pa.array(
        [None if gone else value for gone, value in zip(absent, filled.to_pylist(), strict=True)],
        NUMERIC,
    )


def table(name: str, columns: Mapping[str, Any], rows: int) -> pa.Table:
    """Return the risk table ``name``; columns that are left out are null."""
    arrow = schemas.table("risk", name).arrow
    arrays = []
    for field in arrow:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(rows, field.type))
        elif isinstance(values, str):
            arrays.append(pa.repeat(pa.scalar(values, field.type), rows))
        else:
            arrays.append(_array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=arrow)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if pa.types.is_timestamp(kind):
        return pa.array(np.asarray(values, dtype="datetime64[us]"), pa.timestamp("us")).cast(kind)
    return pa.array(values, kind)


def order_events(journal: Journal, names: Names) -> pa.Table:
    """Return ``order_event``: a row each time something happened to an order."""
    events = journal.events
    orders = [journal.orders[event.order - 1] for event in events]
    columns = {
        "event_id": [f"{names.run_id}-e{n}" for n in range(1, len(events) + 1)],
        "run_id": names.run_id,
        "time": [names.event_time(event) for event in events],
        "order_key": [names.order_key(order.number) for order in orders],
        "strategy": [names.strategies[order.strategy] for order in orders],
        "instrument": [order.instrument for order in orders],
        "event": [event.event for event in events],
        "order_type": [order.order_type for order in orders],
        "side": ["buy" if order.is_buy else "sell" for order in orders],
        "units": numeric([order.units for order in orders]),
        "price": nullable([order.price for order in orders]),
        "reason": [event.reason for event in events],
        "parent_order_key": [names.order_key(order.parent) for order in orders],
        "role": [_public_role(order.role) for order in orders],
    }
    return table("order_event", columns, len(events))


def fills(journal: Journal, names: Names) -> pa.Table:
    """Return ``fill``: a row an execution."""
    rows = journal.fills
    worth = [abs(fill.size) * fill.rate for fill in rows]
    columns = {
        "event_id": [f"{names.run_id}-f{n}" for n in range(1, len(rows) + 1)],
        "run_id": names.run_id,
        "time": [names.event_time(fill) for fill in rows],
        "order_key": [names.order_key(fill.order) for fill in rows],
        "strategy": [names.strategies[fill.strategy] for fill in rows],
        "instrument": [fill.instrument for fill in rows],
        "side": ["buy" if fill.size > 0 else "sell" for fill in rows],
        "units": numeric([abs(fill.size) for fill in rows]),
        "price": numeric([fill.price for fill in rows]),
        "mid_price": numeric([fill.mid for fill in rows]),
        "spread_cost": amount([f.half_spread * w for f, w in zip(rows, worth, strict=True)]),
        "slippage_cost": amount([f.slippage * w for f, w in zip(rows, worth, strict=True)]),
        "commission": amount([fill.commission for fill in rows]),
        "realised_pnl": amount([fill.realised for fill in rows]),
        "conversion_rate": numeric([fill.rate for fill in rows]),
        "position_units": numeric([fill.position for fill in rows]),
        "role": [_public_role(fill.role) for fill in rows],
    }
    return table("fill", columns, len(rows))


def trades(
    closed: Sequence[RoundTrip], names: Names, account: Account, starting_cash: float
) -> pa.Table:
    """Return ``trade``: a row a round trip, in the order they closed."""
    nav = np.concatenate([[starting_cash], account.net_asset_value])  # nav[k]: before step k
    net = np.array([trade.net for trade in closed])
    columns = {
        "run_id": names.run_id,
        "trade_id": list(range(1, len(closed) + 1)),
        "strategy": [names.strategies[trade.strategy] for trade in closed],
        "instrument": [trade.instrument for trade in closed],
        "direction": ["long" if trade.long else "short" for trade in closed],
        "entry_time": [names.event_time(trade.entry) for trade in closed],
        "exit_time": [names.event_time(trade.exit) for trade in closed],
        "entry_price": numeric([trade.entry_price for trade in closed]),
        "exit_price": numeric([trade.exit_price for trade in closed]),
        "units": numeric([trade.largest for trade in closed]),
        "notional": amount([trade.notional for trade in closed]),
        "pnl": amount(net),
        "gross_pnl": amount([trade.gross for trade in closed]),
        "commission": amount([trade.commission for trade in closed]),
        "financing": amount([trade.financing for trade in closed]),
        "spread_cost": amount([trade.spread_cost for trade in closed]),
        "slippage_cost": amount([trade.slippage_cost for trade in closed]),
        "return_fraction": [trade.net / float(nav[trade.entry.step]) for trade in closed],
        "price_change_fraction": [t.exit_price / t.entry_price - 1.0 for t in closed],
        "cumulative_pnl": amount(np.cumsum(net)),
        "bars_held": [trade.bars for trade in closed],
        "pnl_per_bar": amount([trade.net / max(trade.bars, 1) for trade in closed]),
        "mfe_fraction": [trade.mfe for trade in closed],
        "mae_fraction": [trade.mae for trade in closed],
        "exit_reason": [trade.exit_reason for trade in closed],
    }
    return table("trade", columns, len(closed))


def equity(account: Account, names: Names, starting_cash: float) -> pa.Table:
    """Return ``equity``: a row a step."""
    columns = {
        "run_id": names.run_id,
        "time": account.times,
        "net_asset_value": amount(account.net_asset_value),
        "balance": amount(account.balance),
        "unrealised_pnl": amount(account.unrealised),
        "drawdown_fraction": account.drawdown(starting_cash),
        "gross_exposure": amount(account.gross_exposure),
        "net_exposure": amount(account.net_exposure),
        "margin_used": amount(account.margin_used),
        "financing": amount(account.financing),
    }
    return table("equity", columns, len(account.times))


@dataclass(frozen=True)
class OpenPosition:
    """A position at the run's end; ``price`` is what it could be closed at."""

    strategy: int
    instrument: str
    units: float
    average: float
    price: float
    unrealised: float
    margin: float
    rate: float


def positions(held: Sequence[OpenPosition], names: Names) -> pa.Table:
    """Return ``position``: a row an open position at the end of the run."""
    columns = {
        "run_id": names.run_id,
        "strategy": [names.strategies[p.strategy] for p in held],
        "instrument": [p.instrument for p in held],
        "time": np.full(len(held), names.times[-1]),
        "units": numeric([p.units for p in held]),
        "average_price": numeric([p.average for p in held]),
        "price": numeric([p.price for p in held]),
        "unrealised_pnl": amount([p.unrealised for p in held]),
        "notional": amount([abs(p.units) * p.price * p.rate for p in held]),
        "margin_used": amount([p.margin for p in held]),
    }
    return table("position", columns, len(held))


def _public_role(role: str) -> str:
    return "exit" if role == "closeout" else role
