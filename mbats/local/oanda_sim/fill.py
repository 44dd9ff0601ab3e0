"""Filling an order: what it closes and opens, at which price, and every reason not to fill it."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from mbats.local.oanda_sim import margin
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.ledger import Batch
from mbats.local.oanda_sim.money import (
    ZERO,
    account_amount,
    amount_text,
    plain_text,
    price_text,
    ten_digits_text,
    twelve_digits_text,
)
from mbats.local.oanda_sim.requests import ON_FILL
from mbats.local.oanda_sim.state import Document, Trade
from mbats.local.oanda_sim.times import parse_time

NO_DEPTH = ("INSUFFICIENT_LIQUIDITY", "BOUNDS_VIOLATION")


@dataclass(frozen=True)
class Want:
    """A fill that is wanted.

    ``units`` are signed. ``bound`` is the worst price that will do. ``whole`` refuses a partial
    fill. ``trades`` restricts it to closing these trades, oldest first. ``beyond_depth`` takes
    what the ladder lacks at its worst price.
    """

    order_id: int
    instrument: str
    units: Decimal
    reason: str
    position_fill: str = "DEFAULT"
    bound: Decimal | None = None
    whole: bool = True
    trades: tuple[int, ...] | None = None
    beyond_depth: bool = False
    create: Document = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a fill does: trades and the units it closes of each, then units it opens (signed)."""

    closes: list[tuple[Trade, Decimal]]
    opens: Decimal

    @property
    def units(self) -> Decimal:
        """Signed units of the fill."""
        return sum((-units if t.is_long else units for t, units in self.closes), ZERO) + self.opens


def fill(account: Account, batch: Batch, want: Want) -> str | None:
    """Fill ``want`` if it can be filled, and say None; else return the reason to cancel it."""
    market = account.market
    if not market.tradeable(want.instrument):
        return "MARKET_HALTED"
    plan = _plan(account, want, want.units)
    if not plan.units:
        return account.behaviour.unfillable_reason
    priced = _price(account, want, plan.units)
    if isinstance(priced, str):
        return priced
    price, units = priced
    if units != plan.units:
        plan = _plan(account, want, units)
    reason = _why_not(account, want, plan, price)
    if reason is None:
        _write(account, batch, want, plan, price)
    return reason


def _plan(account: Account, want: Want, units: Decimal) -> Plan:
    state, left = account.state, abs(units)
    is_long = units > 0
    mode = want.position_fill
    if mode == "DEFAULT":
        mode = "OPEN_ONLY" if account.spec.hedging else "REDUCE_FIRST"
    if want.trades is not None:
        candidates = [state.open_trades[i] for i in want.trades if i in state.open_trades]
    elif mode == "OPEN_ONLY":
        candidates = []
    else:
        candidates = list(state.position_trades(want.instrument, not is_long))
    closes = []
    for trade in candidates:
        part = min(left, abs(trade.units))
        if part:
            closes.append((trade, part))
            left -= part
    opens = ZERO
    if want.trades is None and mode != "REDUCE_ONLY":
        opens = left if is_long else -left
    other_side = not account.spec.hedging and state.net_units(want.instrument, not is_long)
    if mode == "OPEN_ONLY" and other_side:
        opens = ZERO
    return Plan(closes, opens)


def _price(account: Account, want: Want, units: Decimal) -> tuple[Decimal, Decimal] | str:
    """Walk the ladder: return the price per unit and the signed units to be had, or a reason."""
    levels = account.market.ladder(want.instrument, asks=units > 0)
    within = [level for level in levels if _within(level.price, want.bound, units > 0)]
    wanted, got, value = abs(units), ZERO, ZERO
    for level in within:
        part = min(wanted - got, Decimal(level.liquidity))
        got += part
        value += part * level.price
    if got < wanted and want.beyond_depth and levels:
        value += (wanted - got) * levels[-1].price
        got = wanted
    if not got or (got < wanted and want.whole):
        deep_enough = sum(level.liquidity for level in levels) >= wanted
        bounded = len(within) < len(levels) and (deep_enough or not got)
        return "BOUNDS_VIOLATION" if bounded else "INSUFFICIENT_LIQUIDITY"
    precision = account.spec_of(want.instrument).instrument.units_precision
    got = got.quantize(Decimal(1).scaleb(-precision))
    tick = account.spec_of(want.instrument).instrument.tick
    price = (value / got).quantize(tick, rounding=ROUND_HALF_EVEN)
    return price, got if units > 0 else -got


