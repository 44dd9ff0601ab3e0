"""Closing positions: the long side, the short side, or both."""

from decimal import Decimal
from typing import Any

from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import Refusal, invalid, rejected
from mbats.local.oanda_sim.money import plain_text
from mbats.local.oanda_sim.requests import Reading, decimal_places, number, read_client
from mbats.local.oanda_sim.state import Document
from mbats.local.oanda_sim.trades import market_close

_MISSING = "CLOSEOUT_POSITION_DOESNT_EXIST"


def close(account: Account, now_ns: int, instrument: str, body: Any) -> Document:
    """Close ``longUnits`` and ``shortUnits`` (ALL, NONE or a number) of a position. A 200.

    Where both keys are missing both mean ALL, which is rejected for a side that is not there: 404
    where the whole position is flat, 400 where only that side is (both were recorded). One side
    that fails fails the request.
    """
    if instrument not in account.market.specs:
        raise invalid("instrument")
    if not isinstance(body, dict):
        raise invalid("body")
    named = "longUnits" in body or "shortUnits" in body
    omitted = "NONE" if named and not account.behaviour.omitted_side_closes else "ALL"
    asked = {side: body.get(f"{side}Units", omitted) for side in ("long", "short")}
    wanted = {side: units for side, units in asked.items() if units not in ("NONE", None)}
    if not wanted:
        raise _reject(account, now_ns, instrument, "long", "NONE", 400,
                      "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION")  # fmt: skip
    sizes = {}
    for side, units in wanted.items():
        size = _size(account, now_ns, instrument, side, units)
        if size:
            sizes[side] = size
    if not sizes:
        return {"relatedTransactionIDs": [], "lastTransactionID": str(account.ledger.last_id)}
    answer: Document = {}
    with account.batch(now_ns) as batch:
        for side, size in sizes.items():
            is_long = side == "long"
            reading = Reading(account.spec_of(instrument), now_ns, {})
            common = {
                "timeInForce": "FOK",
                "positionFill": "REDUCE_ONLY",
                "reason": "POSITION_CLOSEOUT",
                f"{side}PositionCloseout": {
                    "instrument": instrument,
                    "units": _text(wanted[side]),
                },
                "clientExtensions": read_client(
                    reading, body, f"{side}ClientExtensions", "CLIENT_ORDER"
                ),
            }
            trades = tuple(t.id for t in account.state.position_trades(instrument, is_long))
            answer.update(
                market_close(
                    account, batch, instrument, -size if is_long else size, trades, common,
                    f"{side}Order",
                )
            )  # fmt: skip
        return {**answer, **batch.related()}


def _size(account: Account, now_ns: int, instrument: str, side: str, asked: Any) -> Decimal:
    """Return the units to close of one side, or raise the refusal it deserves."""
    state = account.state
    there = abs(state.net_units(instrument, side == "long"))
    if asked == "ALL":
        if there or not account.behaviour.close_absent_side_rejects:
            return there
        flat = not any(True for _ in state.position_trades(instrument))
        raise _reject(account, now_ns, instrument, side, asked, 404 if flat else 400, _MISSING)
    units = number(asked, f"{side}Units")
    reason = None
    if not there:
        reason = _MISSING
    elif units <= 0:
        reason = "UNITS_INVALID"
    elif decimal_places(units) > account.spec_of(instrument).instrument.units_precision:
        reason = "UNITS_PRECISION_EXCEEDED"
    elif units > there:
        reason = "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"
    if reason is not None:
        status = 404 if reason == _MISSING else 400
        raise _reject(account, now_ns, instrument, side, asked, status, reason)
    return units


def _reject(
    account: Account, now_ns: int, instrument: str, side: str, asked: Any, status: int, reason: str
) -> Refusal:
    with account.batch(now_ns) as batch:
        made = batch.add(
            "MARKET_ORDER_REJECT",
            rejectReason=reason,
            instrument=instrument,
            timeInForce="FOK",
            positionFill="REDUCE_ONLY",
            reason="POSITION_CLOSEOUT",
            **{f"{side}PositionCloseout": {"instrument": instrument, "units": _text(asked)}},
        )
        named = {f"{side}OrderRejectTransaction": made, **batch.related()}
    return rejected(status, named, reason)


def _text(asked: Any) -> str:
    if asked in ("ALL", "NONE"):
        return str(asked)
    return plain_text(number(asked, "units"))
