"""Portfolio limits, watched from outside: what the events of an account say it holds and is worth.

The bot watches the same limits once a second. This watch needs no bot to be right: it follows the
events that the bot publishes, in any order and any number of times, and says when a limit is
broken. Nothing here asks a clock or a network; times are those of the events.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from mbats.errors import DataError
from mbats.live.limits import parse_limits
from mbats.live.worth import Worth
from mbats.market.newyork import instant
from mbats.market.session import FX
from mbats.trading.risk import portfolio
from mbats.trading.risk.context import Limits, RiskContext, TradingState
from mbats.trading.risk.rules import Denial

BOT = "bot-"
"""What the source of a bot's heartbeat begins with; its account follows."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Held:
    """A position: signed units as of a transaction of the account's log."""

    units: Decimal
    transaction: int


@dataclass(frozen=True)
class Pull:
    """The kill switch was pulled for ``why``, because of the event ``by``.

    ``number`` is that of the trading order in force once it was ``done``, 0 before. ``at`` is when
    somebody last began to pull, ``failed`` that it ended without success.
    """

    by: str
    code: str
    why: str
    at: datetime
    done: bool = False
    number: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Watched:
    """What is known of one account. Money is in account currency.

    ``value`` is the net asset value at ``valued_at``; ``start`` that of the trading day's first
    event, at ``started_at``; ``peak`` the highest since ``since``, when a person last resumed.
    """

    account: str
    value: Decimal | None = None
    valued_at: datetime = _NEVER
    day: str = ""
    start: Decimal = Decimal(0)
    started_at: datetime = _NEVER
    peak: Decimal = Decimal(0)
    since: datetime = _NEVER
    positions: Mapping[str, Held] = field(default_factory=dict)
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    rated_at: datetime = _NEVER
    pull: Pull | None = None

    def to_record(self) -> dict[str, Any]:
        """Return it in plain JSON values."""
        return {
            "account": self.account,
            "value": None if self.value is None else str(self.value),
            "valued_at": self.valued_at.isoformat(),
            "day": self.day,
            "start": str(self.start),
            "started_at": self.started_at.isoformat(),
            "peak": str(self.peak),
            "since": self.since.isoformat(),
            "positions": {n: [str(h.units), h.transaction] for n, h in self.positions.items()},
            "rates": {name: str(rate) for name, rate in self.rates.items()},
            "rated_at": self.rated_at.isoformat(),
            "pull": self.pull and {**asdict(self.pull), "at": self.pull.at.isoformat()},
        }

    @classmethod
    def from_record(cls, record: Row) -> "Watched":
        """Return what :meth:`to_record` wrote."""
        value, pull = record["value"], record["pull"]
        return cls(
            account=record["account"],
            value=None if value is None else Decimal(value),
            valued_at=datetime.fromisoformat(record["valued_at"]),
            day=record["day"],
            start=Decimal(record["start"]),
            started_at=datetime.fromisoformat(record["started_at"]),
            peak=Decimal(record["peak"]),
            since=datetime.fromisoformat(record["since"]),
            positions={n: Held(Decimal(u), int(t)) for n, (u, t) in record["positions"].items()},
            rates={name: Decimal(rate) for name, rate in record["rates"].items()},
            rated_at=datetime.fromisoformat(record["rated_at"]),
            pull=pull and Pull(**{**pull, "at": datetime.fromisoformat(pull["at"])}),
        )


def account_of(table: str, row: Row) -> str | None:
    """Return the account an event is about, None for one that says nothing of its worth.

    Raises :class:`DataError` for a fill whose id does not name an account.
    """
    if table == "heartbeat" and row["source"].startswith(BOT):
        return str(row["source"]).removeprefix(BOT)
    if table == "fill":
        account, _, rest = str(row["event_id"]).rpartition("-")[0].rpartition("-")
        if not account or not rest.isdigit():
            raise DataError(f"The fill {row['event_id']!r:.80} does not name its account.")
        return account
    return None


