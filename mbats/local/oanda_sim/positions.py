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
    that fails fails the request; the other is then rejected in the same batch (recorded).
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
        wrong = {"long": "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION"}
        raise _refusal(account, now_ns, instrument, {"long": "NONE"}, {}, wrong)
    sizes, wrong = {}, {}
    for side, units in wanted.items():
        size, reason = _size(account, instrument, side, units)
        if reason is not None:
            wrong[side] = reason
        elif size:
            sizes[side] = size
    if wrong:
        raise _refusal(account, now_ns, instrument, wanted, sizes, wrong)
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


def _size(account: Account, instrument: str, side: str, asked: Any) -> tuple[Decimal, str | None]:
    """Return the units to close of one side, and the reason to reject that, if there is one."""
    there = abs(account.state.net_units(instrument, side == "long"))
    if asked == "ALL":
        missing = not there and account.behaviour.close_absent_side_rejects
        return there, _MISSING if missing else None
    units = number(asked, f"{side}Units")
    if not there:
        return units, _MISSING
    if units <= 0:
        return units, "UNITS_INVALID"
    if decimal_places(units) > account.spec_of(instrument).instrument.units_precision:
        return units, "UNITS_PRECISION_EXCEEDED"
    if units > there:
        return units, "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"
    return units, None


def _refusal(
    account: Account,
    now_ns: int,
    instrument: str,
    asked: dict[str, Any],
    sizes: dict[str, Decimal],
    wrong: dict[str, str],
) -> Refusal:
    """Reject what is ``wrong``, side by side, and with it the sides that could have closed."""
    named: Document = {}
    with account.batch(now_ns) as batch:
        for side in asked:
            size = sizes.get(side)
            named[f"{side}OrderRejectTransaction"] = batch.add(
                "MARKET_ORDER_REJECT",
                rejectReason=wrong.get(side, "CLOSEOUT_POSITION_REJECT"),
                instrument=instrument,
                units=None if size is None else plain_text(-size if side == "long" else size),
                timeInForce="FOK",
                positionFill="REDUCE_ONLY",
                reason="POSITION_CLOSEOUT",
                **{f"{side}PositionCloseout": {
                    "instrument": instrument, "units": _text(asked[side]),
                }},
            )  # fmt: skip
        related = batch.related()
    reason = next(iter(wrong.values()))
    flat = not any(True for _ in account.state.position_trades(instrument))
    status = 404 if reason == _MISSING and flat else 400
    return rejected(status, {**named, **related}, reason)


def _text(asked: Any) -> str:
    if asked in ("ALL", "NONE"):
        return str(asked)
    return plain_text(number(asked, "units"))
