"""The options that `mbats backtest` and `mbats sweep` share, and how their texts are read."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from mbats.errors import ConfigError

SEED_SEVEN = "AUD_USD,USD_JPY,EUR_USD,GBP_USD,EUR_JPY,GBP_JPY,NZD_USD"

Strategies = Annotated[
    list[str], typer.Argument(metavar="STRATEGY...", help="name in strategies/, or a file")
]
Instruments = Annotated[str, typer.Option(help="names, comma-separated")]
First = Annotated[str | None, typer.Option("--from", help="first day, YYYY-MM-DD")]
Last = Annotated[str | None, typer.Option("--to", help="last day, inclusive")]
GranularityNames = Annotated[str, typer.Option(help="D, M1, or several: D,M1")]
Vendor = Annotated[str, typer.Option(help="whose bars")]
Cash = Annotated[str, typer.Option(help="starting balance, account currency")]
AccountCurrency = Annotated[str | None, typer.Option(help="three letters")]
Sizer = Annotated[str, typer.Option(help="units:1000, equity:10 (percent) or risk:1 (percent)")]
NoCosts = Annotated[bool, typer.Option("--no-costs", help="mid prices, nothing charged")]
SlippagePips = Annotated[float, typer.Option(min=0, help="on market and stop fills")]
Commission = Annotated[float, typer.Option(min=0, help="account currency, per side")]


def names(text: str) -> list[str]:
    """Return the instruments in ``text``, comma-separated, each once."""
    from mbats.market.instrument import parse_name

    return list(dict.fromkeys(parse_name(part) for part in text.split(",") if part.strip()))


def granularities(text: str) -> list[str]:
    """Return the granularities in ``text``, comma-separated."""
    return [g.strip().upper() for g in text.split(",") if g.strip()]


def amount(text: str) -> Decimal:
    """Return ``--cash`` as a number."""
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise ConfigError(f"--cash {text!r} is not an amount.", mend="--cash 100000") from None


def midnight(text: str | None, later: timedelta = timedelta()) -> datetime | None:
    """Return the beginning of a day, YYYY-MM-DD, in UTC and ``later``; None for None."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a day.", mend="write it as YYYY-MM-DD") from None
    return datetime.combine(day, time(), UTC) + later
