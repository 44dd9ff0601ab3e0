"""A bot: one account, one lease, one process, one trading week.

It starts by recovering (:mod:`~mbats.live.recovery`), trades in backtrader's loop, and looks after
itself once a second: the trading state, the portfolio limits, the checkpoint, signs of life. What
it cannot explain stops it: positions keep the stops that wait at the broker.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mbats.errors import DataError, MbatsError, NotReadyError
from mbats.live.account_rows import AccountRows
from mbats.live.adoption import require_owners
from mbats.live.control import TradingOrder, set_state
from mbats.live.events import Event, Row, denial
from mbats.live.inbox import Continued, Suspending, Unseen, Valued
from mbats.live.kept_flat import KeptFlat
from mbats.live.orders.ports import AccountState
from mbats.live.orders.reconcile import UnreconciledError
from mbats.live.orders.transactions import OrderFilled, Transaction
from mbats.live.plan import Plan, Ports
from mbats.live.recovery import patiently, reconcile, recover
from mbats.live.session import Prepared, claims, prepare_live
from mbats.live.store import LiveStore
from mbats.live.streams import Broken, Connected, Ended, Unreadable
from mbats.live.trader import Trader
from mbats.trading.risk.context import TradingState

log = logging.getLogger(__name__)

A_SECOND = timedelta(seconds=1)
HEARTBEAT = timedelta(seconds=10)
EQUITY = timedelta(minutes=1)
CHECKPOINT = timedelta(seconds=5)
BLIND = timedelta(seconds=30)
"""How long the trading state may be unreadable before the bot only reduces."""

WATCHED = {
    "DAILY_LOSS": "drawdown_limit",
    "DRAWDOWN": "drawdown_limit",
    "BOT_HALTED": "halted",
    "unknown": "order_unknown",
}
"""The words of the log that alert policies wait for, by the code of the event."""

STOPS_EVERYTHING = 7
"""Exit code of errors that mean a fault in the program or a stranger on the account."""


class Bot:
    """One session. :meth:`run` returns when it is over; signals only put items into the inbox."""

    def __init__(self, plan: Plan, ports: Ports) -> None:
        self._plan = plan
        self._ports = ports
        self._clock = ports.around.clock
        self._account = plan.account.account
        self._order = TradingOrder()
        self._breached = False
        self._kept_flat = KeptFlat()
        self._blind = False
        self._checkpointed = 0
        self._checkpoint_due = self._clock.now()
        self._valued_at = datetime.min.replace(tzinfo=UTC)
        self._rows: AccountRows | None = None
        self.live: Prepared | None = None

    @property
    def run_id(self) -> str:
        """The run that this session is."""
        return self._plan.account.run_id

    def run(self) -> None:
        """Trade until the end of the session, or until told to stop.

        Raises what makes trading on impossible; the run is then marked failed.
        """
        row = {
            **self._plan.row,
            "run_id": self._plan.account.run_id,
            "account": self._account,
            "account_currency": self._plan.account.currency,
            "started_at": self._clock.now(),
            "deadline_at": self._plan.until + timedelta(hours=1),
        }
        self._order = self._ports.control.read()[0]
        self._ports.runs.start(row)
        try:
            self.live = self._prepared()
            row["starting_cash"] = self._trader.book.balance
            self._ports.runs.note(row)
            self._say_state()
            self.live.run()
            self._drain()
        except BaseException as error:
            self._fail(row, error)
            raise
        row["ending_value"] = self._trader.net_asset_value()
        self._ports.runs.end({**row, "ended_at": self._clock.now()}, None)
        log.info("session ended: %s", self.live.store.stopping)

    # The start.

    def _prepared(self) -> Prepared:
        plan, ports = self._plan, self._ports
        store = LiveStore(
            ports.inbox, self._clock, ports.source, plan.patience, on_control=self._control
        )
        live = prepare_live(
            plan.assignments,
            plan.account.instruments,
            self._account,
            store,
            self._recovered,
            longest_wait=plan.longest_wait,
            on_decision=self._decided,
        )
        self._rows = AccountRows(plan, live.trader)
        store.every(A_SECOND, self._look_after)
        store.every(HEARTBEAT, self._heartbeat)
        store.every(EQUITY, self._equity)
        return live

    def _recovered(self, told: Callable[[Transaction], None]) -> Trader:
        ports = self._ports

        def heard(transaction: Transaction) -> None:
            told(transaction)
            self._heard(transaction)

        trader = recover(self._plan.account, ports.around, self._publish, heard, ports.open_stream)
        require_owners(trader.book, claims(self._plan.assignments))
        # A recovery may take minutes: what was ordered meanwhile holds from the first decision on.
        self._order = ports.control.read()[0]
        trader.state = self._order.state
        trader.look_again = self._look_again
        self._checkpointed = trader.book.cursor
        return trader

    @property
    def _trader(self) -> Trader:
        assert self.live is not None
        return self.live.trader

    @property
    def _store(self) -> LiveStore:
        assert self.live is not None
        return self.live.store

    # Once a second.

    def _look_after(self, now: datetime) -> None:
        if now >= self._plan.until:
            self._store.stopping = "the trading week is over"
            return
        if not self._holds_lease():
            return
        self._watch_limits()
        self._keep_flat(now)
        if now >= self._checkpoint_due:
            self._checkpoint_due = now + CHECKPOINT
            self._checkpoint()

    def _watch_limits(self) -> None:
        """A broken portfolio limit closes everything and halts, once, until a person resumes."""
        if self._breached:
            return
        found = self._trader.breaches()
        if not found:
            return
        self._breached = True
        why = "; ".join(f"{denied.code}: {denied.detail}" for denied in found)
        log.critical("portfolio limit broken, flattening: %s", why, extra={"code": found[0].code})
        self._trader.state = TradingState.HALTED
        for denied in found:
            self._tell(denied.code, denied.detail, "critical")
        self._ports.flatten(why)
        self._store.read_log_soon()

    def _holds_lease(self) -> bool:
        """Tell whether the lease is held; after a sleep it is regained, and all is looked at anew.

        Where nobody can say who holds it, nothing is sent; the next second asks again.
        """
        try:
            regained = self._trader.protocol.hold_lease()
        except (OSError, NotReadyError) as error:
            log.warning("nothing is sent, for nobody can say who holds the lease: %s", error)
            return False
        if regained:
            self._go_on()
        return True

    def _keep_flat(self, now: datetime) -> None:
        """Close what arrived when nobody flattened any more."""
        why = self._kept_flat.why(self._order, self._trader.book, now)
        if why:
            self._tell("NOT_FLAT", why, "critical")
            self._ports.flatten(why)
            self._store.read_log_soon()

    def _checkpoint(self) -> None:
        """Let a restart begin here, if everything told so far is stored elsewhere."""
        if self._trader.book.cursor == self._checkpointed and not self._trader.marks_moved:
            return
        cursor = self._trader.book.cursor
        try:
            if self._ports.events.unconfirmed:
                self._ports.events.flush()
            self._trader.checkpoint()
        except (OSError, NotReadyError) as error:
            log.warning("no checkpoint yet: %s", error)
            return
        self._checkpointed = cursor

    # Control messages.

    def _control(self, payload: Any) -> None:
        match payload:
            case TradingOrder():
                self._take_order(payload)
            case Unseen():
                self._be_careful(payload)
            case Suspending():
                self._suspend()
            case Continued():
                self._go_on()
            case Valued(state):
                self._valued(state)
            case Connected() | Broken() | Unreadable():
                log.info("transaction stream: %s", payload)
                self._store.read_log_soon()
            case Ended(error=error):
                raise error
            case _:
                raise DataError(f"A control message that means nothing: {payload!r:.200}")

    def _take_order(self, order: TradingOrder) -> None:
        if order.number < self._order.number and order.state is not TradingState.HALTED:
            return  # read before the newest, it waited in the inbox: it must not end a halt
        was_blind, self._blind = self._blind, False
        is_new = order.number != self._order.number
        if self._breached and not is_new and order.state is not TradingState.HALTED:
            self._halt_after_all()
        if not is_new and not was_blind:
            return
        self._obey(order, is_new=is_new)
        self._say_state()

    def _obey(self, order: TradingOrder, *, is_new: bool) -> None:
        """Take up a trading state; after a broken limit only a new order ends the halt.

        The halt itself may have failed to be written: the order of before is then still there.
        """
        self._order = order
        if self._breached and not is_new:
            return
        self._trader.state = order.state
        self._breached = self._breached and order.state is TradingState.HALTED

    def _be_careful(self, unseen: Unseen) -> None:
        if not self._blind and self._clock.now() - unseen.since >= BLIND:
            self._only_reduce(unseen.error)

    def _only_reduce(self, error: str) -> None:
        """Go by the careful guess until the trading state can be read again."""
        self._blind = True
        if self._trader.state is TradingState.ACTIVE:
            self._trader.state = TradingState.REDUCING
        detail = f"only reducing: the trading state cannot be read: {error}"
        self._tell("STATE_UNREADABLE", detail, "critical")

    def _say_state(self) -> None:
        order = self._order
        if order.state is not TradingState.ACTIVE or order.number:
            said = f"{order.state} by {order.by or 'nobody'}: {order.why}"
            self._tell(f"BOT_{order.state.upper()}", said, "info")

    def _suspend(self) -> None:
        """Write down what there is, then stop until somebody continues this process."""
        self._checkpoint()
        log.warning("suspended")
        self._ports.suspend()

    def _go_on(self) -> None:
        """Nothing known before a suspension holds after it until it has been looked at."""
        self._look_again()
        self._tell("BOT_CONTINUED", "suspended and continued; the account reconciles", "info")

    def _look_again(self) -> None:
        """Find out what holds now: the lease, the account, and what was ordered meanwhile."""
        reconcile(self._trader, self._ports.around)
        try:
            order = self._ports.control.read()[0]
        except (OSError, NotReadyError) as error:
            self._only_reduce(str(error))
            return
        self._blind = False
        self._obey(order, is_new=order.number != self._order.number)

    # Signs of life.

    def _heartbeat(self, now: datetime) -> None:
        row = self._account_rows().heartbeat(now, self._ports.around.lease.fencing)
        self._ports.events(Event("heartbeat", row))
        source = self._plan.name or row["source"]
        log.info("heartbeat", extra={"event": "heartbeat", "source": source})

    def _equity(self, now: datetime) -> None:
        """Write positions and a point of the equity curve: the broker's own, where it came."""
        self._ports.rows("position", self._account_rows().positions(now))
        if now - self._valued_at >= 1.5 * EQUITY:
            self._ports.rows("equity", [self._account_rows().equity(now)])

    def _valued(self, state: AccountState) -> None:
        self._valued_at = now = self._clock.now()
        self._ports.rows("equity", [self._account_rows().equity(now, state)])

    def _heard(self, transaction: Transaction) -> None:
        """Keep the account's rows up to date, once it is recovered: every fill moves a position."""
        if self._rows is None:
            return
        self._rows.hear(transaction)
        if isinstance(transaction, OrderFilled):
            self._ports.rows("position", [self._rows.after(transaction)])

    def _account_rows(self) -> AccountRows:
        assert self._rows is not None
        return self._rows

    def _decided(self, row: Row) -> None:
        self._ports.rows("signal", [{"run_id": self.run_id, **row}])

    # Telling.

    def _publish(self, event: Event) -> None:
        row = event.row
        if row.get("trace_id", "") is None:
            row = {**row, "trace_id": self._plan.trace_id}
        self._ports.events(replace(event, row=row))
        about = {k: row[k] for k in ("strategy", "instrument", "order_key", "code") if row.get(k)}
        what = row.get("event") or row.get("code") or event.table
        log.info(
            "%s %s",
            event.table,
            what,
            extra={**about, "event": WATCHED.get(what, what), "trace_id": self._plan.trace_id},
        )

    def _tell(self, code: str, detail: str, severity: str) -> None:
        values = {"account": self._account, "severity": severity, "actor": "bot"}
        run_id = self._plan.account.run_id
        self._publish(denial(run_id, code, detail, self._clock.now(), values))

    # The end.

    def _drain(self) -> None:
        """Leave nothing half told: events stored, then a checkpoint. Brackets stay in force."""
        self._trader.protocol.catch_up()
        now = self._clock.now()
        self._ports.rows("equity", [self._account_rows().equity(now)])
        self._ports.rows("position", self._account_rows().positions(now))
        patiently(self._ports.around, self._ports.events.flush)
        self._trader.checkpoint()

    def _fail(self, row: Row, error: BaseException) -> None:
        """Record why it ended; a fault that no one can explain also halts the account."""
        cause = error.cause if isinstance(error, MbatsError) else f"{type(error).__name__}: {error}"
        about = {"event": "reconciliation_mismatch"} if isinstance(error, UnreconciledError) else {}
        log.critical("session failed: %s", cause, exc_info=error, extra=about)
        if self.live is not None:
            row["ending_value"] = self._trader.net_asset_value()
        last = [lambda: self._ports.runs.end({**row, "ended_at": self._clock.now()}, cause)]
        if isinstance(error, MbatsError) and error.exit_code == STOPS_EVERYTHING:
            last = [
                lambda: self._tell(type(error).__name__, cause, "critical"),
                lambda: self._halt(cause),
                *last,
            ]
        for act in [*last, self._ports.events.flush]:
            try:
                act()
            except (MbatsError, OSError) as problem:
                log.error("while ending: %s", problem)

    def _halt_after_all(self) -> None:
        """Write the halt of a broken limit that could not be written: the store answers again."""
        try:
            self._halt("a portfolio limit is broken", flat=True)
        except (MbatsError, OSError) as error:
            log.error("the halt is still not written: %s", error)

    def _halt(self, why: str, *, flat: bool = False) -> None:
        actor, now = f"bot {self._plan.account.run_id}", self._clock.now()
        set_state(self._ports.control, TradingState.HALTED, actor, why, now, flat=flat)
