"""Runs made from a seed, consistent in every table, for tests of what a person looks at."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from mbats import schemas
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.market.bars import Bars, Ohlc
from mbats.market.newyork import to_datetime

PAIRS = {
    "EUR_USD": 1.20,
    "USD_JPY": 110.0,
    "GBP_USD": 1.45,
    "AUD_USD": 0.78,
    "EUR_JPY": 130.0,
    "GBP_JPY": 160.0,
    "NZD_USD": 0.70,
}
CASH = Decimal(100_000)
HALF_SPREAD, SLIPPAGE, COMMISSION, NIGHT = 0.00006, 0.00002, 0.00002, -0.00002
NINE = Decimal("1e-9")


def synthetic_bars(instrument: str, days: int, seed: int, start: datetime | None = None) -> Bars:
    """Daily bars of a random walk, weekdays only, 21:00 to 21:00 UTC."""
    rng = np.random.default_rng([seed, *instrument.encode()])
    first = np.datetime64(
        (start or datetime(2016, 1, 3, 21, tzinfo=UTC)).replace(tzinfo=None), "us"
    )
    starts = first + np.arange(days * 7 // 5 + 7) * np.timedelta64(1, "D")
    weekday = (starts.astype("datetime64[D]").astype(int) + 4) % 7  # 0 is Sunday
    starts = starts[(weekday != 5) & (weekday != 6)][:days]
    close = PAIRS[instrument] * np.exp(np.cumsum(rng.normal(0, 0.006, days)))
    opened = np.append(PAIRS[instrument], close[:-1])
    wick = np.abs(rng.normal(0, 0.003, (2, days)))
    high, low = np.maximum(opened, close) * (1 + wick[0]), np.minimum(opened, close) * (1 - wick[1])
    mid = Ohlc(*(part.round(5) for part in (opened, high, low, close)))
    return Bars(instrument, "D", "synthetic", starts, starts + np.timedelta64(1, "D"), mid)


def synthetic_run(
    seed: int = 1,
    instruments: Sequence[str] = ("EUR_USD", "USD_JPY", "GBP_USD"),
    days: int = 260 * 5,
    trades: int = 60,
    edge: float = 0.001,
    costs: bool = True,
    leave_open: bool = True,
    run: dict[str, Any] | None = None,
    performance: bool = True,
) -> tuple[RunResult, list[Bars]]:
    """A run of ``trades`` round trips an instrument; ``edge`` is the mean gain of each, a fraction.

    Prices are bent so that the edge is in them: what the tables say of a trade, they agree on.
    """
    made = _Run(seed, trades, edge, 1.0 if costs else 0.0, run or {})
    bars = [synthetic_bars(name, days, seed) for name in instruments]
    for one in bars:
        made.trade(one, leave_open and one is bars[0])
    result = made.result(bars, performance)
    return result, bars


class _Run:
    def __init__(self, seed, trades, edge, cost, overrides):
        self.rng = np.random.default_rng(seed)
        self.trades, self.edge, self.cost = trades, edge, cost
        self.run_id = f"{seed:04d}a1b2c3d4e5f60718293a4b5c6d7e"
        self.overrides = overrides
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in RESULT_TABLES}
        self.ledger: list[tuple[int, int, np.ndarray, float, float]] = []

    def trade(self, bars: Bars, leave_open: bool) -> None:
        days = len(bars)
        if self.trades == 0 and not leave_open:
            return
        gap = days // (self.trades + 1)
        for number in range(self.trades):
            entry = number * gap + int(self.rng.integers(1, max(2, gap // 2)))
            held = int(self.rng.integers(1, max(2, gap // 2)))
            if entry + held < days - 8:
                self._round_trip(bars, entry, entry + held)
        if leave_open:
            self._leave_open(bars, days - 5)

    def _round_trip(self, bars: Bars, entry: int, exit_: int) -> None:
        sign, units = int(self.rng.choice([1, -1])), int(self.rng.integers(5, 40)) * 1000
        close, rate = bars.mid.close, self._rate(bars)
        bent = close[entry] * (1 + sign * (self.edge + self.rng.normal(0, 0.002)))
        entry_price = float(close[entry])
        exit_price = round(float(close[exit_] - close[entry] + bent), 5)
        notional = units * entry_price * rate
        gross = sign * units * (exit_price - entry_price) * rate
        spread, slip, fee = (
            2 * notional * k * self.cost for k in (HALF_SPREAD, SLIPPAGE, COMMISSION)
        )
        financing = notional * NIGHT * (exit_ - entry) * self.cost
        gross, spread, slip, fee, financing = map(_d, (gross, spread, slip, fee, financing))
        window = slice(entry, exit_ + 1)
        up = float(bars.mid.high[window].max() / entry_price - 1)
        down = float(bars.mid.low[window].min() / entry_price - 1)
        favourable, adverse = (up, down) if sign > 0 else (-down, -up)
        pnl = gross - fee + financing
        self._fill(bars, entry, sign, units, entry_price, sign * units, "entry", Decimal(0))
        self._fill(bars, exit_, -sign, units, exit_price, 0, "exit", gross)
        self.rows["trade"].append(
            {
                "instrument": bars.instrument,
                "direction": "long" if sign > 0 else "short",
                "entry_time": to_datetime(bars.start[entry]),
                "exit_time": to_datetime(bars.start[exit_]),
                "entry_price": _d(entry_price),
                "exit_price": _d(exit_price),
                "units": Decimal(units),
                "notional": _d(notional),
                "pnl": pnl,
                "gross_pnl": gross,
                "commission": fee,
                "financing": financing,
                "spread_cost": spread,
                "slippage_cost": slip,
                "return_fraction": float(pnl / CASH),
                "price_change_fraction": exit_price / entry_price - 1,
                "bars_held": exit_ - entry,
                "pnl_per_bar": _d(float(pnl) / (exit_ - entry)),
                "mfe_fraction": max(favourable, 0.0),
                "mae_fraction": min(adverse, 0.0),
                "exit_reason": str(
                    self.rng.choice(["stop_loss", "take_profit", "reversal", "exit"])
                ),
            }
        )
        self._mark(bars, entry, exit_, sign * units * rate, entry_price, float(pnl))

    def _leave_open(self, bars: Bars, entry: int) -> None:
        units, price, last = 20_000, float(bars.mid.close[entry]), float(bars.mid.close[-1])
        rate = self._rate(bars)
        self._fill(bars, entry, 1, units, price, units, "entry", Decimal(0))
        self.rows["position"].append(
            {
                "instrument": bars.instrument,
                "time": to_datetime(bars.end[-1]),
                "units": Decimal(units),
                "average_price": _d(price),
                "price": _d(last),
                "unrealised_pnl": _d(units * (last - price) * rate),
                "notional": _d(units * last * rate),
            }
        )
        self._mark(bars, entry, len(bars), units * rate, price, 0.0)

    def _mark(self, bars, entry, exit_, exposure, price, pnl):
        self.ledger.append((entry, exit_, bars.mid.close, exposure, price, pnl))

    def _fill(self, bars, at, side, units, price, position, role, realised):
        number = len(self.rows["fill"])
        key = f"order-{number}"
        common = {
            "event_id": f"{self.run_id}-{number}",
            "time": to_datetime(bars.start[at]),
            "order_key": key,
            "instrument": bars.instrument,
            "side": "buy" if side > 0 else "sell",
            "units": Decimal(units),
            "role": role,
        }
        zero = Decimal(0)
        costs = {"spread_cost": zero, "slippage_cost": zero, "commission": zero}
        fill = {"price": _d(price), "realised_pnl": realised, "position_units": Decimal(position)}
        self.rows["fill"].append(common | costs | fill)
        order = common | {"event": "filled", "order_type": "market"}
        self.rows["order_event"].append(order)
        if number % 17 == 3:
            refused = {"event_id": f"r-{number}", "order_key": f"r-{number}", "event": "margin"}
            self.rows["order_event"].append(order | refused)
        if number % 5 == 2:
            gone = {"event_id": f"c-{number}", "order_key": f"c-{number}", "event": "canceled"}
            self.rows["order_event"].append(order | gone)

    @staticmethod
    def _rate(bars: Bars) -> float:
        return 1 / 110.0 if bars.instrument.endswith("JPY") else 1.0

    def result(self, bars: Sequence[Bars], performance: bool) -> RunResult:
        self._equity(bars[0])
        self._number_trades()
        common = {"run_id": self.run_id, "strategy": self._header(bars)["strategy"]}
        tables = {}
        for name in RESULT_TABLES:
            schema = schemas.table("risk", name).arrow
            rows = [common | row for row in self.rows[name]]
            tables[name] = pa.Table.from_pylist(
                [{k: v for k, v in row.items() if k in schema.names} for row in rows], schema=schema
            )
        header = self._header(bars)
        if performance:
            from mbats.backtest.performance import performance_table

            tables["performance"] = performance_table(header, tables)
        return RunResult(header, tables)

    def _number_trades(self) -> None:
        so_far = Decimal(0)
        self.rows["trade"].sort(key=lambda row: (row["exit_time"], row["instrument"]))
        for number, row in enumerate(self.rows["trade"], start=1):
            so_far += row["pnl"]
            row |= {"trade_id": number, "cumulative_pnl": so_far}

    def _equity(self, bars: Bars) -> None:
        days = len(bars)
        balance, floating, gross, net = np.full(days, float(CASH)), *np.zeros((3, days))
        for entry, exit_, close, exposure, price, pnl in self.ledger:
            balance[exit_:] += pnl
            marked = close[entry:exit_]
            floating[entry:exit_] += exposure * (marked - price)
            gross[entry:exit_] += abs(exposure) * marked
            net[entry:exit_] += exposure * marked
        nav = balance + floating
        peaks = np.maximum.accumulate(np.append(float(CASH), nav))[1:]
        columns = (balance, floating, nav, gross, net, (peaks - nav) / peaks)
        for index, (b, f, n, g, e, d) in enumerate(zip(*columns, strict=True)):
            self.rows["equity"].append(
                {
                    "time": to_datetime(bars.end[index]),
                    "net_asset_value": _d(n),
                    "balance": _d(b),
                    "unrealised_pnl": _d(f),
                    "drawdown_fraction": float(d),
                    "gross_exposure": _d(g),
                    "net_exposure": _d(e),
                    "margin_used": _d(g / 30),
                    "financing": Decimal(0),
                }
            )

    def _header(self, bars: Sequence[Bars]) -> dict[str, Any]:
        last = self.rows["equity"][-1]["net_asset_value"] if self.rows["equity"] else CASH
        began = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
        return {
            "run_id": self.run_id,
            "kind": "backtest",
            "status": "done",
            "strategy": "rsi_stochastic_bracket",
            "parameters": {"rsi_period": 30, "stop_atr": 1.0, "target_atr": 2.0, "risk": 0.01},
            "instruments": [one.instrument for one in bars],
            "granularity": "D",
            "vendor": "synthetic",
            "data_start": to_datetime(bars[0].start[0]),
            "data_end": to_datetime(bars[0].end[-1]),
            "bars": sum(len(one) for one in bars),
            "data_snapshot": "sha256:" + "9f2c4b1e" * 8,
            "account_currency": "USD",
            "starting_cash": CASH,
            "ending_value": last,
            "assumptions": {
                "spread": {"source": "default", "pips": {"EUR_USD": 1.2, "USD_JPY": 1.4}},
                "slippage": "0.2 pips a fill, always against the order",
                "commission": "20 USD a million",
                "financing": "17:00 New York, per instrument, triple on Wednesday",
                "fills": "market orders at the open of the next bar",
                "warnings": ["Bars have mid prices only: the spread is a default, not measured."],
            },
            "git_sha": "e69c5701d2a6f0b8c1f2d3e4a5b6c7d8e9f0a1b2",
            "image_digest": None,
            "model_version": None,
            "parent_run_id": None,
            "account": None,
            "started_at": began,
            "ended_at": began + timedelta(seconds=7),
            "host": "desk:4242",
            "deadline_at": began + timedelta(hours=1),
            "error": None,
            "report": None,
            **self.overrides,
        }


def _d(value: float) -> Decimal:
    return Decimal(repr(float(value))).quantize(NINE)