def take(watched: Watched, table: str, row: Row) -> Watched:
    """Return what is known after an event of the account; an older one changes only what it may.

    Raises :class:`DataError` for an event that cannot be read.
    """
    try:
        return _filled(watched, row) if table == "fill" else _beaten(watched, row)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise DataError(
            f"A {table} of account {watched.account} is malformed: {error!r}"
        ) from error


def breaches(watched: Watched, limits: Limits) -> list[Denial]:
    """Return the limits that the account breaks, by the very rules of the bot.

    A position that no rate is known for is left out: the bot, which has the prices, counts it as
    over every limit.
    """
    if watched.value is None:
        limits = replace(limits, daily_loss=None, drawdown=None)
    context = RiskContext(
        now=watched.valued_at,
        state=TradingState.ACTIVE,
        limits=limits,
        net_asset_value=watched.value or Decimal(0),
        margin_available=Decimal(0),
        day_start_value=watched.start,
        peak_value=watched.peak,
        rates=watched.rates,
        positions={
            name: held.units
            for name, held in watched.positions.items()
            if held.units and name.rsplit("_", 1)[0] in watched.rates
        },
    )
    return portfolio.breaches(context)


def resumed(watched: Watched, now: datetime) -> Watched:
    """Return what is watched after a person has resumed: loss and drawdown count from here.

    They would halt the account at once otherwise, for the very loss that the person has seen.
    """
    value = watched.value or Decimal(0)
    return replace(
        watched, pull=None, since=now, start=value, started_at=now, peak=value, day=_day(now)
    )


def limits_of(account: str, text: str) -> Limits:
    """Return an account's limits: the desk's own, with ``text`` put over them.

    ``text`` is ``name=value`` with commas; one that begins with ``ACCOUNT:`` is for that account
    alone and beats those for all. Raises :class:`ConfigError` for anything else.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for_all = [part for part in parts if ":" not in part]
    own = [part.partition(":")[2] for part in parts if part.partition(":")[0] == account]
    return parse_limits(for_all + own)


def _filled(watched: Watched, row: Row) -> Watched:
    name, transaction = str(row["instrument"]), int(row["broker_transaction_id"])
    known = watched.positions.get(name)
    if known is not None and known.transaction >= transaction:
        return watched
    positions = {**watched.positions, name: Held(Decimal(row["position_units"]), transaction)}
    return replace(watched, positions=positions, rates=_rates_by(watched, row))


def _rates_by(watched: Watched, fill: Row) -> dict[str, Decimal]:
    """Return the rates, with those that a fill shows where none is known better."""
    rate = fill.get("conversion_rate")
    if rate is None:
        return dict(watched.rates)
    base, quote = str(fill["instrument"]).rsplit("_", 1)
    shown = {quote: Decimal(rate), base: Decimal(rate) * Decimal(fill["price"])}
    newer = fill["time"] > watched.rated_at
    return {**watched.rates, **shown} if newer else {**shown, **watched.rates}


def _beaten(watched: Watched, row: Row) -> Watched:
    detail = row.get("detail") or {}
    if "worth" not in detail:
        return watched  # of an older bot
    worth, time = Worth.from_detail(detail["worth"]), row["time"]
    after = _valued(watched, worth.net_asset_value, time)
    if time > watched.rated_at:
        after = replace(after, rates={**watched.rates, **worth.rates}, rated_at=time)
    cursor = int(row["transaction_id"])
    told = {n: Held(Decimal(units), cursor) for n, units in detail["positions"].items()}
    newer = {n: held for n, held in watched.positions.items() if held.transaction > cursor}
    settled = {
        n: Held(Decimal(0), cursor) for n in watched.positions if n not in told and n not in newer
    }
    return replace(after, positions={**settled, **told, **newer})


def _valued(watched: Watched, value: Decimal, time: datetime) -> Watched:
    if time <= watched.since:
        return watched
    day = _day(time)
    after = replace(watched, peak=max(watched.peak, value))
    if day > watched.day or (day == watched.day and time < watched.started_at):
        after = replace(after, day=day, start=value, started_at=time)
    return replace(after, value=value, valued_at=time) if time > watched.valued_at else after


def _day(moment: datetime) -> str:
    return str(FX.trading_day(instant(moment)))
