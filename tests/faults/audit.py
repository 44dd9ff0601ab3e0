"""At the end of a seed: the broker's log, the journal and the rows must say the same, exactly."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mbats.live.orders.journal import FileJournal
from mbats.live.orders.protocol import Fate
from mbats.live.orders.transactions import OrderCancelled, OrderCreated, OrderFilled, OrderRejected
from mbats.local.oanda_sim.invariants import violations
from mbats.trading.order import parent_key
from mbats.vendors import oanda_wire
from tests.faults.life import FORGOTTEN
from tests.faults.world import World

_OF_A_LIFE = ("run_id", "trace_id")


Record = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Rows by table and event id."""


def audit(world: World, folder: Path, owners: Mapping[str, str]) -> list[str]:
    """Return everything that does not agree; nothing when all is well.

    ``owners`` says which strategy trades which instrument.
    """
    rows, conflicts = stored_rows(folder / "events")
    return [*conflicts, *disagreements(world, journaled(folder), rows, owners)]


def disagreements(
    world: World, records: Sequence[Record], rows: Rows, owners: Mapping[str, str]
) -> list[str]:
    """Return in what the broker's log, the records of the journal and the rows differ."""
    log = [oanda_wire.transaction(d) for d in world.account.ledger.documents()]
    return [
        *violations(world.account),
        *_sent_once(world),
        *_journal_agrees(records, log),
        *_fills_agree(rows["fill"], log, owners),
        *_orders_agree(rows["order_event"], log),
        *_positions_agree(rows["fill"], world),
    ]


def figures(world: World, records: Sequence[Record]) -> dict[str, int]:
    """Return what happened, so that an idle run cannot look like a good one."""
    log = [oanda_wire.transaction(d) for d in world.account.ledger.documents()]
    outcomes = [record for record in records if record["record"] == "outcome"]
    return {
        "orders": sum(isinstance(t, OrderCreated) for t in log),
        "fills": sum(isinstance(t, OrderFilled) for t in log),
        "intents": sum(r["record"] == "intent" for r in records),
        "faults": len(world.engine.faults.happened),
        "kills": len(world.kills),
        "found": sum("found" in outcome["detail"] for outcome in outcomes),
        "not_placed": sum(outcome["fate"] == Fate.NOT_PLACED for outcome in outcomes),
    }


def journaled(folder: Path) -> list[Record]:
    """Return what the journal in a file says, and what it forgot of orders."""
    return with_forgotten(FileJournal(folder / "journal").records(), folder)


def with_forgotten(records: Sequence[Record], folder: Path) -> list[Record]:
    """Return the records of a journal and those it forgot of orders, each once."""
    forgotten = {(r["record"], r["key"]): r for r in FileJournal(folder / FORGOTTEN).records()}
    for record in records:
        forgotten.pop((record["record"], record.get("key")), None)
    return [*forgotten.values(), *records]


def stored_rows(path: Path) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """Return rows by table and event id, as the views show them, and repeats that differ.

    A torn line is what a kill leaves of a write that was never confirmed.
    """
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    conflicts = []
    for line in path.read_text().split("\n"):
        try:
            table, row = json.loads(line)
        except ValueError:
            continue
        if table == "heartbeat":
            continue
        row = {k: v for k, v in row.items() if k not in _OF_A_LIFE}
        known = rows[table].setdefault(row["event_id"], row)
        if known != row:
            conflicts.append(f"event {row['event_id']} was told twice, differently")
    return rows, conflicts


def _sent_once(world: World) -> list[str]:
    return [f"order {key} was sent {n} times" for key, n in world.posts.items() if n > 1]


def _journal_agrees(records: Any, log: Any) -> list[str]:
    made = Counter(t.client_key for t in log if isinstance(t, OrderCreated) and t.client_key)
    refused = {t.client_key for t in log if isinstance(t, OrderRejected)}
    intents = Counter(r["key"] for r in records if r["record"] == "intent")
    fates = {r["key"]: r["fate"] for r in records if r["record"] == "outcome"}
    found = [f"{n} orders of key {key}" for key, n in made.items() if n > 1]
    found += [f"intent {key} is in the journal {n} times" for key, n in intents.items() if n > 1]
    found += [f"unclaimed order {key}" for key in made if parent_key(key) not in intents]
    found += [f"intent {key} has no outcome" for key in intents if key not in fates]
    for key, fate in fates.items():
        if (fate == "placed") != (key in made):
            found.append(f"order {key}: the journal says {fate}, the log has {made[key]}")
        if key in refused and fate != "refused":
            found.append(f"order {key}: the journal says {fate}, the log says refused")
    anonymous = [t.id for t in log if isinstance(t, OrderCreated) and not t.client_key]
    return found + [f"order {number} has no key" for number in anonymous]


def _fills_agree(rows: Any, log: Any, owners: Mapping[str, str]) -> list[str]:
    told = Counter(row["broker_transaction_id"] for row in rows.values())
    found = []
    for fill in (t for t in log if isinstance(t, OrderFilled)):
        number = told.pop(str(fill.id), 0)
        if number != 1:
            found.append(f"fill {fill.id} has {number} rows")
            continue
        row = next(r for r in rows.values() if r["broker_transaction_id"] == str(fill.id))
        signed = Decimal(row["units"]) * (1 if row["side"] == "buy" else -1)
        said = (row["instrument"], signed, Decimal(row["price"]), Decimal(row["realised_pnl"]))
        if said != (fill.instrument, fill.units, fill.price, fill.realised_pnl):
            found.append(f"fill {fill.id} is told as {said}")
        if row["strategy"] != owners[fill.instrument]:
            found.append(f"fill {fill.id} of {fill.instrument} is given to {row['strategy']}")
    return found + [f"a row of fill {number}, which never was" for number in told]


def _orders_agree(rows: Any, log: Any) -> list[str]:
    told: dict[str, list[str]] = defaultdict(list)
    for row in rows.values():
        told[row["broker_transaction_id"]].append(row["event"])
    found = []
    for t in log:
        if not isinstance(t, OrderCreated | OrderFilled | OrderCancelled | OrderRejected):
            continue
        events = told.pop(str(t.id), [])
        if len(events) != 1:
            found.append(f"{t.type} {t.id} has the order events {events}")
    return found + [f"order event of {number}, which never was" for number in told]


def _positions_agree(rows: Any, world: World) -> list[str]:
    ours: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows.values():
        ours[row["instrument"]] += Decimal(row["units"]) * (1 if row["side"] == "buy" else -1)
    found = []
    for name in ours:
        state = world.account.state
        theirs = state.net_units(name, True) + state.net_units(name, False)
        if ours[name] != theirs:
            found.append(f"{name}: the fills add up to {ours[name]}, the broker holds {theirs}")
    return found
