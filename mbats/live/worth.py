"""What an account is worth, as a heartbeat tells it: what the risk guard watches limits with."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbats.live.trader import Trader


@dataclass(frozen=True)
class Worth:
    """Net asset value in ``currency``; ``rates`` turn one unit of a currency into it."""

    currency: str
    net_asset_value: Decimal
    rates: Mapping[str, Decimal]

    @classmethod
    def of(cls, trader: "Trader", currency: str) -> "Worth":
        """Return what ``trader``'s account is worth now, with the rates of what it holds."""
        held = {part for name in trader.book.positions() for part in name.rsplit("_", 1)}
        rates = {name: trader.rate(name) for name in sorted(held)}
        known = {name: rate for name, rate in rates.items() if rate is not None}
        return cls(currency, trader.net_asset_value(), known)

    def to_detail(self) -> dict[str, Any]:
        """Return it in plain JSON values."""
        return {
            "currency": self.currency,
            "net_asset_value": str(self.net_asset_value),
            "rates": {name: str(rate) for name, rate in self.rates.items()},
        }

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> "Worth":
        """Return what :meth:`to_detail` wrote. Raises KeyError, TypeError or ArithmeticError."""
        rates = {str(name): Decimal(rate) for name, rate in detail["rates"].items()}
        return cls(str(detail["currency"]), Decimal(detail["net_asset_value"]), rates)
