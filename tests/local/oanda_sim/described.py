"""OANDA's own description of its API, read out of its generated client, the `v20` package.

Its methods name every operation with its parameters and, status by status, the fields of the
answer; its classes name every field of every definition. The words of enumerations are those that
oandapyV20 carries.
"""

import importlib
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # v20 compares with literals, oandapyV20 has invalid escapes
    import v20

    ROOMS = {
        name: importlib.import_module(f"v20.{name}")
        for name in ("account", "instrument", "order", "position", "pricing", "pricing_common",
                     "primitives", "trade", "transaction")
    }  # fmt: skip
    WORDS = {
        name: importlib.import_module(f"oandapyV20.definitions.{name}s")
        for name in ("account", "instrument", "order", "trade", "transaction", "primitive")
    }
    WORDS["pricing"] = importlib.import_module("oandapyV20.definitions.pricing")
    WORDS["primitives"] = WORDS["primitive"]

CONTEXT = v20.Context("localhost", datetime_format="RFC3339")
Document = dict[str, Any]


LATER = frozenset({
    "baseFinancing", "closedTradeID", "dividendAdjustment", "financing",
    "guaranteedStopLossOrderMode", "homeConversionFactors", "lastTransactionID", "partialFill",
    "quoteGuaranteedExecutionFee", "quotePL", "relatedTransactionIDs", "requestedUnits", "tags",
    "tradeCloseTransactionID", "unrealizedAccountGain", "unrealizedAccountLoss",
    "initialMarketPrice",
})  # fmt: skip
"""Fields that OANDA added since: recorded on a practice account in 2026, or listed by its site.
The last is the simulator's: its log is all it knows, so the log must hold it."""


@dataclass(frozen=True)
class Operation:
    """One method on one path. ``answers`` maps a status to its fields and what each holds."""

    name: str
    method: str
    path: str
    query: tuple[str, ...]
    body: tuple[str, ...]
    answers: Mapping[int, Mapping[str, tuple[str, str]]]


def operations() -> Iterator[Operation]:
    """Yield every operation that answers with one document, not a stream."""
    for room, module in ROOMS.items():
        for name, function in inspect.getmembers(module.EntitySpec, inspect.isfunction):
            source = inspect.getsource(function)
            asked = re.search(r"Request\(\s*'(\w+)',\s*'([^']+)'", source)
            if asked is None or "set_stream" in source:
                continue
            yield Operation(
                f"{room}.{name}",
                asked[1],
                asked[2],
                tuple(re.findall(r"set_param\(\s*'([\w-]+)'", source)),
                tuple(re.findall(r"body\.set\('(\w+)'", source)),
                _answers(source),
            )


def _answers(source: str) -> dict[int, dict[str, tuple[str, str]]]:
    found: dict[int, dict[str, tuple[str, str]]] = {}
    for status, part in re.findall(
        r'status\) == "(\d+)":(.*?)(?=elif str\(response|else:|\Z)', source, re.DOTALL
    ):
        fields = re.split(r"if jbody\.get\('(\w+)'\) is not None:", part)
        found[int(status)] = {
            name: _kind(code) for name, code in zip(fields[1::2], fields[2::2], strict=True)
        }
    return found


def _kind(code: str) -> tuple[str, str]:
    """Return how a field is read: as one object, as an array of objects, or as it is."""
    made = re.search(r"self\.ctx\.(\w+)\.(\w+)\.from_dict", code)
    if made is None:
        return "plain", ""
    return ("array" if " for " in code else "object"), f"{made[1]}.{made[2]}"


def problems(operation: Operation, status: int, document: Any) -> list[str]:
    """Return what of an answer the description does not know."""
    if status not in operation.answers:
        return [f"status {status} is not among {sorted(operation.answers)}"]
    if not isinstance(document, dict):
        return [f"the body is a {type(document).__name__}"]
    fields, found = operation.answers[status], []
    for name, value in document.items():
        if name in LATER and name not in fields:
            continue
        if name not in fields:
            found.append(f"{status} has no field {name}")
            continue
        shape, kind = fields[name]
        if shape == "plain":
            continue
        each = value if shape == "array" else [value]
        for one in each:
            found += unknown(kind, one, name)
    return found


def unknown(kind: str, document: Any, where: str) -> list[str]:
    """Return what of an object of ``kind`` (room.Class) is no field of it, or of another type."""
    if not isinstance(document, dict):
        return [f"{where} is a {type(document).__name__}, not an object"]
    made = _class(kind).from_dict(document, CONTEXT)
    properties = {p.name: p for p in made._properties}
    found = []
    for name, value in document.items():
        at = f"{where}.{name}"
        if name in LATER and name not in properties:
            continue
        if name not in properties:
            found.append(f"{type(made).__name__} has no field {name}")
        elif value is None:
            found.append(f"{at} is null")
        else:
            found += _wrong(properties[name], value, at)
    return found


def example(kind: str) -> Document:
    """Return an object of ``kind`` with every field that the description gives it."""
    return {p.name: _sample(p) for p in _class(kind).from_dict({}, CONTEXT)._properties}


def _sample(described: Any) -> Any:
    match described.typeClass:
        case "object":
            return example(_qualified(described.typeName))
        case "array_object":
            return [example(_qualified(described.typeName))]
        case "array_primitive":
            return ["7"]
    kind = described.typeName
    if known := words(kind):
        return min(known)
    made = {"integer": 7, "boolean": True, "primitives.DateTime": "2026-11-23T12:00:00.123456789Z"}
    return made.get(kind, "7")


def _wrong(described: Any, value: Any, at: str) -> list[str]:
    match described.typeClass:
        case "object":
            return unknown(_qualified(described.typeName), value, at)
        case "array_object":
            if not isinstance(value, list):
                return [f"{at} is no array"]
            return [p for one in value for p in unknown(_qualified(described.typeName), one, at)]
        case "array_primitive":
            return [p for one in value for p in _wrong_primitive(described.typeName, one, at)]
    return _wrong_primitive(described.typeName, value, at)


def _wrong_primitive(kind: str, value: Any, at: str) -> list[str]:
    meant: type = {"integer": int, "boolean": bool}.get(kind, str)
    if at.endswith("liquidity") and "fullPrice" in at:
        meant = str  # as recorded in fills; a number in prices
    if type(value) is not meant:
        return [f"{at} is {value!r}, not a {meant.__name__}"]
    known = words(kind)
    if known and value not in known:
        return [f"{at} is {value!r}, which is no {kind}"]
    if kind in ("primitives.DecimalNumber", "primitives.AccountUnits") and not re.fullmatch(
        r"-?\d+(\.\d+)?", value
    ):
        return [f"{at} is {value!r}, no decimal"]
    return []


@cache
def words(kind: str) -> frozenset[str]:
    """Return the words of an enumeration, or nothing for what is none."""
    room, _, name = kind.rpartition(".")
    made = getattr(WORDS.get(room), name, None)
    return frozenset() if made is None else frozenset(made().definitions)


@cache
def _class(kind: str) -> Any:
    room, _, name = kind.partition(".")
    return getattr(getattr(CONTEXT, room), name)


@cache
def _qualified(name: str) -> str:
    """Return room.Class of a class that the description names with or without its room."""
    if "." in name:
        return name
    return next(f"{room}.{name}" for room, module in ROOMS.items() if hasattr(module, name))
