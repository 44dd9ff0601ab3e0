"""What travels over Pub/Sub: ticks in Avro's JSON encoding, events as JSON rows of their table.

Both are what a BigQuery subscription stores without help: prices and money are decimal text, which
it writes into NUMERIC columns (a string field may feed NUMERIC, TIMESTAMP and JSON columns:
https://cloud.google.com/pubsub/docs/bigquery#schema_compatibility). Pure.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

from mbats import schemas
from mbats.errors import ConfigError, DataError
from mbats.live.streams import Mark
from mbats.market.tick import Tick
from mbats.schemas import TableSchema

TICKS, ORDER_EVENTS, RISK_EVENTS = "ticks", "order-events", "risk-events"
TOPIC_OF_TABLE: Mapping[str, str] = {
    "order_event": ORDER_EVENTS,
    "fill": ORDER_EVENTS,
    "risk_event": RISK_EVENTS,
    "heartbeat": RISK_EVENTS,
}
"""The topic of each table of the risk store that live trading writes to."""

INSTRUMENT, TABLE, MARK = "instrument", "table", "mark"
"""Names of message attributes: what a subscription filters by."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMERIC_PLACES = Decimal("1e-9")
_PACKAGED = Path(__file__).parents[1] / "_message_schemas"
_IN_TREE = Path(__file__).parents[2] / "terraform" / "modules" / "pubsub" / "schemas"

Row = dict[str, Any]


@lru_cache(maxsize=1)
def tick_schema() -> str:
    """Return the Avro schema of ``ticks``, the text that Terraform gives to Pub/Sub."""
    for folder in (_PACKAGED, _IN_TREE):
        file = folder / "tick.avsc"
        if file.is_file():
            return file.read_text()
    raise ConfigError(
        "The message schemas are not where the library looks.",
        tried=[str(_PACKAGED), str(_IN_TREE)],
        mend="install mbats from its wheel, or run it from a checkout",
    )


def tick_row(tick: Tick, vendor: str, received_at: datetime) -> Row:
    """Return a tick as a row of ``security_master.tick``.

    ``event_id`` is a digest of what the vendor said: the same price sent again, by a new
    connection or another streamer, is the same event.
    """
    said = (tick.bid, tick.ask, tick.bid_liquidity, tick.ask_liquidity, tick.tradeable)
    return {
        "instrument": tick.instrument,
        "time": tick.time,
        "vendor": vendor,
        "event_id": _digest(vendor, tick.instrument, tick.time.isoformat(), *map(str, said)),
        "bid": tick.bid,
        "ask": tick.ask,
        "bid_liquidity": tick.bid_liquidity,
        "ask_liquidity": tick.ask_liquidity,
        "tradeable": tick.tradeable,
        "received_at": received_at,
    }


def mark_row(instrument: str, mark: Mark, vendor: str, moment: datetime) -> Row:
    """Return the row that marks a gap in one instrument's ticks."""
    return {
        "instrument": instrument,
        "time": moment,
        "vendor": vendor,
        "event_id": _digest(vendor, instrument, moment.isoformat(), mark),
        "tradeable": False,
        "received_at": moment,
        "mark": mark,
    }


def tick_of(row: Row) -> Tick:
    """Return the tick that :func:`tick_row` made a row of."""
    return Tick(
        row["instrument"],
        row["time"],
        row["bid"],
        row["ask"],
        row["bid_liquidity"],
        row["ask_liquidity"],
        row["tradeable"],
    )


def encode_tick(row: Row) -> bytes:
    """Return a row of ``security_master.tick`` in Avro's JSON encoding.

    Unions name the type of what they hold (https://avro.apache.org/docs/1.11.1/specification).
    """
    document = {}
    for name, nullable, kind in _avro_fields():
        value = _avro_value(row.get(name))
        document[name] = {kind: value} if nullable and value is not None else value
    return json.dumps(document, separators=(",", ":")).encode()


