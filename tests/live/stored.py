"""Synthetic sessions as the stores hold them: the run, its fills, the ticks that it saw."""

from decimal import Decimal

import pyarrow as pa

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.market.newyork import to_datetime
from tests.live.parity.sessions import START

STRATEGY = """
import backtrader as bt

class Alternating(bt.Strategy):
    params = (("every", 2),)

    def next(self):
        minute = bt.num2date(self.data.datetime[0]).minute
        if minute % self.p.every:
            return
        if self.position.size:
            self.close()
        elif self.data.close[0] >= self.data.open[0]:
            self.buy()
        else:
            self.sell()
"""


def tick_rows(ticks, vendor="oanda"):
    return [
        {
            "instrument": ticks.instrument,
            "time": to_datetime(time),
            "vendor": vendor,
            "event_id": f"t{number}",
            "bid": Decimal(repr(float(bid))),
            "ask": Decimal(repr(float(ask))),
            "tradeable": True,
            "received_at": START,
            "published_at": START,
        }
        for number, (time, bid, ask) in enumerate(
            zip(ticks.time, ticks.bid, ticks.ask, strict=True)
        )
    ]


def full(table, row):
    schema = schemas.table("risk", table)
    return {name: row.get(name) for name in schema.columns}


def stored_session(run_id, made, **changes):
    run = {
        **made.run, "run_id": run_id, "kind": "paper", "status": "done", "strategy": "mine",
        "parameters": {"mine": {"every": 3}}, "instruments": ["EUR_USD"], "granularity": "M1",
        "assumptions": {"sizer": "units:1000"}, **changes,
    }  # fmt: skip
    costs = dict.fromkeys(("spread_cost", "slippage_cost", "commission", "realised_pnl"), 0)
    about = {"strategy": "mine", "run_id": run_id}
    fills = [
        full("fill", {**costs, **fill, **about, "event_id": f"{run_id}-{fill['event_id']}"})
        for fill in made.fills
    ]
    tables = {n: schemas.table("risk", n).arrow.empty_table() for n in RESULT_TABLES}
    tables["fill"] = pa.Table.from_pylist(fills, schema=schemas.table("risk", "fill").arrow)
    return RunResult(full("run", run), tables)
