"""Order requests as clients send them, read into the fields of a transaction.

Reading finds the first reason to reject, in OANDA's terms, and still returns every field that
could be read, because a reject transaction carries them. What cannot be read at all (a word where
a number should be) raises a 400 that leaves no transaction.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mbats.local.oanda_sim.answers import invalid
from mbats.local.oanda_sim.config import Spec
from mbats.local.oanda_sim.money import plain_text, price_text
from mbats.local.oanda_sim.state import Document
from mbats.local.oanda_sim.times import parse_time, rfc3339

ALL_TIMES = ("GTC", "GTD", "GFD", "FOK", "IOC")
IMMEDIATE = ("FOK", "IOC")
RESTING = ("GTC", "GTD", "GFD")
TIMES_OF = {
    "MARKET": IMMEDIATE,
    "LIMIT": ALL_TIMES,
    "STOP": ALL_TIMES,
    "MARKET_IF_TOUCHED": RESTING,
    "TAKE_PROFIT": RESTING,
    "STOP_LOSS": RESTING,
    "TRAILING_STOP_LOSS": RESTING,
}
POSITION_FILLS = ("DEFAULT", "OPEN_ONLY", "REDUCE_FIRST", "REDUCE_ONLY")
TRIGGERS = ("DEFAULT", "INVERSE", "BID", "ASK", "MID")
ON_FILL = {
    "takeProfitOnFill": "TAKE_PROFIT",
    "stopLossOnFill": "STOP_LOSS",
    "trailingStopLossOnFill": "TRAILING_STOP_LOSS",
}
_LONGEST_ID = 128
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_LONGEST = {"id": _LONGEST_ID, "tag": 128, "comment": 128}


@dataclass
class Reading:
    """What a request says: fields of its transaction, and the first reason to reject it."""

    spec: Spec
    now_ns: int
    fields: Document
    reject: str | None = None

    def refuse(self, reason: str) -> None:
        """Note a reason; the first one stays."""
        self.reject = self.reject or reason


def number(value: Any, parameter: str) -> Decimal:
    """Return a decimal sent as string or JSON number; 400 for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise invalid(parameter)
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise invalid(parameter)  # Python reads more: 1_000, 1e3, digits of other scripts
    read = Decimal(str(value))
    if not read.is_finite() or abs(read) >= Decimal(10) ** 15:
        raise invalid(parameter)
    return read


def decimal_places(value: Decimal) -> int:
    """Return how many decimal places a value needs."""
    return max(0, -int(value.normalize().as_tuple().exponent))


def read_units(reading: Reading, order: Document) -> None:
    """Read signed units."""
    instrument = reading.spec.instrument
    if order.get("units") is None:
        return reading.refuse("UNITS_MISSING")
    units = number(order["units"], "order.units")
    reading.fields["units"] = plain_text(units)
    if not units:
        reading.refuse("UNITS_INVALID")
    elif decimal_places(units) > instrument.units_precision:
        reading.refuse("UNITS_PRECISION_EXCEEDED")
    elif abs(units) < instrument.minimum_trade_units:
        reading.refuse("UNITS_MIMIMUM_NOT_MET")
    elif abs(units) > instrument.maximum_order_units:
        reading.refuse("UNITS_LIMIT_EXCEEDED")
    return None


def read_price(
    reading: Reading, source: Document, key: str, prefix: str = "", *, needed: bool = False
) -> str | None:
    """Read a price and return its text; ``prefix`` is that of its reject reasons."""
    name = prefix + ("PRICE_BOUND" if key == "priceBound" else "PRICE")
    if source.get(key) is None:
        if needed:
            reading.refuse(f"{name}_MISSING")
        return None
    price = number(source[key], f"order.{key}")
    if price <= 0:
        reading.refuse(f"{name}_INVALID")
    elif decimal_places(price) > reading.spec.precision:
        reading.refuse(f"{name}_PRECISION_EXCEEDED")
        return plain_text(price)
    return price_text(price, reading.spec.precision)


def read_distance(reading: Reading, source: Document, prefix: str, *, trailing: bool) -> str | None:
    """Read a price distance; a trailing stop's has bounds."""
    if source.get("distance") is None:
        return None
    distance = number(source["distance"], "order.distance")
    instrument = reading.spec.instrument
    if distance <= 0:
        reading.refuse(f"{prefix}DISTANCE_INVALID")
    elif decimal_places(distance) > reading.spec.precision:
        reading.refuse(f"{prefix}DISTANCE_PRECISION_EXCEEDED")
        return plain_text(distance)
    elif trailing and distance < reading.spec.minimum_trail_pips * instrument.pip:
        reading.refuse(f"{prefix}DISTANCE_MINIMUM_NOT_MET")
    elif trailing and distance > reading.spec.maximum_trail_pips * instrument.pip:
        reading.refuse(f"{prefix}DISTANCE_MAXIMUM_EXCEEDED")
    return price_text(distance, reading.spec.precision)


def read_time_in_force(
    reading: Reading, source: Document, kind: str, into: Document, prefix: str = ""
) -> None:
    """Read timeInForce and gtdTime; market orders default to FOK, all others to GTC."""
    value = source.get("timeInForce") or ("FOK" if kind == "MARKET" else "GTC")
    if value not in ALL_TIMES:
        raise invalid("order.timeInForce")
    into["timeInForce"] = value
    if value not in TIMES_OF[kind]:
        return reading.refuse(f"{prefix}TIME_IN_FORCE_INVALID")
    if value != "GTD":
        return None
    stem = prefix or "TIME_IN_FORCE_"
    if source.get("gtdTime") is None:
        return reading.refuse(f"{stem}GTD_TIMESTAMP_MISSING")
    try:
        until = parse_time(str(source["gtdTime"]))
    except ValueError:
        raise invalid("order.gtdTime") from None
    into["gtdTime"] = rfc3339(until)
    if until <= reading.now_ns:
        reading.refuse(f"{stem}GTD_TIMESTAMP_IN_PAST")
    return None