def decode_tick(data: bytes) -> Row:
    """Return the row that :func:`encode_tick` wrote. Raises :class:`DataError`."""
    try:
        document = json.loads(data)
        values = {name: _bare(document.get(name)) for name, *_ in _avro_fields()}
        for name in ("time", "received_at", "published_at"):
            if values[name] is not None:
                values[name] = _EPOCH + int(values[name]) * _MICROSECOND
        for name in ("bid", "ask"):
            if values[name] is not None:
                values[name] = Decimal(values[name])
    except (ValueError, TypeError, AttributeError, InvalidOperation, OverflowError) as error:
        raise DataError(f"A message on {TICKS} is no tick: {data[:200]!r}: {error!r}") from error
    return values


def encode_event(table: str, row: Mapping[str, Any]) -> bytes:
    """Return a row of a table of the risk store as JSON.

    NUMERIC values are rounded to the nine decimals that BigQuery keeps. Raises :class:`DataError`
    naming the column: it is unknown, required and missing, or of another type.
    """
    schema = schemas.table("risk", table)
    unknown = sorted(set(row) - set(schema.columns))
    if unknown:
        raise DataError(f"risk.{table} has no column {', '.join(unknown)}.", tried=schema.columns)
    document = {}
    for field in schema.fields:
        name, value = field["name"], row.get(field["name"])
        if value is None:
            if field["mode"] == "REQUIRED":
                raise DataError(f"risk.{table}: column {name} is required and missing.")
            continue
        document[name] = _written(schema, name, field["type"], value)
    return json.dumps(document, separators=(",", ":")).encode()


def decode_event(table: str, data: bytes) -> Row:
    """Return the row that :func:`encode_event` wrote. Raises :class:`DataError`."""
    schema = schemas.table("risk", table)
    try:
        document = json.loads(data)
        kinds = {field["name"]: field["type"] for field in schema.fields}
        return {name: _READ[kinds[name]](value) for name, value in document.items()}
    except (ValueError, TypeError, AttributeError, KeyError, InvalidOperation) as error:
        raise DataError(
            f"A message is no row of risk.{table}: {data[:200]!r}: {error!r}"
        ) from error


@lru_cache(maxsize=1)
def _avro_fields() -> tuple[tuple[str, bool, str], ...]:
    """Return name, whether it may be null, and type of each of the tick's fields."""
    fields = []
    for field in json.loads(tick_schema())["fields"]:
        nullable = isinstance(field["type"], list)
        kind = field["type"][1] if nullable else field["type"]
        fields.append((field["name"], nullable, kind if isinstance(kind, str) else kind["type"]))
    return tuple(fields)


def _avro_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    return format(value, "f") if isinstance(value, Decimal) else value


def _bare(value: Any) -> Any:
    """Return what a union holds."""
    if isinstance(value, dict):
        (value,) = value.values()
    return value


def _digest(*parts: str) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=12).hexdigest()


def _written(schema: TableSchema, name: str, kind: str, value: Any) -> Any:
    try:
        return _WRITE[kind](value)
    except (TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise DataError(
            f"{schema.dataset}.{schema.name}: column {name} cannot hold {value!r}."
        ) from error


def _write_numeric(value: Any) -> str:
    if isinstance(value, float):
        raise TypeError("a float is no exact amount")
    return format(Decimal(value).quantize(_NUMERIC_PLACES).normalize(), "f")


def _write_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time without zone")
    return value.astimezone(UTC).isoformat()


def _write_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return str(value)


_WRITE: Mapping[str, Callable[[Any], Any]] = {
    "STRING": _write_text,
    "NUMERIC": _write_numeric,
    "TIMESTAMP": _write_time,
    "INTEGER": int,
    "FLOAT": float,
    "BOOLEAN": bool,
    "JSON": lambda value: json.dumps(value, sort_keys=True, default=str, allow_nan=False),
}
_READ: Mapping[str, Callable[[Any], Any]] = {
    "STRING": str,
    "NUMERIC": Decimal,
    "TIMESTAMP": datetime.fromisoformat,
    "INTEGER": int,
    "FLOAT": float,
    "BOOLEAN": bool,
    "JSON": json.loads,
}
