"""What happens without a client: expiry, the daily financing, margin calls and closeouts."""

from decimal import Decimal

from mbats.local.oanda_sim import margin
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.calendar import next_rollover, weekday_of_rollover
from mbats.local.oanda_sim.fill import Want, fill
from mbats.local.oanda_sim.money import ZERO, account_amount, amount_text, plain_text
from mbats.local.oanda_sim.state import Document, Order, Trade
from mbats.local.oanda_sim.times import parse_time

_YEAR_DAYS = 365


def expiry(order: Order) -> int | None:
    """Return when an order expires: its gtdTime, the first 17:00 New York for GFD, or never."""
    if order.create["timeInForce"] == "GTD":
        return parse_time(order.create["gtdTime"])
    if order.create["timeInForce"] == "GFD":
        return next_rollover(parse_time(order.create["time"]))
    return None


def expire(account: Account, now_ns: int) -> None:
    """Cancel the orders whose time has passed, each in a batch of its own."""
    for order in list(account.state.pending.values()):
        until = expiry(order)
        if until is not None and until <= now_ns and order.id in account.state.pending:
            with account.batch(now_ns) as batch:
                account.cancel(batch, order, "TIME_IN_FORCE_EXPIRED")


def finance(account: Account, now_ns: int) -> None:
    """Charge the financing of the 17:00 New York at ``now_ns``: one DAILY_FINANCING.

    Amount = units × middle price × annual rate / 365 × days, in quote currency, settled home at
    the conversion for gains or losses. Wednesdays charge three days (the instrument says).
    """
    if account.behaviour.financing == "NO_FINANCING":
        return
    weekday = weekday_of_rollover(now_ns)
    positions = []
    for instrument in sorted({t.instrument for t in account.state.open_trades.values()}):
        days = account.spec_of(instrument).financing_days[weekday]
        if days:
            positions.append(_position_financing(account, instrument, days))
    if not positions:
        return
    total = sum((Decimal(position["financing"]) for position in positions), ZERO)
    with account.batch(now_ns) as batch:
        batch.add(
            "DAILY_FINANCING",
            financing=amount_text(total),
            accountBalance=amount_text(account.state.balance + total),
            accountFinancingMode="DAILY",
            positionFinancings=positions,
        )


def _position_financing(account: Account, instrument: str, days: int) -> Document:
    parts = [
        {
            "tradeID": str(trade.id),
            "financing": amount_text(_trade_financing(account, trade, days)),
        }
        for trade in account.state.position_trades(instrument)
    ]
    total = sum((Decimal(part["financing"]) for part in parts), ZERO)
    return {
        "instrument": instrument,
        "financing": amount_text(total),
        "openTradeFinancings": parts,
    }


def _trade_financing(account: Account, trade: Trade, days: int) -> Decimal:
    instrument = account.spec_of(trade.instrument).instrument
    rate = instrument.financing_long_rate if trade.is_long else instrument.financing_short_rate
    value = abs(trade.units) * account.market.tops[trade.instrument].middle
    quote = account.market.conversion(instrument.quote, account.state.currency)
    return account_amount(quote.settle(value * rate * days / _YEAR_DAYS))


def check_margin(account: Account, now_ns: int) -> None:
    """Enter or leave a margin call, and close out at a closeout percent of 1 or more."""
    state = account.state
    if not state.open_trades and not state.in_margin_call:
        return
    figures = margin.figures(state, account.spec, account.market)
    _call(account, now_ns, called=figures.call_percent >= 1)
    if figures.closeout_percent >= 1:
        _close_out(account, now_ns)
        figures = margin.figures(account.state, account.spec, account.market)
        _call(account, now_ns, called=figures.call_percent >= 1)


def _call(account: Account, now_ns: int, *, called: bool) -> None:
    if called != account.state.in_margin_call:
        with account.batch(now_ns) as batch:
            batch.add("MARGIN_CALL_ENTER" if called else "MARGIN_CALL_EXIT")


def _close_out(account: Account, now_ns: int) -> None:
    """Close every position whose market is open; the ladder's worst price takes the excess."""
    sides = sorted({(t.instrument, t.is_long) for t in account.state.open_trades.values()})
    for instrument, is_long in sides:
        trades = tuple(t.id for t in account.state.position_trades(instrument, is_long))
        units = -account.state.net_units(instrument, is_long)
        if not units or not account.market.tradeable(instrument):
            continue
        if not account.market.ladder(instrument, asks=units > 0):
            continue
        with account.batch(now_ns) as batch:
            created = batch.add(
                "MARKET_ORDER",
                instrument=instrument,
                units=plain_text(units),
                timeInForce="FOK",
                positionFill="REDUCE_ONLY",
                reason="MARGIN_CLOSEOUT",
                marginCloseout={"reason": "MARGIN_CHECK_VIOLATION"},
            )
            order = account.state.orders[int(created["id"])]
            want = Want(
                order.id, instrument, units, "MARKET_ORDER_MARGIN_CLOSEOUT", "REDUCE_ONLY",
                trades=trades, beyond_depth=True, create=created,
            )  # fmt: skip
            if (reason := fill(account, batch, want)) is not None:
                account.cancel(batch, order, reason)
