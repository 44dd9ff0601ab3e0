"""Limits as text: ``name=value``, one for each, over the desk's own."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from mbats.errors import ConfigError
from mbats.trading.risk.context import Limits

OFF = "off"

OLDEST_PRICE = timedelta(minutes=5)
"""How old prices may be at the most: an order of unknown outcome blocks its instrument for longer
than that, for our clock may be wrong by as much and nobody would notice."""


def parse_limits(texts: Sequence[str], limits: Limits | None = None) -> Limits:
    """Return limits with ``texts`` put over them. Times are in seconds; ``off`` switches one off.

    Raises :class:`ConfigError` that lists the names for anything else.
    """
    limits = limits or Limits()
    known = {field.name: getattr(limits, field.name) for field in fields(Limits)}
    changes: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or name not in known:
            raise ConfigError(
                f"{text!r} is no limit.", tried=sorted(known), mend="write --limit name=value"
            )
        changes[name] = _value(name, value.strip(), getattr(Limits(), name))
    if changes.get("price_age", timedelta(0)) > OLDEST_PRICE:
        raise ConfigError(
            f"Limit price_age cannot be {changes['price_age'].total_seconds():g}.",
            tried=[
                f"default {limits.price_age.total_seconds():g}",
                "an order of unknown outcome blocks its instrument for price_age and 20 s more",
            ],
            mend=f"at most {OLDEST_PRICE.total_seconds():g} seconds",
        )
    return replace(limits, **changes)


def _value(name: str, text: str, default: Any) -> Any:
    optional = name not in ("price_age", "bound_pips", "duplicate_window")
    if text.lower() == OFF and optional:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ConfigError(
            f"Limit {name} cannot be {text!r}.",
            tried=[f"default {default}"],
            mend="a number that is not negative" + (f", or {OFF}" if optional else ""),
        )
    if isinstance(default, timedelta):
        return timedelta(seconds=float(number))
    return int(number) if isinstance(default, int) else number