def _within(price: Decimal, bound: Decimal | None, buying: bool) -> bool:
    return bound is None or (price <= bound if buying else price >= bound)


def _why_not(account: Account, want: Want, plan: Plan, price: Decimal) -> str | None:
    """Return the reason why this fill must not happen, or None."""
    if account.spec.fifo and (reason := _fifo(account, want, plan)) is not None:
        return reason
    if not plan.opens:
        return None
    state, behaviour = account.state, account.behaviour
    closed = sum(1 for trade, units in plan.closes if units == abs(trade.units))
    if len(state.open_trades) - closed >= behaviour.open_trades_allowed:
        return "OPEN_TRADES_ALLOWED_EXCEEDED"
    trade_id = want.create.get("tradeClientExtensions", {}).get("id")
    if trade_id is not None and state.trade_by_client_id(trade_id) is not None:
        return "CLIENT_TRADE_ID_ALREADY_EXISTS"
    cap = account.spec_of(want.instrument).maximum_position_units
    side = state.net_units(want.instrument, plan.opens > 0)
    if cap and abs(side + plan.opens) > cap:
        return "POSITION_SIZE_EXCEEDED"
    return _margin_lacks(account, want, plan) or _losing_dependent(account, want, plan, price)


def _margin_lacks(account: Account, want: Want, plan: Plan) -> str | None:
    state, spec, market = account.state, account.spec, account.market
    units = plan.opens if spec.hedging else plan.units
    before = margin.used(state, spec, market)
    after = margin.used(state, spec, market, (want.instrument, units))
    nav = margin.figures(state, spec, market).nav
    return "INSUFFICIENT_MARGIN" if after > before and after > nav else None


def _losing_dependent(account: Account, want: Want, plan: Plan, price: Decimal) -> str | None:
    """Refuse a fill whose take profit or stop loss would fill at once."""
    top = account.market.tops[want.instrument]
    is_long = plan.opens > 0
    exit_price = top.best_bid if is_long else top.best_ask
    precision = account.spec_of(want.instrument).precision
    for key, kind in ON_FILL.items():
        source = want.create.get(key)
        if source is None:
            continue
        if "gtdTime" in source and parse_time(source["gtdTime"]) <= parse_time(want.create["time"]):
            return f"{kind}_ON_FILL_GTD_TIMESTAMP_IN_PAST"
        client_id = source.get("clientExtensions", {}).get("id")
        if client_id is not None and account.state.order_by_client_id(client_id) is not None:
            return f"{kind}_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"
        if kind == "TRAILING_STOP_LOSS":
            continue
        up = is_long == (kind == "TAKE_PROFIT")
        if "price" in source:
            level = Decimal(source["price"])
        else:
            away = Decimal(source["distance"])
            level = round(price + away if up else price - away, precision)
        if level <= 0:
            return f"{kind}_ON_FILL_PRICE_DISTANCE_MAXIMUM_EXCEEDED"
        if (exit_price >= level) if up else (exit_price <= level):
            return f"{kind}_ON_FILL_LOSS"
    return None


def _fifo(account: Account, want: Want, plan: Plan) -> str | None:
    """Apply the rules for US accounts: oldest of a size first, unique sizes with exits."""
    trades = list(account.state.position_trades(want.instrument))
    if want.trades is not None and want.reason == "MARKET_ORDER_TRADE_CLOSE":
        for trade, _ in plan.closes:
            if any(t.id < trade.id and abs(t.units) == abs(trade.units) for t in trades):
                return "FIFO_VIOLATION"
    if plan.opens:
        gone = {trade.id for trade, units in plan.closes if units == abs(trade.units)}
        same = [t for t in trades if abs(t.units) == abs(plan.opens) and t.id not in gone]
        with_exits = any(key in want.create for key in ON_FILL)
        if same and (with_exits or any(t.dependents for t in same)):
            return "FIFO_VIOLATION"
    return None


