"""The composition root of the kill switch: as little as it needs, opened as late as it can be."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mbats.config import Settings
from mbats.desk.stores import Desk
from mbats.errors import ConfigError
from mbats.gcp.control import ControlObject
from mbats.live.control import ControlStore, TradingOrder, encode
from mbats.live.events import Event
from mbats.live.killswitch import Closer, Holdings, KillSwitch
from mbats.live.recovery import prove_clean
from mbats.live.wall_clock import WallClock

CONTROL_TOPIC = "control"
TELLING_SECONDS = 3.0
"""How long telling others may take: they look for themselves, and the audit is in the state too."""


def account_of(settings: Settings, given: str | None) -> str:
    """Return the account that is meant. Raises :class:`ConfigError` where none is."""
    account = given or settings.oanda_account
    if not account:
        raise ConfigError(
            "Which account?",
            tried=["--account", "MBATS_OANDA_ACCOUNT", "oanda_account in mbats.toml"],
            mend="give --account",
        )
    return account


def journal_name(account: str) -> str:
    """Return the name of the order journal of an account."""
    return f"orders/{account}"


def kill_switch(desk: Desk, account: str, actor: str) -> KillSwitch:
    """Return the switch of an account, in the hand of ``actor``; no store is opened yet."""
    from mbats.local.paper import at_broker
    from mbats.vendors.oanda_closer import closer

    return _switch(desk, account, actor, closer(at_broker(desk.settings, account)))


def state_switch(desk: Desk, account: str, actor: str) -> KillSwitch:
    """Return a switch that only sets the state: it needs no broker, token or address."""
    return _switch(desk, account, actor, NoBroker())


class NoBroker:
    """Stands where nothing is asked of the broker."""

    def holdings(self) -> Holdings:
        """Raise: this switch cannot close."""
        raise ConfigError("This switch does not reach the broker.")

    def cancel(self, order_id: int) -> str:
        """Raise: this switch cannot close."""
        raise ConfigError("This switch does not reach the broker.")

    def close(self, instrument: str, *, long: bool, short: bool) -> str:
        """Raise: this switch cannot close."""
        raise ConfigError("This switch does not reach the broker.")


def _switch(desk: Desk, account: str, actor: str, broker: Closer) -> KillSwitch:
    def store() -> ControlStore:
        return ControlObject(desk.objects, account)

    return KillSwitch(
        account,
        actor,
        store,
        broker,
        WallClock(),
        time.sleep,
        announce=lambda order: _announce(desk.settings, account, order),
        audit=lambda event: _audit(desk.settings, event),
    )


def proof(desk: Desk, account: str) -> Callable[[], None]:
    """Return what raises unless the account is what the bot's journal and the log say."""

    def prove() -> None:
        from mbats.gcp.journal import ObjectJournal
        from mbats.local.paper import at_broker
        from mbats.vendors.oanda_broker import OandaBroker
        from mbats.vendors.oanda_client import connect, session

        settings = at_broker(desk.settings, account)
        broker = OandaBroker(session(settings), connect(settings), account, {})
        journal: Sequence[Mapping[str, Any]] = ObjectJournal(
            desk.objects, journal_name(account)
        ).records()
        prove_clean(journal, broker)

    return prove


def _announce(settings: Settings, account: str, order: TradingOrder) -> None:
    from mbats.gcp.publisher import Publisher

    publisher = Publisher(settings, patience_s=TELLING_SECONDS)
    publisher.publish(CONTROL_TOPIC, encode(order), account=account)
    publisher.close()


def _audit(settings: Settings, event: Event) -> None:
    from mbats.gcp.publisher import EventPublisher, Publisher

    publisher = Publisher(settings, patience_s=TELLING_SECONDS)
    EventPublisher(publisher)(event)
    publisher.close()
