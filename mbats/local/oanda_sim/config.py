"""What a simulator is made of: instruments, accounts, behaviour, faults, clock."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from mbats.errors import ConfigError
from mbats.local.oanda_sim.behaviour import Behaviour
from mbats.local.oanda_sim.faults import FaultPlan
from mbats.local.oanda_sim.times import from_datetime
from mbats.market.instrument import Instrument, parse_name
from mbats.market.session import FINANCING_DAYS

DEFAULT_ACCOUNT = "101-001-1000001-001"
# What one unit of each currency is worth in US dollars when generated prices start.
START_VALUES = {
    "EUR": 1.13800, "GBP": 1.32500, "AUD": 0.65500, "NZD": 0.59500, "CHF": 1.24500,
    "CAD": 0.71800, "JPY": 0.0063200, "SEK": 0.10500, "NOK": 0.09900, "USD": 1.0,
    "XAU": 2650.0, "XAG": 31.0,
}  # fmt: skip
DEFAULT_INSTRUMENTS = (
    "EUR_USD", "GBP_USD", "USD_JPY", "AUD_USD", "USD_CAD", "USD_CHF", "NZD_USD",
    "EUR_GBP", "EUR_JPY", "GBP_JPY", "EUR_CHF", "AUD_JPY",
)  # fmt: skip
_SPREAD_PIPS = {"EUR_USD": "1.4", "USD_JPY": "1.6", "GBP_USD": "1.8", "AUD_USD": "1.6"}


@dataclass(frozen=True)
class Spec:
    """An instrument as the broker offers it, with what OANDA says beyond ours."""

    instrument: Instrument
    financing_days: tuple[int, ...] = FINANCING_DAYS
    maximum_position_units: Decimal = Decimal(0)  # 0 is no cap
    minimum_trail_pips: int = 5
    maximum_trail_pips: int = 10_000

    @property
    def name(self) -> str:
        """BASE_QUOTE."""
        return self.instrument.name

    @property
    def precision(self) -> int:
        """Decimal places of prices."""
        return self.instrument.price_precision


def spec_of(name: str) -> Spec:
    """Return a generic spec for ``name``: JPY and metals have their own precision."""
    name = parse_name(name)
    base, quote = name.split("_")
    coarse = quote == "JPY" or base == "XAU"
    return Spec(
        Instrument(
            name=name,
            pip_location=-2 if coarse else -4,
            price_precision=3 if coarse else 5,
            margin_rate=Decimal("0.05") if quote == "JPY" else Decimal("0.03333333333333"),
            typical_spread_pips=Decimal(_SPREAD_PIPS.get(name, "2.2")),
            financing_long_rate=Decimal("-0.0247"),
            financing_short_rate=Decimal("0.0046"),
            kind="CURRENCY",
            display_name=name.replace("_", "/"),
        )
        if name not in ("EUR_USD", "USD_JPY")
        else _RECORDED[name]
    )


# As recorded on a practice account.
_RECORDED = {
    "EUR_USD": Instrument(
        "EUR_USD", -4, 5, margin_rate=Decimal("0.02"), typical_spread_pips=Decimal("1.4"),
        financing_long_rate=Decimal("-0.0247"), financing_short_rate=Decimal("0.0046"),
        kind="CURRENCY", display_name="EUR/USD",
    ),
    "USD_JPY": Instrument(
        "USD_JPY", -2, 3, margin_rate=Decimal("0.05"), typical_spread_pips=Decimal("1.6"),
        financing_long_rate=Decimal("0.018"), financing_short_rate=Decimal("-0.0383"),
        kind="CURRENCY", display_name="USD/JPY",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AccountSpec:
    """One account. ``fifo`` adds the rules for US accounts; it excludes ``hedging``.

    ``first_transaction_id`` starts the log elsewhere than at 1: 995 soon rolls 999 to 1000.
    ``commission_per_million`` is in account currency per million units filled.
    """

    id: str = DEFAULT_ACCOUNT
    alias: str = "Primary"
    currency: str = "USD"
    balance: Decimal = Decimal(100_000)
    margin_rate: Decimal = Decimal("0.02")
    hedging: bool = False
    fifo: bool = False
    first_transaction_id: int = 1
    commission_per_million: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.hedging and self.fifo:
            raise ConfigError(
                f"Account {self.id} is both hedging and FIFO.",
                mend="choose one: US accounts (fifo) net, they cannot hedge",
            )


@dataclass(frozen=True)
class SimConfig:
    """Everything that decides what a simulator does; equal configs behave equally.

    ``speed`` is engine seconds a wall second; 0 is stepped: the clock stands still until it is
    advanced by hand. ``start`` is the engine's first instant (None: now). ``walk_step_ms`` is the
    grid of generated prices, ``annual_volatility`` that of each currency against the dollar.
    ``heartbeat_seconds`` and ``price_window_ms`` (0: every price) pace the streams: in seconds of
    the client, so that a client's time-outs keep their meaning when the engine runs faster.
    ``token`` None takes any bearer token. ``state_file`` keeps the log across restarts.
    """

    seed: int = 1
    start: datetime | None = None
    speed: float = 1.0
    accounts: tuple[AccountSpec, ...] = (AccountSpec(),)
    specs: tuple[Spec, ...] = field(
        default_factory=lambda: tuple(spec_of(name) for name in DEFAULT_INSTRUMENTS)
    )
    behaviour: Behaviour = field(default_factory=Behaviour)
    faults: FaultPlan = field(default_factory=FaultPlan)
    token: str | None = None
    heartbeat_seconds: float = 5.0
    price_window_ms: int = 250
    walk_step_ms: int = 250
    annual_volatility: float = 0.08
    history_days: int = 400
    state_file: Path | None = None
    record_prices: bool = True

    def start_ns(self) -> int:
        """Return the first instant in nanoseconds."""
        return from_datetime(self.start or datetime.now(UTC))

    def client_ns(self, seconds: float) -> int:
        """Return client seconds as engine nanoseconds: ``speed`` times as many."""
        return int(seconds * 1e9 * (self.speed or 1.0))

    def __post_init__(self) -> None:
        ids = [account.id for account in self.accounts]
        if len(set(ids)) != len(ids):
            raise ConfigError("Two accounts have one id.", tried=ids, mend="give each its own")
        for account in self.accounts:
            self._require_conversions(account)

    def _require_conversions(self, account: AccountSpec) -> None:
        names = {spec.name for spec in self.specs}
        for currency in sorted({part for name in names for part in name.split("_")}):
            if currency != account.currency and not _convertible(currency, account.currency, names):
                raise ConfigError(
                    f"No instrument converts {currency} to {account.currency} ({account.id}).",
                    tried=[f"{currency}_{account.currency}", "its inverse", "through USD"],
                    mend="add such an instrument",
                )


def _convertible(currency: str, home: str, names: set[str]) -> bool:
    def pair(a: str, b: str) -> bool:
        return a == b or f"{a}_{b}" in names or f"{b}_{a}" in names

    return pair(currency, home) or (pair(currency, "USD") and pair("USD", home))


def with_conversions(names: list[str], currency: str) -> list[str]:
    """Return ``names`` and the dollar pairs that convert their currencies to ``currency``."""
    wanted = list(dict.fromkeys(parse_name(name) for name in names))
    for part in sorted({part for name in wanted for part in name.split("_")} | {currency}):
        if part != "USD" and not _convertible(part, "USD", set(wanted)):
            wanted.append(f"{part}_USD" if part in _QUOTED_IN_DOLLARS else f"USD_{part}")
    return wanted


_QUOTED_IN_DOLLARS = {"EUR", "GBP", "AUD", "NZD", "XAU", "XAG"}