def _write(account: Account, batch: Batch, want: Want, plan: Plan, price: Decimal) -> None:
    state, market = account.state, account.market
    instrument = account.spec_of(want.instrument).instrument
    quote = market.conversion(instrument.quote, state.currency)
    top = market.tops[want.instrument]
    half_spread = (top.best_ask - top.best_bid) / 2 * quote.middle
    closed, reduced, pl, quote_pl = [], None, ZERO, ZERO
    for trade, units in plan.closes:
        gain = (price - trade.price) * (units if trade.is_long else -units)
        realized = quote.settle(gain)
        quote_pl += gain
        pl += realized
        part = {
            "tradeID": str(trade.id),
            "units": plain_text(-units if trade.is_long else units),
            "realizedPL": amount_text(realized),
            "financing": "0.0000",
            "baseFinancing": "0.00000000000000",
            "price": price_text(price, instrument.price_precision),
            "guaranteedExecutionFee": "0.0000",
            "quoteGuaranteedExecutionFee": "0",
            "halfSpreadCost": amount_text(units * half_spread),
        }
        if units == abs(trade.units):
            closed.append(part)
        else:
            reduced = part
    opened = _opened(account, batch, want, plan, price, half_spread)
    costs = [Decimal(p["halfSpreadCost"]) for p in (*closed, reduced, opened) if p is not None]
    commission = account_amount(
        abs(plan.units) * account.spec.commission_per_million / Decimal(1_000_000)
    )
    full_price = market.full_price(want.instrument)
    market.take(want.instrument, plan.units)
    text = price_text(price, instrument.price_precision)
    batch.add(
        "ORDER_FILL",
        orderID=str(want.order_id),
        clientOrderID=state.orders[want.order_id].client.get("id"),
        instrument=want.instrument,
        units=plain_text(plan.units),
        requestedUnits=plain_text(want.units),
        price=text,
        pl=amount_text(pl),
        quotePL=plain_text(quote_pl),
        financing="0.0000",
        baseFinancing="0",
        commission=amount_text(commission),
        accountBalance=amount_text(state.balance + pl - commission),
        gainQuoteHomeConversionFactor=ten_digits_text(quote.gain),
        lossQuoteHomeConversionFactor=ten_digits_text(quote.loss),
        guaranteedExecutionFee="0.0000",
        quoteGuaranteedExecutionFee="0",
        halfSpreadCost=amount_text(sum(costs, ZERO)),
        fullVWAP=text,
        reason=want.reason,
        tradeOpened=opened,
        tradesClosed=closed or None,
        tradeReduced=reduced,
        fullPrice=full_price,
        homeConversionFactors=_factors(account, want.instrument),
    )
    account.trails.pop(want.order_id, None)
    _after(account, batch, want, opened, [trade for trade, _ in plan.closes])


def _opened(
    account: Account, batch: Batch, want: Want, plan: Plan, price: Decimal, half_spread: Decimal
) -> Document | None:
    if not plan.opens:
        return None
    needed = margin.required(account.state, account.market, want.instrument, plan.opens)
    opened = {
        "price": price_text(price, account.spec_of(want.instrument).precision),
        "tradeID": str(batch.next_id),
        "units": plain_text(plan.opens),
        "guaranteedExecutionFee": "0.0000",
        "quoteGuaranteedExecutionFee": "0",
        "halfSpreadCost": amount_text(abs(plan.opens) * half_spread),
        "initialMarginRequired": amount_text(needed),
    }
    if "tradeClientExtensions" in want.create:
        opened["clientExtensions"] = want.create["tradeClientExtensions"]
    return opened


def _factors(account: Account, name: str) -> Document:
    instrument = account.spec_of(name).instrument
    factors = {}
    for part, currency in (("Quote", instrument.quote), ("Base", instrument.base)):
        try:
            made = account.market.conversion(currency, account.state.currency)
        except KeyError:
            continue
        factors[f"gain{part}Home"] = {"factor": twelve_digits_text(made.gain)}
        factors[f"loss{part}Home"] = {"factor": twelve_digits_text(made.loss)}
    return factors


def _after(
    account: Account, batch: Batch, want: Want, opened: Document | None, touched: list[Trade]
) -> None:
    """Cancel what hung on closed trades; create what hangs on the opened one."""
    fill_id = batch.made[-1]["id"]
    for trade in touched:
        if trade.is_open:
            continue
        for order_id in sorted(trade.dependents.values()):
            account.cancel(
                batch, account.state.pending[order_id], "LINKED_TRADE_CLOSED",
                closedTradeID=str(trade.id), tradeCloseTransactionID=fill_id,
            )  # fmt: skip
    if opened is None:
        return
    for key, kind in ON_FILL.items():
        if key in want.create:
            account.create_dependent(
                batch, int(opened["tradeID"]), kind, want.create[key],
                reason="ON_FILL", orderFillTransactionID=fill_id,
            )  # fmt: skip
