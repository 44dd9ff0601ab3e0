"""Every order is counted, and looked at a last time, where it leaves the desk."""

from collections.abc import Callable

from mbats.live.orders.ports import Answer, Broker, HeldBackError
from mbats.trading.order import OrderIntent
from mbats.trading.risk.portfolio import ApprovalLedger


class CountedBroker:
    """The broker, with every order counted against its approval where it leaves the desk.

    ``last_look`` raises :class:`HeldBackError` where an order must not leave any more; the broker
    asks it once more, just before the bytes go.
    """

    def __init__(
        self, broker: Broker, ledger: ApprovalLedger, last_look: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._ledger = ledger
        self.last_look = broker.last_look = last_look
        self.state = broker.state
        self.transactions_since = broker.transactions_since
        self.cancel = broker.cancel

    def place(self, intent: OrderIntent, *, comment: str) -> Answer:
        """Send one approved order."""
        return self._counted(intent, lambda: self._broker.place(intent, comment=comment))

    def replace(self, order_id: int, intent: OrderIntent, *, comment: str) -> Answer:
        """Send one approved replacement."""
        return self._counted(
            intent, lambda: self._broker.replace(order_id, intent, comment=comment)
        )

    def _counted(self, intent: OrderIntent, send: Callable[[], Answer]) -> Answer:
        self.last_look()
        self._ledger.send(intent.key)
        try:
            return send()
        except HeldBackError:
            self._ledger.unsend()
            raise
