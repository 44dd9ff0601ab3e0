"""What the rules look at: one picture of the market and the account at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from mbats.market.instrument import Instrument
from mbats.trading.order import OrderIntent


class TradingState(StrEnum):
    """What the kill switch allows."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """Only orders that shrink a position."""

    HALTED = "halted"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The newest price of an instrument, in quote currency."""

    bid: Decimal
    ask: Decimal
    time: datetime
    tradeable: bool = True

    @property
    def mid(self) -> Decimal:
        """The mean of bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Decimal:
        """Ask minus bid."""
        return self.ask - self.bid


@dataclass(frozen=True)
class Limits:
    """What an account allows. Amounts are in account currency; None switches a limit off.

    ``bound_pips`` is how far beyond the market an entry may fill, ``collar_pips`` how far from it
    an order's price may be. ``daily_loss`` is lost since the last 17:00 New York, ``drawdown`` a
    fraction of the highest net asset value.
    """

    price_age: timedelta = timedelta(seconds=10)
    spread_pips: Decimal | None = Decimal(20)
    bound_pips: Decimal = Decimal(10)
    collar_pips: Decimal | None = Decimal(100)
    units: Decimal | None = Decimal(1_000_000)
    notional: Decimal | None = Decimal(1_000_000)
    gross_exposure: Decimal | None = Decimal(5_000_000)
    net_currency_exposure: Decimal | None = Decimal(5_000_000)
    open_orders: int | None = 50
    orders_per_minute: int | None = 60
    duplicate_window: timedelta = timedelta(seconds=2)
    daily_loss: Decimal | None = None
    drawdown: Decimal | None = Decimal("0.25")


@dataclass(frozen=True)
class Sent:
    """An order that went out a short while ago."""

    time: datetime
    strategy: str
    instrument: str
    signed_units: Decimal
    reduce_only: bool = False


@dataclass(frozen=True)
class RiskContext:
    """One instant. Money is in account currency; positions are signed units by instrument.

    ``rates`` turn one unit of a currency into account currency. ``quotes`` and ``instruments`` are
    by instrument name; ``recent`` are the orders of the last minute.
    """

    now: datetime
    state: TradingState
    limits: Limits
    net_asset_value: Decimal
    margin_available: Decimal
    day_start_value: Decimal
    peak_value: Decimal
    session_open: bool = True
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    waiting: int = 0
    recent: tuple[Sent, ...] = ()

    def reduces(self, intent: OrderIntent) -> bool:
        """Tell whether the order can only bring its position nearer to flat."""
        held = self.positions.get(intent.instrument, Decimal(0))
        shrinks = held * intent.side.sign < 0 and intent.units <= abs(held)
        return intent.reduce_only or shrinks

    def notional(self, instrument: str, units: Decimal) -> Decimal | None:
        """Return the absolute value of ``units`` in account currency; None without a rate."""
        base = instrument.rsplit("_", 1)[0]
        if base in self.rates:
            return abs(units) * self.rates[base]
        quote, rate = self.quotes.get(instrument), self.rates.get(instrument.rsplit("_", 1)[1])
        return abs(units) * quote.mid * rate if quote and rate is not None else None

    def after(self, intent: OrderIntent) -> Mapping[str, Decimal]:
        """Return the positions as they would be once ``intent`` has filled."""
        held = self.positions.get(intent.instrument, Decimal(0))
        return {**self.positions, intent.instrument: held + intent.signed_units}
