"""What must hold after every transaction. Each check returns sentences; none means all is well."""

import json
from decimal import Decimal

from mbats.local.oanda_sim import margin
from mbats.local.oanda_sim.account import Account
from mbats.local.oanda_sim.fold import fold
from mbats.local.oanda_sim.money import ZERO
from mbats.local.oanda_sim.state import CANCELLED, CREATES, FILLED, PENDING


def violations(account: Account) -> list[str]:
    """Return every invariant that does not hold."""
    found = [
        *_ids(account),
        *_money(account),
        *_orders(account),
        *_units(account),
        *_linked(account),
        *_margin(account),
    ]
    if fold(account.ledger.documents()) != account.state:
        found.append("a fresh fold of the log is not the live state")
    return found


def _ids(account: Account) -> list[str]:
    ledger = account.ledger
    ids = [int(json.loads(line)["id"]) for line in ledger.lines]
    if ids != list(range(ledger.first_id, ledger.first_id + len(ids))):
        return ["transaction ids are not contiguous"]
    batches = [int(tx["batchID"]) for tx in ledger.documents()]
    if batches != sorted(batches) or any(b > i for b, i in zip(batches, ids, strict=True)):
        return ["batch ids do not name the first transaction of their batch"]
    return ["times run backwards"] if ledger.times != sorted(ledger.times) else []


def _money(account: Account) -> list[str]:
    state = account.state
    found = []
    made = state.transfers + state.pl + state.financing - state.commission
    if state.balance != made:
        found.append(f"balance {state.balance} is not transfers + pl + financing − fees = {made}")
    trades_pl = sum((t.realized_pl for t in state.trades.values()), ZERO)
    if trades_pl != state.pl:
        found.append(f"pl {state.pl} is not the sum over trades {trades_pl}")
    sides = [side for p in state.positions.values() for side in (p.long, p.short)]
    if sum((side.pl for side in sides), ZERO) != state.pl:
        found.append("pl is not the sum over positions")
    if sum((side.financing for side in sides), ZERO) != state.financing:
        found.append("financing is not the sum over positions")
    if sum((t.financing for t in state.trades.values()), ZERO) != state.financing:
        found.append("financing is not the sum over trades")
    balance = ZERO
    for tx in account.ledger.documents():
        if "accountBalance" in tx:
            fees = Decimal(tx.get("commission", 0))
            moved = Decimal(tx.get("pl", 0)) + Decimal(tx.get("financing", 0))
            balance += moved + Decimal(tx.get("amount", 0)) - fees
            if balance != Decimal(tx["accountBalance"]):
                found.append(f"transaction {tx['id']} does not add up to its accountBalance")
    return found


def _orders(account: Account) -> list[str]:
    """Each order is created once and ends at most once, filled or cancelled."""
    created: list[str] = []
    ended: dict[str, str] = {}
    found = []
    for tx in account.ledger.documents():
        if tx["type"] in CREATES:
            created.append(tx["id"])
        elif tx["type"] in ("ORDER_FILL", "ORDER_CANCEL"):
            if tx["orderID"] in ended:
                found.append(f"order {tx['orderID']} ended twice")
            if tx["orderID"] not in created:
                found.append(f"order {tx['orderID']} ended before it was created")
            ended[tx["orderID"]] = FILLED if tx["type"] == "ORDER_FILL" else CANCELLED
    for order_id in created:
        state = ended.get(order_id, PENDING)
        order = account.state.orders.get(int(order_id))
        if order is None or order.state != state:
            found.append(f"order {order_id} is not {state}")
        if (int(order_id) in account.state.pending) != (state == PENDING):
            found.append(f"order {order_id} is {state} but listed otherwise")
    return found


def _units(account: Account) -> list[str]:
    """Units are conserved: fills make positions, and no trade turns round."""
    state = account.state
    filled: dict[str, Decimal] = {}
    found = []
    for tx in account.ledger.documents():
        if tx["type"] != "ORDER_FILL":
            continue
        filled[tx["instrument"]] = filled.get(tx["instrument"], ZERO) + Decimal(tx["units"])
        parts = [*tx.get("tradesClosed", []), tx.get("tradeReduced"), tx.get("tradeOpened")]
        total = sum((Decimal(part["units"]) for part in parts if part), ZERO)
        if total != Decimal(tx["units"]):
            found.append(f"fill {tx['id']}: its trades do not add up to its units")
    for instrument, units in filled.items():
        if state.net_units(instrument) != units:
            found.append(f"{instrument}: open units are not the sum of its fills")
        long, short = (state.net_units(instrument, is_long=side) for side in (True, False))
        if long and short and not account.spec.hedging:
            found.append(f"{instrument}: long and short at once on a netting account")
    for trade in state.trades.values():
        left = abs(trade.initial_units) - trade.closed_units
        if abs(trade.units) != left or trade.units * trade.initial_units < 0:
            found.append(f"trade {trade.id}: open and closed units are not its initial units")
        if (trade.id in state.open_trades) != bool(trade.units):
            found.append(f"trade {trade.id} is open without units, or has units and is not open")
    return found


def _linked(account: Account) -> list[str]:
    """Dependent orders hang on open trades, one of a kind; every pending trailing stop trails."""
    state = account.state
    found = []
    trailing = set()
    for order in state.pending.values():
        if order.trade_id is None:
            continue
        trade = state.open_trades.get(order.trade_id)
        if trade is None:
            found.append(f"order {order.id} hangs on trade {order.trade_id}, which is not open")
        elif trade.dependents.get(order.kind) != order.id:
            found.append(f"trade {trade.id} does not know its order {order.id}")
        if order.kind == "TRAILING_STOP_LOSS":
            trailing.add(order.id)
    if trailing != set(account.trails):
        found.append("trailing stops and their trails differ")
    return found


def _margin(account: Account) -> list[str]:
    state = account.state
    if any(not account.market.known(t.instrument) for t in state.open_trades.values()):
        return ["a trade is open in an instrument without a price"]
    made = margin.figures(state, account.spec, account.market)
    found = []
    if made.nav != state.balance + made.unrealized_pl:
        found.append("NAV is not balance + unrealised P&L")
    if made.margin_available != max(made.nav - made.margin_used, ZERO):
        found.append("margin available is not NAV − margin used")
    if bool(made.margin_used) and not state.open_trades:
        found.append("margin is used without a trade")
    return found
