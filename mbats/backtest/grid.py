"""Parameter sets of a sweep: from ranges and lists on the command line, or from a file.

A set is a mapping of name to text, as ``--param name=value`` gives it; the strategy's own defaults
say what type a text becomes. The order of the sets follows from the input alone, so that every
task of a job, told the same, makes the same list.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from mbats.errors import ConfigError, DataError
from mbats.strategy.loading import parse_assignments

MOST_SETS = 1_000_000

ParameterSet = Mapping[str, str]


def parameter_sets(assignments: Sequence[str], file: Path | None = None) -> list[ParameterSet]:
    """Return every combination of the sets in ``file`` and the values of ``assignments``.

    An assignment is ``name=a,b,c``, ``name=low:high:step`` (``high`` included where a step meets
    it) or a mix. The last name changes fastest. Raises :class:`ConfigError` for an assignment
    that is malformed, a name in both places or more than a million sets.
    """
    texts = parse_assignments(assignments)
    if len(texts) < len(assignments):
        raise ConfigError("A parameter is given twice.", mend="--param name=a,b,c in one")
    axes = {name: list(_values(name, text)) for name, text in texts.items()}
    rows = read_sets(file) if file else [{}]
    twice = sorted(set(axes).intersection(name for row in rows for name in row))
    if twice:
        raise ConfigError(f"{twice[0]} is in {file} and in --param.", mend="give it once")
    count = len(rows) * prod(len(values) for values in axes.values())
    if count > MOST_SETS:
        raise ConfigError(
            f"These are {count:,} parameter sets; a sweep takes {MOST_SETS:,}.",
            mend="a coarser step, or fewer parameters",
        )
    return [
        {**row, **dict(zip(axes, values, strict=True))}
        for row in rows
        for values in product(*axes.values())
    ]


def read_sets(file: Path) -> list[dict[str, str]]:
    """Return the sets in a file: a JSON list of objects, or a CSV with the names in its header.

    An empty cell leaves a parameter at its default. Raises :class:`ConfigError` where there is no
    such file, :class:`DataError` naming the row that is malformed.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    rows = list(_csv_rows(file, text) if file.suffix.lower() == ".csv" else _json_rows(file, text))
    if not rows:
        raise DataError(f"{file} holds no parameter set.")
    return rows


def _values(name: str, text: str) -> Iterator[str]:
    for part in text.split(","):
        bounds = [_number(bound) for bound in part.split(":")]
        numbers = [bound for bound in bounds if bound is not None]
        if len(numbers) == len(bounds) > 1:
            yield from _range(name, part, numbers)
        elif part.strip():
            yield part.strip()
        else:
            raise ConfigError(f"--param {name}={text} has an empty value.")


def _range(name: str, text: str, bounds: Sequence[Decimal]) -> Iterator[str]:
    if len(bounds) != 3 or bounds[2] <= 0 or bounds[0] > bounds[1]:
        raise ConfigError(
            f"--param {name}={text} is no range.",
            mend=f"low:high:step with low up to high and a step above zero: {name}=5:20:5",
        )
    low, high, step = bounds
    steps = int((high - low) / step)
    if steps >= MOST_SETS:
        raise ConfigError(f"--param {name}={text} is more than {MOST_SETS:,} values.")
    for number in range(steps + 1):
        yield str(low + number * step)


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _json_rows(file: Path, text: str) -> Iterator[dict[str, str]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}.") from error
    if not isinstance(document, list):
        raise DataError(f"{file} is not a list of parameter sets.", mend='[{"period": 5}, ...]')
    for number, row in enumerate(document, 1):
        if not isinstance(row, dict):
            raise DataError(f"{file}, set {number}: {row!r} is not an object.")
        yield {name: _text(file, number, name, value) for name, value in row.items()}


def _text(file: Path, number: int, name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise DataError(f"{file}, set {number}: {name} is {value!r}, not a value.")


def _csv_rows(file: Path, text: str) -> Iterator[dict[str, str]]:
    reader = csv.reader(text.splitlines())
    names = [name.strip() for name in next(reader, [])]
    if len(set(names)) < len(names) or not all(names):
        raise DataError(f"{file} needs a header of parameter names, each once.", tried=names)
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise DataError(
                f"{file}, line {reader.line_num}: {len(cells)} cells, {len(names)} names."
            )
        row = zip(names, cells, strict=True)
        yield {name: cell.strip() for name, cell in row if cell.strip()}
