"""Portfolio limits: breaches that do not only block entries but flatten the account and halt.

And the count that no single rule can make: orders that went out against approvals that were given.
"""

from dataclasses import dataclass, field

from mbats.errors import MbatsError
from mbats.trading.risk import exposure
from mbats.trading.risk.context import RiskContext
from mbats.trading.risk.rules import DailyLoss, Denial, Drawdown, GrossExposure, NetCurrencyExposure


class UnapprovedOrderError(MbatsError):
    """More orders went out than were approved: everything stops (the lesson of Knight, 2012)."""

    exit_code = 7


def breaches(context: RiskContext) -> list[Denial]:
    """Return the portfolio limits that the account breaks as it stands, worst first.

    Any of them means: cancel all orders, close all positions, halt.
    """
    found = {
        DailyLoss.code: exposure.over_daily_loss(context),
        Drawdown.code: exposure.over_drawdown(context),
        GrossExposure.code: exposure.over_gross(context, context.positions),
        NetCurrencyExposure.code: exposure.over_net(context, context.positions),
    }
    return [Denial(code, detail) for code, detail in found.items() if detail is not None]


@dataclass
class ApprovalLedger:
    """Approvals given and orders sent, by key: every order out needs its own approval in."""

    _open: set[str] = field(default_factory=set)
    approved: int = 0
    sent: int = 0

    def approve(self, key: str) -> None:
        """Note that the rules let the order pass."""
        self._open.add(key)
        self.approved += 1

    def send(self, key: str) -> None:
        """Use up the approval, just before sending. Raises :class:`UnapprovedOrderError`."""
        self.sent += 1
        if key not in self._open or self.sent > self.approved:
            raise UnapprovedOrderError(
                f"Order {key} was about to go out without an approval "
                f"({self.sent} out, {self.approved} approved).",
                mend="`mbats halt`; this is a fault in the program, not in the market",
            )
        self._open.discard(key)

    def unsend(self) -> None:
        """Note that the order that was about to be sent was held back: it did not go out."""
        self.sent -= 1

    def withdraw(self, key: str) -> None:
        """Take back the approval of an order that did not go out: it needs a new one."""
        self._open.discard(key)
        self.approved -= 1
