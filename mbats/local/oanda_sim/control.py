"""The simulator's own paths under /sim: clock, prices, halts, faults, log, invariants.

They are no part of OANDA's API, take no token and meet no faults.
"""

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from mbats.errors import MbatsError
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.answers import Refusal
from mbats.local.oanda_sim.engine import Engine
from mbats.local.oanda_sim.faults import Fault, FaultAt
from mbats.local.oanda_sim.http import Answer, Request
from mbats.local.oanda_sim.invariants import violations
from mbats.local.oanda_sim.money import amount_text
from mbats.local.oanda_sim.quotes import quote_from
from mbats.local.oanda_sim.times import SECOND, parse_time, rfc3339


def control(engine: Engine, request: Request) -> Answer:
    """Answer a request under /sim; 400 with a sentence for one that makes no sense."""
    handler = _HANDLERS.get((request.method, request.path.rstrip("/")))
    if handler is None:
        known = [f"{method} {path or '/sim'}" for method, path in _HANDLERS]
        return Answer(404, {"errorMessage": "no such control path", "known": known})
    try:
        return Answer(200, handler(engine, request))
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        return Answer(400, {"errorMessage": f"{type(error).__name__}: {error}"})
    except MbatsError as error:
        return Answer(400, {"errorMessage": error.cause, "mend": error.mend})
    except Refusal as refusal:
        return Answer(refusal.status, refusal.body)


def _status(engine: Engine, request: Request) -> dict[str, Any]:
    return {
        "time": rfc3339(engine.now_ns),
        "speed": engine.config.speed,
        "seed": engine.seed,
        "faultSeed": engine.faults.plan.seed,
        "requests": engine.faults.counts,
        "faults": len(engine.faults.happened),
        "halted": sorted(engine.market.halted),
        "accounts": {
            name: {"lastTransactionID": str(account.ledger.last_id)}
            for name, account in engine.accounts.items()
        },
    }


def _advance(engine: Engine, request: Request) -> dict[str, Any]:
    body = request.json()
    if "to" in body:
        until = parse_time(str(body["to"]))
    else:
        until = engine.now_ns + int(Decimal(str(body["seconds"])) * SECOND)
    engine.advance(until)
    return {"time": rfc3339(engine.now_ns)}


def _price(engine: Engine, request: Request) -> dict[str, Any]:
    body = request.json()
    spec = engine.market.specs[body["instrument"]]
    engine.put_price(quote_from(body, spec.precision, engine.now_ns))
    return engine.market.price_document(spec.name)


def _halt(engine: Engine, request: Request) -> dict[str, Any]:
    body = request.json()
    engine.halt(str(body["instrument"]), bool(body.get("halted", True)))
    return {"halted": sorted(engine.market.halted)}


def _inject(engine: Engine, request: Request) -> dict[str, Any]:
    body = request.json()
    fault = FaultAt(
        kind=str(body["kind"]),
        number=engine.faults.counts.get(str(body["kind"]), 0) + 1,
        fault=Fault(body["fault"]),
        seconds=float(body.get("seconds", 15.0)),
        status=int(body.get("status", 503)),
    )
    engine.faults.inject(fault)
    return {"injected": asdict(fault)}


def _happened(engine: Engine, request: Request) -> dict[str, Any]:
    return {"faults": [asdict(fault) for fault in engine.faults.happened]}


def _log(engine: Engine, request: Request) -> dict[str, Any]:
    account = _account(engine, request)
    return {"transactions": list(account.ledger.documents())}


def _invariants(engine: Engine, request: Request) -> dict[str, Any]:
    found = {name: violations(account) for name, account in engine.accounts.items()}
    return {"violations": found, "hold": not any(found.values())}


def _transfer(engine: Engine, request: Request) -> dict[str, Any]:
    """Move funds in or out, as a person would on OANDA's site."""
    account = _account(engine, request)
    amount = Decimal(str(request.json()["amount"]))
    reject = None
    if not amount.is_finite() or not amount:
        reject = "AMOUNT_INVALID"
    elif account.state.balance + amount < 0:
        reject = "INSUFFICIENT_FUNDS"
    with account.batch(engine.now_ns) as batch:
        common = {"amount": amount_text(amount), "fundingReason": "CLIENT_FUNDING"}
        if reject is not None:
            return batch.add("TRANSFER_FUNDS_REJECT", rejectReason=reject, **common)
        balance = amount_text(account.state.balance + amount)
        return batch.add("TRANSFER_FUNDS", accountBalance=balance, **common)


def _account(engine: Engine, request: Request) -> Account:
    name = request.query.get("account") or next(iter(engine.accounts))
    return engine.accounts[name]


_HANDLERS: dict[tuple[str, str], Callable[[Engine, Request], dict[str, Any]]] = {
    ("GET", "/sim"): _status,
    ("POST", "/sim/advance"): _advance,
    ("POST", "/sim/price"): _price,
    ("POST", "/sim/halt"): _halt,
    ("POST", "/sim/fault"): _inject,
    ("GET", "/sim/faults"): _happened,
    ("GET", "/sim/log"): _log,
    ("GET", "/sim/invariants"): _invariants,
    ("POST", "/sim/transfer"): _transfer,
}