def read_choice(source: Document, key: str, allowed: tuple[str, ...]) -> str:
    """Read one of some words; the first is the default."""
    value = source.get(key) or allowed[0]
    if value not in allowed:
        raise invalid(f"order.{key}")
    return str(value)


def read_client(
    reading: Reading, source: Document, key: str, reject_prefix: str
) -> Document | None:
    """Read client extensions: id, tag and comment, 128 characters each."""
    given = source.get(key)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise invalid(f"order.{key}")
    made = {}
    for part, longest in _LONGEST.items():
        if given.get(part) is None:
            continue
        if not isinstance(given[part], str):
            raise invalid(f"order.{key}.{part}")
        made[part] = given[part]
        if len(given[part]) > longest or (part == "id" and not given[part]):
            reading.refuse(f"{reject_prefix}_{part.upper()}_INVALID")
    return made or None


def read_dependent(reading: Reading, source: Any, kind: str, *, on_fill: bool) -> Document:
    """Read what says a take profit, stop loss or trailing stop: on fill or on an open trade."""
    if not isinstance(source, dict):
        raise invalid(f"order.{kind}")
    prefix = f"{kind}_ON_FILL_" if on_fill else ""
    made: Document = {}
    if kind == "TRAILING_STOP_LOSS":
        _read_trail(reading, source, made, prefix)
    else:
        _read_level(reading, source, made, kind, prefix)
    read_time_in_force(reading, source, kind, made, prefix)
    condition = read_choice(source, "triggerCondition", TRIGGERS)
    if not on_fill or condition != TRIGGERS[0]:  # as recorded: on fill it goes without saying
        made["triggerCondition"] = condition
    client_prefix = f"{prefix}CLIENT_ORDER" if on_fill else "CLIENT_ORDER"
    client = read_client(reading, source, "clientExtensions", client_prefix)
    if client is not None:
        made["clientExtensions"] = client
    return made


def _read_trail(reading: Reading, source: Document, made: Document, prefix: str) -> None:
    if source.get("distance") is None:
        return reading.refuse(f"{prefix}PRICE_DISTANCE_MISSING")
    made["distance"] = read_distance(reading, source, f"{prefix}PRICE_", trailing=True)
    return None


def _read_level(reading: Reading, source: Document, made: Document, kind: str, prefix: str) -> None:
    if source.get("guaranteed") in (True, "true", "True"):
        reading.refuse(
            "STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED" if prefix
            else "STOP_LOSS_ORDER_GUARANTEED_NOT_ALLOWED"
        )  # fmt: skip
    if kind == "TAKE_PROFIT" and not prefix:  # only on fill has one been seen with a distance
        source = {**source, "distance": None}
    both = "price" in source and source.get("distance") is not None
    if both and source["price"] is not None:
        reading.refuse(f"{prefix or 'STOP_LOSS_ORDER_'}PRICE_AND_DISTANCE_BOTH_SPECIFIED")
    stem = prefix or "PRICE_"
    distance = read_distance(reading, source, stem, trailing=False)
    if distance is not None:
        made["distance"] = distance
    needed = distance is None
    if needed and source.get("price") is None and kind == "STOP_LOSS":
        return reading.refuse(f"{prefix or 'STOP_LOSS_ORDER_'}PRICE_AND_DISTANCE_BOTH_MISSING")
    price = read_price(reading, source, "price", prefix, needed=needed)
    if price is not None:
        made["price"] = price
    return None


def read_on_fill(reading: Reading, order: Document) -> None:
    """Read the dependents on fill and the client extensions of the order and its trade."""
    ids = []
    for key, kind in ON_FILL.items():
        if order.get(key) is not None:
            made = read_dependent(reading, order[key], kind, on_fill=True)
            reading.fields[key] = made
            ids.append(made.get("clientExtensions", {}).get("id"))
    if order.get("guaranteedStopLossOnFill") is not None:
        reading.refuse("STOP_LOSS_ON_FILL_GUARANTEED_NOT_ALLOWED")
    if (client := read_client(reading, order, "clientExtensions", "CLIENT_ORDER")) is not None:
        reading.fields["clientExtensions"] = client
        ids.append(client.get("id"))
    given = [client_id for client_id in ids if client_id is not None]
    if len(set(given)) != len(given):
        reading.refuse("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS")
    trade = read_client(reading, order, "tradeClientExtensions", "CLIENT_TRADE")
    if trade is not None:
        reading.fields["tradeClientExtensions"] = trade


def read_entry(reading: Reading, order: Document, kind: str) -> None:
    """Read an order that can open a trade: MARKET, LIMIT, STOP or MARKET_IF_TOUCHED."""
    fields = reading.fields
    read_units(reading, order)
    if kind != "MARKET":
        price = read_price(reading, order, "price", needed=True)
        if price is not None:
            fields["price"] = price
    if kind != "LIMIT" and (bound := read_price(reading, order, "priceBound")) is not None:
        fields["priceBound"] = bound
    read_time_in_force(reading, order, kind, fields)
    fields["positionFill"] = read_choice(order, "positionFill", POSITION_FILLS)
    if kind != "MARKET":
        fields["triggerCondition"] = read_choice(order, "triggerCondition", TRIGGERS)
        fields["partialFill"] = "DEFAULT"
    read_on_fill(reading, order)
